"""The commands on folders of trainings as they are left behind; and on a real training that is killed."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from transformers import AutoModelForCausalLM
from typer.testing import CliRunner

from assets.home import training_runs_folder
from assets.language_model.launchers.programs import TRAINER
from assets.language_model.launchers.settings import LaunchSettings
from assets.language_model.training_run import TrainingRun
from pipelines.command_line import app
from tests.assets.language_model.small_training import configure_small
from tests.training.trainer_runs import losses, wait_for_step, write_counting_documents
from training.events import Event, append_event, read_events
from training.spikes import Spike, add_skipped
from training.suspects import Suspect, append_suspects
from training.watchdog import Heartbeat

Configure = Callable[..., TrainingRun]
REPOSITORY = TRAINER.parents[1]


def output_of(*arguments: str | Path, code: int = 0) -> str:
    result = CliRunner().invoke(app, list(map(str, arguments)), env={"COLUMNS": "200"})
    assert result.exit_code == code, result.output
    return result.output


@pytest.fixture
def configure(tmp_path: Path) -> Configure:
    """Makes the folder of a training in this test's home."""
    data = write_counting_documents(tmp_path)

    def write(name: str, *, processes: int = 1, stage: int = 0, **training: Any) -> TrainingRun:
        run = TrainingRun(training_runs_folder() / name)
        steps = {"steps": 24, "validate_every": 12, "checkpoint_every": 6, "keep_checkpoints": 4}
        parallel = {"zero_stage": stage, "micro_batch": 4, "compile": False, "precision": "float32"}
        launch = LaunchSettings(processes=processes, grace_seconds=30)
        configure_small(run, data, launch=launch, **steps | {"parallel": parallel} | training)
        return run

    return write


def test_runs_shows_how_far_trainings_are(configure: Configure) -> None:
    assert output_of("runs") == "no training was started in this home\n"
    first, second = configure("1f0c3ad2b77e41"), configure("88abf00d5c2291")
    (first.folder / "metrics.jsonl").write_text(
        '{"step": 6, "time": 1, "loss": 3}\n{"step": 7, "time": 1, "loss": 3}\n{"st'
    )
    for step in (3, 6):
        folder = first.folder / "checkpoints" / f"step-{step:010d}"
        folder.mkdir(parents=True)
        (folder / "checkpoint.json").touch()
    (first.folder / "checkpoints" / ".step-0000000009").mkdir()
    (first.folder / "heartbeat.json").write_text(json.dumps(asdict(Heartbeat(7, time.time() - 600, time.time(), 0.1))))
    append_event(first.folder, Event("restart", "the trainer was killed by SIGKILL [again]", step=6))
    append_event(first.folder, Event("resume", "resumed from the checkpoint of step 6 [of it]", step=6))
    (second.folder / "report.json").touch()
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in output_of("runs").splitlines() if "│" in line]
    assert rows == [
        ["1f0c3ad2b77e", "not finished", "7", "6", "1", "10 min ago", "resumed from the checkpoint of step 6 [of it]"],
        ["88abf00d5c22", "finished", "-", "-", "0", "-", ""],
    ]
    # A narrow terminal has the last events below the table, whose names and headings stay whole.
    narrow = CliRunner().invoke(app, ["runs"], env={"COLUMNS": "80"}).output.splitlines()
    assert max(map(len, narrow)) <= 80
    assert "│ 1f0c3ad2b77e │ not finished │ 7    │ 6          │ 1        │ 10 min ago   │" in narrow
    assert narrow[-1] == "1f0c3ad2b77e: resumed from the checkpoint of step 6 [of it]"


def test_a_run_is_found_by_the_beginning_of_its_name(configure: Configure, tmp_path: Path) -> None:
    configure("ab12")
    configure("ab34")
    assert "error: no training is called 'cd'; `corpusline runs` shows them" in output_of("resume", "cd", code=2)
    assert "error: 2 trainings begin with 'ab'; write more of the name" in output_of("resume", "ab", code=2)
    assert output_of("suspects", "ab1") == "no training has left out a step\n"
    assert f"error: {tmp_path} holds no training that was started here" in output_of("resume", tmp_path, code=2)


def test_a_finished_training_is_not_gone_on_with(configure: Configure) -> None:
    run = configure("ab12")
    (run.folder / "report.json").touch()
    said = output_of("resume", run.folder, code=2)
    assert f"error: {run.folder} is finished; its model is in {run.folder / 'model'}" in said


def test_a_changed_launch_file_is_checked(configure: Configure) -> None:
    run = configure("ab12")
    (run.folder / "launch.json").write_text('{"procesess": 2}')
    assert "unknown key 'procesess', did you mean 'processes'?" in output_of("resume", "ab12", code=2)


def test_suspects_are_shown_with_their_text(configure: Configure) -> None:
    assert output_of("suspects") == "no training has left out a step\n"
    run, other = configure("ab12"), configure("cd34")
    add_skipped(run.folder, Spike(120, "loss", 9.5, 2.1, 3.4))
    worst = Suspect(120, "up", "5e" * 16, 60, 9.81, "龘:x:靐齉[爩]")
    append_suspects(run.folder, [worst, Suspect(120, "down", "1a" * 16, 30, 2.2, "the end")])
    # Killed before it could name them.
    add_skipped(other.folder, Spike(7, "loss", math.inf, 4.0, 4.0))
    lines = output_of("suspects").splitlines()
    assert lines == [
        "ab12: the loss of step 120 is 9.500, where the median of the steps before is 2.100 and the limit 3.400",
        f"    9.81 nats a token,   60 tokens of up {'5e' * 16}: '龘:x:靐齉[爩]'",
        f"    2.20 nats a token,   30 tokens of down {'1a' * 16}: 'the end'",
        "cd34: the loss of step 7 is no finite number, where the median of the steps before is 4.000 and the limit "
        "4.000",
    ]
    assert output_of("suspects", "cd34").splitlines() == lines[3:]
    assert json.loads(output_of("suspects", "--json"))["ab12"][0] == asdict(worst)


def resumed(run: TrainingRun, *more: str) -> subprocess.Popen[str]:
    """The command in a process of its own, as it is started by hand."""
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "pipelines.command_line", "resume", run.folder.name, *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"},
    )


def left_of(run: TrainingRun) -> list[psutil.Process]:
    """Processes that have the run's configuration in their command lines."""
    found = psutil.process_iter(["cmdline"])
    return [one for one in found if str(run.configuration) in (one.info["cmdline"] or ())]


@pytest.mark.slow
def test_a_killed_training_is_resumed_by_hand_and_exported(configure: Configure, tmp_path: Path) -> None:
    """Killed with all its processes; told to stop; taken to its end; a checkpoint on the way makes the model."""
    options: dict[str, Any] = {"steps": 600, "checkpoint_every": 100, "validate_every": 600, "keep_every": 100}
    run = configure("ab12", **options)
    first = resumed(run)
    wait_for_step(run.folder, 120, first, 240)
    for process in [first, *left_of(run)]:
        process.kill()
    first.communicate()
    assert not run.finished
    second = resumed(run)
    wait_for_step(run.folder, 140, second, 240)
    assert "error: another training is at work in" in output_of("resume", "ab12", code=2)
    second.send_signal(signal.SIGTERM)
    said, _ = second.communicate(timeout=120)
    assert second.returncode == 75, said
    assert "resumed from the checkpoint of step 100" in said
    assert "started again it goes on from there" in said
    assert left_of(run) == []
    third = resumed(run)
    said, _ = third.communicate(timeout=240)
    assert third.returncode == 0, said
    assert f"done: the model is in {run.folder / 'model'}" in said
    assert sorted(losses(run.folder)) == list(range(1, 601))
    assert [event.kind for event in read_events(run.folder) if event.kind != "progress"] == ["resume", "stop", "resume"]

    folder = run.folder / "checkpoints" / "step-0000000300"
    assert output_of("export", folder, tmp_path / "early") == f"{tmp_path / 'early'}\n"
    last = output_of("export", folder.with_name("step-0000000600"), tmp_path / "last")
    assert last == f"{tmp_path / 'last'}\n"
    assert (tmp_path / "last" / "model.safetensors").read_bytes() == (
        run.folder / "model" / "model.safetensors"
    ).read_bytes()
    counted = torch.arange(10, 30)[None]
    early, late = (
        AutoModelForCausalLM.from_pretrained(tmp_path / name)(input_ids=counted, labels=counted).loss.item()
        for name in ("early", "last")
    )
    assert early > late

    assert "is there already" in output_of("export", folder, tmp_path / "last", code=2)
    (folder / "checkpoint.json").unlink()
    said = output_of("export", folder, tmp_path / "none", code=2)
    assert f"error: {folder} cannot be used: " in said
    assert "Traceback" not in said
    assert not (tmp_path / "none").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "options"), [(1, {}), (2, {"averaging": 0.9}), (3, {})])
def test_checkpoints_of_every_stage_are_exported(
    configure: Configure, tmp_path: Path, stage: int, options: dict[str, Any]
) -> None:
    """That of the last step is the training's own model; the number of ranks may be another than before."""
    run = configure("ab12", processes=2, stage=stage, **options)
    process = resumed(run, "--processes", "1" if stage == 3 else "2")
    said, _ = process.communicate(timeout=240)
    assert process.returncode == 0, said
    out = tmp_path / "out"
    output_of("export", run.folder / "checkpoints" / "step-0000000024", out)
    assert (out / "model.safetensors").read_bytes() == (run.folder / "model" / "model.safetensors").read_bytes()


@pytest.mark.slow
def test_a_training_is_rolled_back_and_a_step_left_out_by_hand(configure: Configure) -> None:
    """As docs/operations.md says it."""
    run = configure("ab12")
    said, _ = resumed(run).communicate(timeout=240)
    assert run.finished, said
    before = losses(run.folder)
    (run.folder / "report.json").unlink()
    shutil.rmtree(run.folder / "model")
    for step in (18, 24):
        shutil.rmtree(run.folder / "checkpoints" / f"step-{step:010d}")
    spike = {"step": 15, "what": "loss", "value": 9.5, "median": 2.1, "limit": 3.4}
    (run.folder / "skipped.json").write_text(json.dumps([spike]))
    said, _ = resumed(run).communicate(timeout=240)
    assert "resumed from the checkpoint of step 12" in said
    after = losses(run.folder)
    assert sorted(after) == [step for step in range(1, 25) if step != 15]
    assert [after[step] == before[step] for step in (12, 13, 14, 16, 24)] == [True, True, True, False, False]
    assert run.report()["skipped_steps"] == [15]


@pytest.mark.slow
def test_what_the_trainer_refuses_is_said(configure: Configure) -> None:
    configure("ab12")
    said = output_of("resume", "ab12", "--processes", "3", code=2)
    assert "error: batch 8 is no multiple of micro_batch 4 times 3 rank(s) = 12: change one of them" in said
