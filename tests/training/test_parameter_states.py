from __future__ import annotations

import pytest
import torch

from training.models import ModelSettings, build_model
from training.optimizer_settings import OptimizerSettings
from training.optimizers import build_optimizer
from training.parameter_states import plain_weights

SHAPE = {"vocabulary_size": 20, "width": 16, "layers": 2, "heads": 2, "feed_forward_width": 24, "context": 8}


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_masters_without_zero_are_named_in_the_order_that_the_optimizer_gave_them(name: str) -> None:
    """Muon has an order of its own, which made weights of one matrix those of another."""
    settings, shape = OptimizerSettings.model_validate({"name": name}), ModelSettings.model_validate(SHAPE)
    model = build_model(shape)
    groups = [group["params"] for group in build_optimizer(model, shape, settings).param_groups]
    weights = plain_weights({"optimizer": {"fp32_groups": groups}}, build_model(shape), shape, settings)
    assert weights.keys() == dict(model.named_parameters()).keys()
    for of_model, weight in model.named_parameters():
        torch.testing.assert_close(weights[of_model], weight)
