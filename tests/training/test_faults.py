"""Trainings that are harmed on purpose while they run, by real signals, full disks and planted text."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from trainer_runs import TRAINER, VOCABULARY_SIZE, Launch, finish, losses, ranks_of, shard_writer, wait_for_step

from training.artifact import file_sha256
from training.checkpoint import RECORD, newest_checkpoint
from training.events import read_events
from training.models import build_model
from training.parameter_states import MOMENTUM, whole_states
from training.run_settings import TrainingSettings
from training.spikes import read_skipped
from training.suspects import read_suspects

Configure = Callable[..., Path]


@pytest.fixture
def poison(tmp_path: Path, data: dict[str, Any]) -> str:
    """A third dump of many documents that count upwards, and one of noise; its id."""
    folder = tmp_path / "mixed"
    generator = np.random.default_rng(1)
    noise = f"{999:032x}"
    with shard_writer(folder, Path(data["vocabulary"])) as writer:
        for number in range(700):
            start = int(generator.integers(1, VOCABULARY_SIZE))
            ids = 1 + (start + np.arange(62)) % (VOCABULARY_SIZE - 1)
            writer.add("validation" if number % 100 == 0 else "train", f"{number:032x}", ids, bytes=3 * 62)
        writer.add("train", noise, generator.integers(1, VOCABULARY_SIZE, 62), bytes=3 * 62)
    data["data"] = [{"folder": str(folder)}]
    return noise


@pytest.mark.slow
@pytest.mark.parametrize(("ranks", "stage", "tensor_ranks"), [(1, 0, 1), (2, 2, 1), (2, 1, 2)])
def test_poison_is_left_out_and_named_with_its_text(
    tmp_path: Path, configure: Configure, launch: Launch, poison: str, ranks: int, stage: int, tensor_ranks: int
) -> None:
    options = {"steps": 170, "checkpoint_every": 20, "log_every": 5, "validate_every": 100, "inspect_every": 0}
    spikes = {"window": 40, "deviations": 8.0, "least": 0.2}
    parallel = {"zero_stage": stage, "tensor_ranks": tensor_ranks}
    configuration = configure("run", parallel=parallel, spikes=spikes, **options)
    finish(launch(configuration, ranks=ranks))
    run = tmp_path / "run"
    skipped = read_skipped(run)
    assert skipped
    suspects = read_suspects(run)
    for spike in skipped:
        of_step = [suspect for suspect in suspects if suspect.step == spike.step]
        assert of_step[0].doc_id == poison
        assert of_step[0].loss > 2 * of_step[1].loss
        assert len(of_step[0].text) > 3
        assert of_step[0].text[0] >= "一"
    said = [event.message for event in read_events(run) if event.kind == "spike"]
    assert any(f"the loss of step {skipped[0].step} is" in message for message in said)
    assert any(poison in message for message in said)
    report = json.loads((run / "report.json").read_text())
    assert report["skipped_steps"] == [spike.step for spike in skipped]
    assert report["steps"] == 170
    # Started again from a checkpoint, or killed after the fact, it leaves out the same ones.
    (run / "report.json").unlink()
    before = losses(run)
    finish(launch(configuration, ranks=ranks))
    assert losses(run) == before


@pytest.mark.slow
def test_a_step_that_is_left_out_is_in_no_checkpoint(
    tmp_path: Path, configure: Configure, launch: Launch, poison: str
) -> None:
    """However seldom losses are recorded, and also where one checkpoint alone is kept."""
    options = {"steps": 100, "checkpoint_every": 5, "keep_checkpoints": 1, "log_every": 80, "validate_every": 100}
    finish(launch(configure("run", spikes={"window": 40, "deviations": 8.0, "least": 0.2}, **options)))
    skipped = read_skipped(tmp_path / "run")
    assert skipped
    resumed = [event.step for event in read_events(tmp_path / "run") if event.kind == "resume"]
    assert resumed == [(spike.step - 1) // 5 * 5 for spike in sorted(skipped, key=lambda spike: spike.step)]


@pytest.mark.slow
def test_a_stopped_rank_is_noticed_by_the_other(tmp_path: Path, configure: Configure, launch: Launch) -> None:
    watchdog = {"factor": 5.0, "least_seconds": 6.0}
    process = launch(configure("run", steps=100_000, checkpoint_every=100_000, watchdog=watchdog), ranks=2)
    run = tmp_path / "run"
    wait_for_step(run, 20, process)
    stopped, _ = sorted(ranks_of(process.pid))
    os.kill(stopped, signal.SIGSTOP)
    begin = time.monotonic()
    try:
        while not any(path.stat().st_size for path in (run / "stacks").iterdir()):
            assert time.monotonic() - begin < 60
            time.sleep(0.1)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        os.kill(stopped, signal.SIGKILL)
        process.communicate()
    told = {path.name: path.read_text() for path in (run / "stacks").iterdir()}
    assert sum(bool(text) for text in told.values()) == 1
    assert any("loop.py" in text for text in told.values())


@pytest.mark.slow
def test_a_full_disk_costs_checkpoints_and_not_the_training(
    tmp_path: Path, configure: Configure, launch: Launch
) -> None:
    """On a file system of its own that something else fills."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "none", str(disk)], check=False)
    if mounted.returncode:
        pytest.skip("needs the right to mount a file system")
    try:
        options = {"steps": 1500, "checkpoint_every": 50, "validate_every": 1500, "inspect_every": 0}
        finish(launch(configure("whole", **options)))
        process = launch(configure("disk/run", **options))
        # Relative to the configuration's own folder.
        run = disk / "disk" / "run"
        wait_for_step(run, 60, process)
        with pytest.raises(OSError, match="No space left"), (disk / "filler").open("wb", buffering=0) as filler:
            while True:
                filler.write(b"0" * 4096)
        assert process.stdout is not None
        said = ""
        while "could not be written" not in said:
            line = process.stdout.readline()
            assert line, said[-4000:]
            said += line
        (disk / "filler").unlink()
        finish(process)
        assert "No space left on device" in said
        assert losses(run) == losses(tmp_path / "whole")
        assert sorted(losses(run)) == list(range(1, 1501))
    finally:
        subprocess.run(["umount", str(disk)], check=False)


class Malice:
    def __init__(self, marker: str) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return (os.mkdir, (self.marker,))


@pytest.mark.slow
@pytest.mark.parametrize("stage", [0, 2, 3])
def test_a_tampered_checkpoint_runs_nothing(tmp_path: Path, configure: Configure, launch: Launch, stage: int) -> None:
    """Even where its record was made to fit."""
    ranks = 1 + bool(stage)
    configuration = configure("run", parallel={"zero_stage": stage})
    finish(launch(configuration, ranks=ranks))
    run = tmp_path / "run"
    (run / "report.json").unlink()
    newest, _ = newest_checkpoint(run)
    assert newest is not None
    folder, checkpoint = newest
    record = json.loads((folder / RECORD).read_text())
    for number, entry in enumerate(checkpoint.files):
        marker = tmp_path / f"executed-{number}"
        file = folder / entry.path
        content = torch.load(file, weights_only=False)
        torch.save(content | {"more": Malice(str(marker))}, file)
        record["files"][number] |= {"size": file.stat().st_size, "sha256": file_sha256(file)}
        # The test can fail: opened as a program it does run.
        pickle.loads(pickle.dumps(Malice(str(marker))))  # noqa: S301
        marker.rmdir()
    (folder / RECORD).write_text(json.dumps(record))
    output = finish(launch(configuration, ranks=ranks), code=2)
    assert "holds more than data and is not opened" in output
    assert not list(tmp_path.glob("executed-*"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "after", "optimizer", "precision"),
    [
        ((1, 0), (2, 3), "adamw", "float32"),
        ((2, 2), (1, 0), "adamw", "float32"),
        ((2, 1), (2, 3), "adamw", "float32"),
        ((2, 3), (1, 1), "lion", "float32"),
        ((2, 3), (1, 3), "sgd", "float32"),
        ((2, 2), (1, 1), "sgd", "float32"),
        ((2, 1), (1, 1), "lion", "float32"),
        ((1, 3), (1, 1), "adamw", "bfloat16"),
        ((1, 0), (2, 2), "adamw", "bfloat16"),
        ((2, 1), (1, 0), "adamw", "bfloat16"),
    ],
)
def test_another_stage_and_number_of_ranks_go_on(
    tmp_path: Path,
    configure: Configure,
    launch: Launch,
    before: tuple[int, int],
    after: tuple[int, int],
    optimizer: str,
    precision: str,
) -> None:
    options = {"optimizer": {"learning_rate": 0.003, "name": optimizer}, "averaging": 0.9}

    def parallel(stage: int) -> dict[str, object]:
        return {"zero_stage": stage, "precision": precision}

    finish(launch(configure("whole", parallel=parallel(before[1]), **options), ranks=before[0]))
    killed = launch(configure("run", parallel=parallel(before[1]), **options), ranks=before[0])
    wait_for_step(tmp_path / "run", 14, killed)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    output = finish(launch(configure("run", parallel=parallel(after[1]), **options), ranks=after[0]))
    assert "resumed from the checkpoint of step 12" in output or "resumed from the checkpoint of step 6" in output
    expected = losses(tmp_path / "whole")
    # Sums in bfloat16 depend on their order.
    within = 1e-5 if precision == "float32" else 2e-3
    assert list(losses(tmp_path / "run").values()) == pytest.approx(list(expected.values()), rel=within)


def momenta(run: Path, configuration: Path) -> dict[str, torch.Tensor]:
    """Of muon, by name, in the newest checkpoint."""
    settings = TrainingSettings.parse(json.loads(configuration.read_text())["training"], origin="training")
    model = settings.model.model_copy(update={"vocabulary_size": VOCABULARY_SIZE})
    with torch.device("meta"):
        module = build_model(model)
    newest, _ = newest_checkpoint(run)
    assert newest is not None
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    states = whole_states(*newest, module, model, settings.optimizer)
    return {names[id(parameter)]: state[MOMENTUM].float() for parameter, state in states if MOMENTUM in state}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "after", "precision"),
    [
        ((2, 1, False), (1, 2, False), "float32"),
        ((2, 1, False), (2, 1, True), "float32"),
        ((2, 2, True), (2, 2, False), "float32"),
        # Whose shares of matrices are not all as long.
        ((2, 1, False), (3, 3, False), "float32"),
        ((2, 2, False), (1, 0, False), "bfloat16"),
        ((1, 0, False), (2, 1, False), "bfloat16"),
    ],
)
def test_muon_goes_on_with_the_momentum_it_had(
    tmp_path: Path,
    configure: Configure,
    launch: Launch,
    before: tuple[int, int, bool],
    after: tuple[int, int, bool],
    precision: str,
) -> None:
    """With other ranks, another stage, or states elsewhere."""

    def configured(stage: int, offload: bool) -> Path:
        parallel = {"zero_stage": stage, "offload_optimizer": offload, "precision": precision, "micro_batch": 1}
        optimizer = {"name": "muon", "learning_rate": 0.02}
        return configure("run", parallel=parallel, optimizer=optimizer, steps=12, batch=6, inspect_every=0)

    run = tmp_path / "run"
    configuration = configured(*before[1:])
    finish(launch(configuration, ranks=before[0]))
    expected, whole = momenta(run, configuration), losses(run)
    (run / "report.json").unlink()
    shutil.rmtree(run / "checkpoints" / "step-0000000012")
    configuration = configured(*after[1:])
    output = finish(launch(configuration, ranks=after[0]))
    assert "resumed from the checkpoint of step 6" in output
    found = momenta(run, configuration)
    within = 1e-5 if precision == "float32" else 2e-3
    assert list(losses(run).values()) == pytest.approx(list(whole.values()), rel=within)
    assert found.keys() == expected.keys()
    # Of a momentum that began anew a quarter would be missing.
    within = 1e-4 if precision == "float32" else 0.1
    for name, momentum in expected.items():
        assert (found[name] - momentum).norm() < within * momentum.norm(), name


FLIP = """
import sys
from pathlib import Path

sys.path.insert(0, {repository!r})
import torch
import training.loop
from training.train import main

original = training.loop.Training._one_step
done = Path({marker!r})


def one_step(self, batches, recorder):
    loss = original(self, batches, recorder)
    if self.step == 9 and self.rank == 1 and not done.exists():
        done.touch()
        weight = dict(self.engine.module.named_parameters())["blocks.0.attention.output.weight"]
        weight.data.view(torch.int32).view(-1)[3] ^= 1 << 12
    return loss


training.loop.Training._one_step = one_step
sys.exit(main())
"""


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "tensor_ranks"), [(0, 1), (1, 1), (0, 2), (1, 2)])
def test_a_flipped_bit_is_noticed_and_its_rank_named(
    tmp_path: Path, configure: Configure, launch: Launch, stage: int, tensor_ranks: int
) -> None:
    """A rank whose weights change behind its back ends the run, which goes on from before as if nothing had been."""
    program = tmp_path / "flip.py"
    program.write_text(FLIP.format(repository=str(TRAINER.parents[1]), marker=str(tmp_path / "flipped")))
    ranks, parallel = 2 * tensor_ranks, {"zero_stage": stage, "tensor_ranks": tensor_ranks}
    finish(launch(configure("whole", parallel=parallel), ranks=ranks))
    configuration = configure("run", parallel=parallel, verify_every=2)
    output = finish(launch(configuration, ranks=ranks, program=program), code=76)
    assert "the weights of blocks.0.attention.output.weight" in output
    assert ("on rank 1 differ" in output) == bool(stage)
    output = finish(launch(configuration, ranks=ranks, program=program))
    assert ("had been wrong on rank 1" in output) == (not stage)
    assert losses(tmp_path / "run") == losses(tmp_path / "whole")
