from __future__ import annotations

from typing import Any

import pytest
import torch

from training.coordinates import movements
from training.models import ModelSettings
from training.optimizer_settings import OptimizerSettings

WIDTHS = (32, 128)


def moved(initialisation: str, **optimizer: Any) -> dict[int, dict[str, float]]:
    shape = ModelSettings.model_validate(
        {
            "vocabulary_size": 64,
            "width": 32,
            "layers": 2,
            "heads": 2,
            "feed_forward_width": 64,
            "context": 16,
            "initialisation": initialisation,
            "zero_output_projections": False,
            "initial_std": 0.1,
        }
    )
    with torch._dynamo.config.patch(disable=True):
        return movements(shape, OptimizerSettings.model_validate(optimizer), widths=WIDTHS, steps=4, seeds=2)


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_under_mup_a_step_moves_a_wide_model_as_far_as_a_narrow_one(name: str) -> None:
    found = moved("mup", name=name, learning_rate=0.003, weight_decay=0)
    for what in ("hidden", "logits"):
        assert found[128][what] == pytest.approx(found[32][what], rel=0.6)


def test_otherwise_it_moves_further_the_wider_it_is() -> None:
    found = moved("normal", name="adamw", learning_rate=0.003, weight_decay=0)
    assert found[128]["logits"] > 2.5 * found[32]["logits"]
