"""Trainings whose ranks share sequences, against those in which each rank has its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from trainer_runs import Launch, finish, losses

Configure = Callable[..., Path]
GPT2 = {"architecture": "gpt2", "width": 32, "layers": 2, "heads": 4, "feed_forward_width": 64, "context": 32}


def trained(tmp_path: Path, configure: Configure, launch: Launch, name: str, ranks: int, **options: Any) -> Path:
    finish(launch(configure(name, **options), ranks=ranks))
    return tmp_path / name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ranks", "sequence_ranks", "parallel", "options"),
    [
        (2, 2, {"zero_stage": 1}, {"samples": {"document_mask": True}}),
        (
            4,
            2,
            {"zero_stage": 2, "activation_checkpointing": "selective", "micro_batch": 2},
            {"curriculum": [{"steps": 12, "batch": 4, "context": 16}, {"steps": 12}]},
        ),
        (
            2,
            2,
            {"zero_stage": 3, "activation_checkpointing": "full"},
            {},
        ),
        (2, 2, {"zero_stage": 0, "compile": True}, {"model": GPT2}),
    ],
)
def test_losses_are_those_of_whole_sequences(
    tmp_path: Path,
    configure: Configure,
    launch: Launch,
    ranks: int,
    sequence_ranks: int,
    parallel: dict[str, Any],
    options: dict[str, Any],
) -> None:
    plain = parallel | {"zero_stage": 0, "compile": False}
    expected = losses(trained(tmp_path, configure, launch, "whole", 1, parallel=plain, **options))
    shared = parallel | {"sequence_ranks": sequence_ranks}
    found = losses(trained(tmp_path, configure, launch, "shared", ranks, parallel=shared, **options))
    assert found[1] == pytest.approx(expected[1], abs=2e-6)
    assert found == pytest.approx(expected, abs=2e-4)
    assert expected[24] < 0.8 * expected[1]
