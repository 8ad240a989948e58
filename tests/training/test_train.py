"""The trainer as a user starts it: DeepSpeed's launcher, real ranks, real checkpoints."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pytest
import torch
from trainer_runs import (
    TRAINER,
    VOCABULARY_SIZE,
    Launch,
    finish,
    layers,
    losses,
    ranks_of,
    shard_writer,
    wait_for_step,
)

from training.artifact import file_sha256
from training.checkpoint import newest_checkpoint
from training.export import load_model
from training.export_checkpoint import export_checkpoint
from training.models import ModelSettings
from training.records import read_records
from training.shared_memory import FOLDER, NAME


def test_trains_by_hand_without_dagster_and_mlflow(
    tmp_path: Path, configure: Callable[..., Path], launch: Launch
) -> None:
    output = finish(launch(configure("run", profile={"steps": 2})))
    run = tmp_path / "run"
    assert "aten::" in (run / "profile" / "table-0.txt").read_text()
    assert json.loads((run / "profile" / "trace-0.json").read_text())["traceEvents"]
    measured = losses(run)
    assert sorted(measured) == list(range(1, 25))
    assert measured[1] == pytest.approx(np.log(VOCABULARY_SIZE), abs=0.05)
    assert measured[24] < 0.8 * measured[1]
    report = json.loads((run / "report.json").read_text())
    assert (report["steps"], report["tokens"], report["ranks"]) == (24, 24 * 8 * 32, 1)
    assert set(report["validation"]) == {"up", "down"}
    assert (report["best_step"], report["stopped_early"]) == (24, False)
    assert sorted(layers(run)) == [12, 24]
    assert set(layers(run)[24]) == {"embedding", "blocks.0", "blocks.1", "final_norm", "head", "logits"}
    assert report["epochs"]["down"] > report["epochs"]["up"]
    assert any((run / "tensorboard").iterdir())
    assert "tokens/s" in output
    model = load_model(run / "model")
    assert model.parameter_count() == report["parameters"]
    # The newest two checkpoints stay.
    assert sorted(path.name for path in (run / "checkpoints").glob("step-*")) == ["step-0000000018", "step-0000000024"]
    assert (run / "model" / "tokenizer.json").is_file()


@pytest.mark.parametrize("ranks", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_a_killed_training_goes_on_with_the_losses_it_would_have_had(
    tmp_path: Path, configure: Callable[..., Path], launch: Launch, ranks: int
) -> None:
    finish(launch(configure("whole"), ranks=ranks))
    killed = launch(configure("killed"), ranks=ranks)
    wait_for_step(tmp_path / "killed", 14, killed)
    words = psutil.Process(killed.pid).cmdline()
    port = next(word.removeprefix("--master_port=") for word in words if word.startswith("--master_port="))
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    assert not list(FOLDER.glob(NAME.format(user="*", address="*", port=port, rank="*")))
    finish(launch(configure("killed"), ranks=ranks))
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")
    whole, resumed = (tmp_path / name / "model" / "model.safetensors" for name in ("whole", "killed"))
    assert file_sha256(whole) == file_sha256(resumed)


def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(
    tmp_path: Path, configure: Callable[..., Path], launch: Launch
) -> None:
    finish(launch(configure("run")))
    run = tmp_path / "run"
    expected = losses(run)
    (run / "report.json").unlink()
    newest, _ = newest_checkpoint(run)
    assert newest is not None
    folder, checkpoint = newest
    file = folder / checkpoint.files[0].path
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(bytes(data))
    output = finish(launch(configure("run")))
    assert f"{folder} is not used: {checkpoint.files[0].path} is missing or damaged" in output
    assert "resumed from the checkpoint of step 18" in output
    assert losses(run) == expected


def test_a_later_checkpoint_that_is_damaged_does_not_stand_for_one_that_is_whole(
    tmp_path: Path, configure: Callable[..., Path], launch: Launch
) -> None:
    later = tmp_path / "run" / "checkpoints" / "step-0000000099"
    later.mkdir(parents=True)
    (later / "checkpoint.json").write_text("{}")
    finish(launch(configure("run", keep_checkpoints=1, steps=8)))
    newest, damaged = newest_checkpoint(tmp_path / "run")
    assert newest is not None
    assert newest[1].step == 8
    assert f"checkpoint {later} is not used" in damaged[0]


def test_a_terminated_training_leaves_a_checkpoint(
    tmp_path: Path, configure: Callable[..., Path], launch: Launch
) -> None:
    process = launch(configure("run", steps=4000, checkpoint_every=4000))
    wait_for_step(tmp_path / "run", 5, process)
    for rank in ranks_of(process.pid):
        os.kill(rank, signal.SIGTERM)
    output, _ = process.communicate(timeout=120)
    assert "stopped by a signal after step" in output
    assert process.returncode != 0
    newest, _ = newest_checkpoint(tmp_path / "run")
    assert newest is not None
    assert newest[1].step >= 5
    assert not (tmp_path / "run" / "report.json").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch": 6}, "batch 6 is no multiple of micro_batch 4"),
        ({"stepps": 3}, "unknown key 'training.stepps', did you mean 'steps'?"),
        ({"model": {"context": 100_000}}, "too few for one sequence of 100000; shorten the context"),
    ],
)
def test_wrong_settings_end_with_code_2_and_a_remedy(
    configure: Callable[..., Path], change: dict[str, Any], message: str
) -> None:
    # Checked before DeepSpeed is set up, so that no launcher is needed to see it.
    process = subprocess.run(
        [sys.executable, str(TRAINER), "--config", str(configure("run", **change))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 2
    assert message in process.stderr
    assert "Traceback" not in process.stderr


@pytest.mark.slow
@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_every_zero_stage_on_two_ranks_learns_what_one_rank_does(
    tmp_path: Path, configure: Callable[..., Path], launch: Launch, stage: int
) -> None:
    finish(launch(configure("one")))
    finish(launch(configure("two", parallel={"zero_stage": stage}), ranks=2))
    alone, together = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert alone.keys() == together.keys()
    first = [measured.pop(1) for measured in (together, alone)]
    assert first[0] == pytest.approx(first[1], rel=1e-5)
    assert list(together.values()) == pytest.approx(list(alone.values()), rel=1e-4)
    for one, two in zip(layers(tmp_path / "one").values(), layers(tmp_path / "two").values(), strict=True):
        assert one.keys() == two.keys()
        for layer, values in one.items():
            # The row that activations are measured with is the first of the first rank, in either.
            assert two[layer] == pytest.approx(values, rel=1e-2), layer


def test_bfloat16_without_zero_learns_and_is_exported_as_with_it(
    tmp_path: Path, configure: Callable[..., Path], launch: Launch
) -> None:
    options = {"steps": 6, "optimizer": {"learning_rate": 0.01, "weight_decay": 1.0}, "inspect_every": 0}
    exported = []
    for stage in (0, 1):
        parallel = {"zero_stage": stage, "precision": "bfloat16"}
        finish(launch(configure(f"stage-{stage}", parallel=parallel, **options)))
        run = tmp_path / f"stage-{stage}"
        exported.append(load_model(run / "model").state_dict())
        # Not rounded to bfloat16, as the weights in it are.
        assert not torch.equal(exported[-1]["head.weight"], exported[-1]["head.weight"].bfloat16().float())
        export_checkpoint(run / "checkpoints" / "step-0000000006", run / "again")
        assert file_sha256(run / "again" / "model.safetensors") == file_sha256(run / "model" / "model.safetensors")
    without, with_zero = (list(losses(tmp_path / f"stage-{stage}").values()) for stage in (0, 1))
    assert without == pytest.approx(with_zero, abs=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    "parallel",
    [
        {"precision": "bfloat16", "zero_stage": 2},
        {"activation_checkpointing": "full", "zero_stage": 3},
        {"compile": True},
        {"offload_optimizer": True, "zero_stage": 2},
        {"micro_batch": 2},
    ],
    ids=lambda parallel: "-".join(map(str, parallel)),
)
def test_every_way_to_compute_learns(
    tmp_path: Path, configure: Callable[..., Path], launch: Launch, parallel: dict[str, Any]
) -> None:
    finish(launch(configure("run", parallel=parallel), ranks=1 if "compile" in parallel else 2))
    measured = losses(tmp_path / "run")
    assert measured[24] < 0.85 * measured[1]


@pytest.mark.parametrize("tensor_ranks", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_loss_that_is_no_number_is_explained(
    configure: Callable[..., Path], launch: Launch, tensor_ranks: int
) -> None:
    schedule = {"shape": "constant", "warmup": 0}
    parallel = {"tensor_ranks": tensor_ranks}
    configuration = configure("run", optimizer={"learning_rate": 1e38}, schedule=schedule, parallel=parallel)
    output = finish(launch(configuration, ranks=tensor_ranks), code=2)
    assert "is no finite number, where the median" in output
    assert "like the 3 before, so it is not their text" in output
    assert "no finite numbers; that step read 0000" in output
    assert "Lower the learning rate" in output


def test_the_loss_is_the_mean_of_the_targets_also_where_they_are_fewer_than_micro_batches(
    tmp_path: Path, configure: Callable[..., Path], launch: Launch, data: dict[str, Any]
) -> None:
    folder = tmp_path / "masked"
    with shard_writer(folder, Path(data["vocabulary"])) as writer:
        names = pa.array([f"{number:032x}" for number in range(60)])
        lengths, one_of_each = np.full(60, 60), np.tile(np.arange(60) == 30, 60)
        ids = 1 + np.arange(60)
        writer.add_documents("train", names, np.tile(ids, 60), lengths=lengths, bytes=lengths, loss_mask=one_of_each)
        writer.add("validation", "0" * 32, ids, bytes=60)
    data["data"] = [{"folder": str(folder)}]
    options = {"steps": 4, "optimizer": {"learning_rate": 1e-12}, "inspect_every": 0}
    finish(launch(configure("run", parallel={"micro_batch": 1}, **options)))
    for loss in losses(tmp_path / "run").values():
        assert loss == pytest.approx(np.log(VOCABULARY_SIZE), abs=0.3)


def test_the_learning_rate_of_muon_that_is_recorded_is_that_of_its_matrices(
    tmp_path: Path, configure: Callable[..., Path], launch: Launch
) -> None:
    optimizer = {"name": "muon", "learning_rate": 0.02, "other_learning_rate": 0.004}
    options = {"steps": 2, "schedule": {"shape": "constant", "warmup": 0}, "inspect_every": 0}
    finish(launch(configure("run", optimizer=optimizer, **options)))
    records = read_records(tmp_path / "run" / "metrics.jsonl")
    assert [record["learning_rate"] for record in records if "learning_rate" in record] == [0.02, 0.02]


def test_a_validation_that_is_no_number_is_explained(configure: Callable[..., Path], launch: Launch) -> None:
    """The loss of a step is that of the weights before it; those after it are seen by the validation first."""
    schedule = {"shape": "constant", "warmup": 0}
    configuration = configure("run", optimizer={"learning_rate": 1e38}, schedule=schedule, validate_every=1)
    output = finish(launch(configuration), code=2)
    assert "the validation loss after step 1 is no finite number: " in output
    assert "that step read 0000" in output
    assert "Lower the learning rate" in output


@pytest.mark.slow
@pytest.mark.parametrize("stage", [1, 3])
@pytest.mark.parametrize("architecture", ["experts", "gpt2", "transformer", "lstm", "gru", "rnn"])
def test_every_architecture_learns_by_one_changed_line(
    tmp_path: Path, configure: Callable[..., Path], launch: Launch, architecture: str, stage: int
) -> None:
    kind = {"experts": 4} if architecture == "experts" else {"architecture": architecture}
    model = {**kind, "width": 32, "layers": 2, "heads": 4, "feed_forward_width": 64, "context": 32}
    options = {"averaging": 0.5, "optimizer": {"learning_rate": 0.01}}
    finish(launch(configure("run", parallel={"zero_stage": stage}, model=model, **options), ranks=2))
    measured = losses(tmp_path / "run")
    # A plain network of two layers hardly begins in so few steps.
    assert measured[24] < measured[1] - 0.02
    exported = load_model(tmp_path / "run" / "model")
    assert exported.settings == ModelSettings.model_validate(exported.settings.model_dump() | kind)


@pytest.mark.slow
def test_a_training_without_progress_stops_and_the_best_weights_are_exported(
    tmp_path: Path, configure: Callable[..., Path], launch: Launch
) -> None:
    schedule = {"shape": "constant", "warmup": 0}
    options = {"patience": 2, "keep_best": True, "validate_every": 2, "keep_checkpoints": 1, "checkpoint_every": 24}
    finish(launch(configure("run", optimizer={"learning_rate": 1e-12}, schedule=schedule, **options)))
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["stopped_early"]
    assert report["best_step"] < report["steps"] < 24
    assert report["steps"] == report["best_step"] + 4
    records = {row["step"]: row for row in read_records(tmp_path / "run" / "metrics.jsonl") if "validation" in row}
    assert report["validation"] == records[report["best_step"]]["validation"]
    assert min(row["validation_loss"] for row in records.values()) == records[report["best_step"]]["validation_loss"]


@pytest.mark.slow
@pytest.mark.parametrize("averaging", [0.0, 0.5])
def test_the_best_weights_are_exported_by_other_ranks_and_the_last_ones_if_they_are_lost(
    tmp_path: Path, configure: Callable[..., Path], launch: Launch, averaging: float
) -> None:
    schedule, optimizer = {"shape": "constant", "warmup": 0}, {"learning_rate": 1e-12}
    options = {"keep_best": True, "validate_every": 2, "checkpoint_every": 12, "steps": 12, "averaging": averaging}
    options |= {"schedule": schedule, "optimizer": optimizer, "parallel": {"zero_stage": 2}}
    run = tmp_path / "run"
    finish(launch(configure("run", **options), ranks=2))
    best = json.loads((run / "report.json").read_text())["best_step"]
    assert best < 12
    exported = (run / "model" / "model.safetensors").read_bytes()
    for lost in (False, True):
        (run / "report.json").unlink()
        shutil.rmtree(run / "model")
        if lost:
            next((run / "checkpoints" / f"step-{best:010d}").glob("*.pt")).write_bytes(b"")
        said = finish(launch(configure("run", **options), ranks=1))
        assert ("is lost" in said) is lost
        assert json.loads((run / "report.json").read_text())["best_step"] == (12 if lost else best)
        assert ((run / "model" / "model.safetensors").read_bytes() == exported) is not lost


@pytest.mark.slow
def test_one_seed_one_training_and_another_seed_another(
    tmp_path: Path, configure: Callable[..., Path], launch: Launch
) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        finish(launch(configure(name, seed=seed)))
    assert losses(tmp_path / "a") == losses(tmp_path / "b")
    assert losses(tmp_path / "a") != losses(tmp_path / "c")


@pytest.mark.slow
def test_phases_change_mixture_batch_and_context(
    tmp_path: Path, configure: Callable[..., Path], launch: Launch
) -> None:
    """The same batches whether micro-batches or accumulation make them, and what was seen is counted."""
    curriculum = [{"steps": 4, "context": 16}, {"steps": 4, "batch": 16, "weights": {"up": 1.0}}]
    for name, micro_batch in (("run", 4), ("small", 2)):
        finish(launch(configure(name, steps=8, curriculum=curriculum, parallel={"micro_batch": micro_batch})))
    records = read_records(tmp_path / "run" / "metrics.jsonl")
    assert [record["tokens"] for record in records if "loss" in record] == [
        *(8 * 16 * step for step in range(1, 5)),
        *(4 * 8 * 16 + 16 * 32 * step for step in range(1, 5)),
    ]
    assert list(losses(tmp_path / "run").values()) == pytest.approx(list(losses(tmp_path / "small").values()), rel=1e-5)
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["epochs"]["up"] > report["epochs"]["down"] > 0


@pytest.mark.slow
def test_packed_documents_do_not_see_each_other(tmp_path: Path, configure: Callable[..., Path], launch: Launch) -> None:
    samples = {"packing": "best_fit", "document_mask": True}
    finish(launch(configure("packed", samples=samples), ranks=2))
    assert losses(tmp_path / "packed")[24] < 0.85 * losses(tmp_path / "packed")[1]
    assert list((tmp_path / "packed" / "packing").glob("*/plan.json"))


def test_a_run_continues_another_with_a_source_more(
    tmp_path: Path, configure: Callable[..., Path], launch: Launch, data: dict[str, Any]
) -> None:
    both = list(data["data"])
    data["data"] = both[:1]
    finish(launch(configure("first", steps=12)))
    data["data"] = both
    second = json.loads(configure("second", steps=12).read_text()) | {"continue_from": "first"}
    (tmp_path / "second.json").write_text(json.dumps(second))
    finish(launch(tmp_path / "second.json"))
    first, then = losses(tmp_path / "first"), losses(tmp_path / "second")
    assert then[1] < 0.9 * first[1]
    report = json.loads((tmp_path / "second" / "report.json").read_text())
    before = json.loads((tmp_path / "first" / "report.json").read_text())["epochs"]
    assert report["epochs"]["up"] > before["up"]
    assert report["epochs"]["down"] > 0
    # Other shards of the same name are not what the first run had seen.
    record = json.loads((tmp_path / "first" / "run.json").read_text())
    record["data"][0]["sha256"] = "0" * 64
    (tmp_path / "first" / "run.json").write_text(json.dumps(record))
    process = launch(tmp_path / "second.json")
    assert "is not what 'up' was then; name the same shards" in finish(process, code=2)


@pytest.mark.slow
def test_two_hundred_steps_are_the_same_on_one_two_and_four_ranks_and_after_a_resume_on_others(
    tmp_path: Path, configure: Callable[..., Path], launch: Launch
) -> None:
    settings = {"steps": 200, "checkpoint_every": 100, "validate_every": 200, "optimizer": {"learning_rate": 0.003}}
    for ranks in (1, 2, 4):
        finish(launch(configure(f"ranks-{ranks}", parallel={"micro_batch": 2}, **settings), ranks=ranks))
    alone = losses(tmp_path / "ranks-1")
    assert len(alone) == 200
    for ranks in (2, 4):
        assert list(losses(tmp_path / f"ranks-{ranks}").values()) == pytest.approx(list(alone.values()), rel=1e-3)
    # From the middle of what four ranks wrote, one and two go on.
    for ranks in (1, 2):
        resumed = tmp_path / f"resumed-{ranks}"
        shutil.copytree(tmp_path / "ranks-4", resumed)
        shutil.rmtree(resumed / "checkpoints" / f"step-{200:010d}")
        (resumed / "report.json").unlink()
        finish(launch(configure(f"resumed-{ranks}", parallel={"micro_batch": 2}, **settings), ranks=ranks))
        assert list(losses(resumed).values()) == pytest.approx(list(alone.values()), rel=1e-3)
