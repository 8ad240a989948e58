"""A training that is cancelled or killed in the middle, as Dagster sees it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import psutil
import pytest
from small_line import Jobs, run_configuration
from started_job import start_job, wait_for_path

from tests.training.trainer_runs import wait_for_step
from training.checkpoint import newest_checkpoint
from training.events import read_events
from training.records import read_records

STEPS = 1500
CONFIGURATION = run_configuration(steps=STEPS, checkpoint_every=100, validate_every=STEPS, log_every=5)


@pytest.fixture
def started(tmp_path: Path, sources: Path, own_home: Path) -> tuple[subprocess.Popen[str], Path, Path]:
    """The job, on its way in a training of many steps; the folder of that training; where its result will be."""
    process, answer = start_job(tmp_path, CONFIGURATION)
    run = wait_for_path(own_home / "training-runs", "[!.]*", process, 240)
    wait_for_step(run, 150, process, 240)
    return process, run, answer


def ranks_of(run: Path) -> list[psutil.Process]:
    """The launchers and ranks of a training."""
    found = []
    for process in psutil.process_iter():
        try:
            if str(run / "configuration.json") in process.cmdline():
                found.append(process)
        except psutil.Error:
            continue
    return found


def check_resumed(result: dict[str, Any], run: Path, step: int) -> None:
    assert result["success"], result["failures"]
    assert f"resumed from the checkpoint of step {step}" in (run / "trainer.log").read_text()
    steps = [record["step"] for record in read_records(run / "metrics.jsonl") if "loss" in record]
    assert steps == list(range(5, STEPS + 1, 5))
    assert result["made"]["language_model"]["steps"] == STEPS


@pytest.mark.slow
def test_a_cancelled_run_stops_every_rank_leaves_a_checkpoint_and_goes_on(
    started: tuple[subprocess.Popen[str], Path, Path], run_jobs: Jobs
) -> None:
    process, run, _ = started
    process.send_signal(signal.SIGINT)
    process.wait(timeout=120)
    assert ranks_of(run) == []
    newest, _ = newest_checkpoint(run)
    assert newest is not None
    step = newest[1].step
    assert step >= 150
    assert f"stopped by a signal after step {step};" in (run / "trainer.log").read_text()
    (result,) = run_jobs([{"job": "raw_to_model", "config": CONFIGURATION}])
    check_resumed(result, run, step)


@pytest.mark.slow
def test_killed_ranks_are_started_again_within_the_run(started: tuple[subprocess.Popen[str], Path, Path]) -> None:
    process, run, answer = started
    for rank in ranks_of(run):
        if not any("deepspeed.launcher" in argument for argument in rank.cmdline()):
            os.kill(rank.pid, signal.SIGKILL)
    process.wait(timeout=300)
    (result,) = json.loads(answer.read_text())
    restart, resume = (event for event in read_events(run) if event.kind in ("restart", "resume"))
    assert restart.message.startswith("the trainer was killed by SIGKILL; it is started again from the checkpoint")
    check_resumed(result, run, resume.step)
