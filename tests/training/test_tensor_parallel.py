"""Trainings whose ranks share layers, against one rank that has them whole."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from trainer_runs import Launch, finish, layers, losses, wait_for_step

from training.artifact import file_sha256
from training.export import load_model
from training.export_checkpoint import export_checkpoint
from training.initialisation import copy_weights, initialise
from training.models import Architecture, ModelSettings, build_model
from training.records import read_records
from training.tensor_parallel import LayerShare, joined

Configure = Callable[..., Path]
GPT2 = {"architecture": "gpt2", "width": 32, "layers": 2, "heads": 4, "feed_forward_width": 64, "context": 32}
EXPERTS = {
    "width": 32,
    "layers": 2,
    "heads": 4,
    "feed_forward_width": 64,
    "context": 32,
    "experts": 4,
    "zero_output_projections": False,
}
WHOLE = {"zero_stage": 0}


def trained(tmp_path: Path, configure: Configure, launch: Launch, name: str, ranks: int, **options: Any) -> Path:
    finish(launch(configure(name, **options), ranks=ranks))
    return tmp_path / name


def norms(run: Path) -> list[float]:
    return [record["gradient_norm"] for record in read_records(run / "metrics.jsonl") if "gradient_norm" in record]


def assert_alike(found: Path, expected: Path) -> None:
    """Two trainings in all that they measure and export."""
    assert losses(found) == pytest.approx(losses(expected), abs=5e-6)
    assert norms(found) == pytest.approx(norms(expected), rel=1e-5)
    reports = [json.loads((run / "report.json").read_text()) for run in (found, expected)]
    for dump in ("up", "down"):
        assert reports[0]["validation"][dump] == pytest.approx(reports[1]["validation"][dump], abs=1e-5)
    for mine, theirs in zip(layers(found).values(), layers(expected).values(), strict=True):
        for layer, values in theirs.items():
            assert mine[layer] == pytest.approx(values, rel=1e-3, abs=1e-5), layer
    weights = [load_model(run / "model").state_dict() for run in (found, expected)]
    for name, weight in weights[1].items():
        torch.testing.assert_close(weights[0][name], weight, atol=2e-4, rtol=0)


@pytest.mark.parametrize("architecture", ["decoder", "gpt2", "transformer"])
def test_first_weights_are_parts_of_those_of_one_rank(architecture: Architecture) -> None:
    settings = ModelSettings(
        architecture=architecture,
        vocabulary_size=20,
        width=32,
        layers=2,
        heads=4,
        feed_forward_width=48,
        initialisation="xavier",
        zero_output_projections=False,
    )
    whole = build_model(settings)
    initialise(whole, seed=3)
    drawn: dict[str, list[torch.Tensor]] = {}
    copied: dict[str, list[torch.Tensor]] = {}
    for number in range(2):
        share = LayerShare(cast(Any, None), cast(Any, None), number, 2)
        for found, fill in ((drawn, partial(initialise, seed=3)), (copied, partial(copy_weights, whole))):
            model = build_model(settings.part(2))
            fill(model, share=share)
            for name, parameter in model.named_parameters():
                found.setdefault(name, []).append(parameter.detach())
    for name, weight in whole.named_parameters():
        assert torch.equal(joined(name, drawn[name]), weight), name
        assert torch.equal(joined(name, copied[name]), weight), name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ranks", "parallel", "options"),
    [
        (2, {"zero_stage": 0, "compile": True}, {"samples": {"document_mask": True}}),
        (2, {"zero_stage": 1}, {"model": GPT2, "verify_every": 4}),
        (2, {"zero_stage": 0}, {"model": EXPERTS}),
        (4, {"zero_stage": 2, "compile": True, "activation_checkpointing": "full"}, {"model": EXPERTS}),
        (4, {"zero_stage": 0}, {"averaging": 0.8}),
        (4, {"zero_stage": 1, "activation_checkpointing": "full"}, {"verify_every": 4}),
        (
            4,
            {"zero_stage": 2, "activation_checkpointing": "selective", "micro_batch": 2},
            {"curriculum": [{"steps": 12, "batch": 4, "context": 16}, {"steps": 12}], "keep_best": True},
        ),
    ],
)
def test_a_training_is_that_of_whole_layers(
    tmp_path: Path, configure: Configure, launch: Launch, ranks: int, parallel: dict[str, Any], options: dict[str, Any]
) -> None:
    plain = parallel | {"zero_stage": 0, "compile": False}
    expected = trained(tmp_path, configure, launch, "whole", 1, parallel=plain, **options)
    shared = parallel | {"tensor_ranks": 2}
    found = trained(tmp_path, configure, launch, "shared", ranks, parallel=shared, **options)
    assert_alike(found, expected)
    assert losses(expected)[24] < 0.8 * losses(expected)[1]


@pytest.mark.slow
@pytest.mark.parametrize("stage", [0, 1])
def test_a_killed_training_goes_on_bit_for_bit(
    tmp_path: Path, configure: Configure, launch: Launch, stage: int
) -> None:
    parallel = {"zero_stage": stage, "tensor_ranks": 2}
    whole = trained(tmp_path, configure, launch, "whole", 2, parallel=parallel)
    process = launch(configure("killed", parallel=parallel), ranks=2)
    wait_for_step(tmp_path / "killed", 14, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    killed = trained(tmp_path, configure, launch, "killed", 2, parallel=parallel)
    assert losses(killed) == losses(whole)
    export_checkpoint(killed / "checkpoints" / f"step-{24:010d}", tmp_path / "exported")
    folders = (whole / "model", killed / "model", tmp_path / "exported")
    assert len({file_sha256(folder / "model.safetensors") for folder in folders}) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((2, 2, 1), (1, 1, 2)),
        ((1, 1, 1), (4, 2, 1)),
        ((4, 2, 2), (2, 2, 0)),
        ((2, 2, 0), (1, 1, 0)),
        ((1, 1, 0), (2, 2, 0)),
        ((2, 1, 3), (4, 4, 2)),
        ((4, 4, 2), (2, 1, 3)),
    ],
)
def test_a_training_goes_on_with_layers_shared_otherwise(
    tmp_path: Path, configure: Configure, launch: Launch, before: tuple[int, ...], after: tuple[int, ...]
) -> None:
    model = {"width": 32, "layers": 2, "heads": 4, "feed_forward_width": 64, "context": 32}
    options = {"model": model, "averaging": 0.8}
    whole = trained(tmp_path, configure, launch, "whole", 1, parallel=WHOLE, **options)
    for number, (ranks, tensor_ranks, stage) in enumerate((before, after)):
        if number:
            shutil.rmtree(tmp_path / "changed" / "checkpoints" / f"step-{24:010d}")
            (tmp_path / "changed" / "report.json").unlink()
        parallel = {"zero_stage": stage, "tensor_ranks": tensor_ranks, "micro_batch": 2}
        changed = trained(tmp_path, configure, launch, "changed", ranks, parallel=parallel, **options)
        assert losses(changed) == pytest.approx(losses(whole), abs=5e-6)
        weights = [load_model(run / "model").state_dict() for run in (changed, whole)]
        for name, weight in weights[1].items():
            torch.testing.assert_close(weights[0][name], weight, atol=2e-4, rtol=0)
