from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from training.initialisation import initialise
from training.models import LanguageModel, ModelSettings, build_model
from training.optimizer_settings import OptimizerSettings
from training.optimizers import Lion, build_optimizer, parameter_groups
from training.settings import SettingsError

SHAPE: dict[str, Any] = {
    "vocabulary_size": 20,
    "width": 16,
    "layers": 2,
    "heads": 2,
    "feed_forward_width": 24,
    "context": 8,
    "zero_output_projections": False,
}


def model_of(**changes: Any) -> LanguageModel:
    model = build_model(ModelSettings.model_validate(SHAPE | changes))
    initialise(model, seed=0)
    return model


def groups_by_name(model: LanguageModel, **optimizer: Any) -> dict[str, dict[str, Any]]:
    groups = parameter_groups(model, model.settings, OptimizerSettings.model_validate(optimizer))
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found = {names[id(parameter)]: group for group in groups for parameter in group["params"]}
    assert set(found) == set(names.values())
    return found


def test_vectors_do_not_decay() -> None:
    groups = groups_by_name(model_of(), weight_decay=0.3)
    assert groups["blocks.0.attention.query.weight"]["weight_decay"] == 0.3
    assert groups["embedding.weight"]["weight_decay"] == 0.3
    assert groups["blocks.1.attention_norm.weight"]["weight_decay"] == 0.0


def test_muon_moves_the_matrices_of_the_blocks_and_adam_the_rest() -> None:
    groups = groups_by_name(model_of(), name="muon", learning_rate=0.02, other_learning_rate=0.004)
    muon = {name for name, group in groups.items() if group["use_muon"]}
    assert muon == {name for name in groups if name.startswith("blocks.") and "norm" not in name}
    assert {groups[name]["lr"] for name in muon} == {0.02}
    assert {group["lr"] for name, group in groups.items() if name not in muon} == {0.004}


def test_mup_scales_what_grows_with_the_width() -> None:
    """Yang et al., table 3: the rate of layers and of the output falls with the width, others stay."""
    changes = {"initialisation": "mup", "base_width": 4}
    adam = groups_by_name(model_of(**changes), learning_rate=0.1)
    assert adam["blocks.0.feed_forward.up.weight"]["lr"] == pytest.approx(0.025)
    assert adam["head.weight"]["lr"] == pytest.approx(0.025)
    assert adam["embedding.weight"]["lr"] == 0.1
    assert adam["final_norm.weight"]["lr"] == 0.1
    muon = groups_by_name(model_of(**changes), name="muon", learning_rate=0.1)
    assert muon["blocks.0.feed_forward.up.weight"]["lr"] == 0.1
    assert muon["head.weight"]["lr"] == pytest.approx(0.025)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"other_learning_rate": 0.01}, "other_learning_rate has no meaning for adamw, only for muon"),
        ({"name": "sgd", "momentum": 0.9}, "momentum has no meaning for sgd, only for muon"),
    ],
)
def test_what_only_muon_has_is_refused_of_others(settings: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        OptimizerSettings.parse(settings, origin="optimizer")
    OptimizerSettings.parse(settings | {"name": "muon"}, origin="optimizer")


def test_a_base_width_is_refused_without_mup() -> None:
    with pytest.raises(SettingsError, match="base_width has no meaning for initialisation normal, only for mup"):
        ModelSettings.parse(SHAPE | {"base_width": 8}, origin="model")


def test_muon_is_not_clipped() -> None:
    assert OptimizerSettings(name="muon").largest_norm == 0.0
    assert OptimizerSettings(name="adamw").largest_norm == 1.0
    assert OptimizerSettings(name="adamw", gradient_clipping=0.0).largest_norm == 0.0
    with pytest.raises(SettingsError, match=r"gradient_clipping 0\.5: with muon leave it out"):
        OptimizerSettings.parse({"name": "muon", "gradient_clipping": 0.5}, origin="optimizer")


def test_lion_is_its_algorithm() -> None:
    """Chen et al., algorithm 2, step by step in double precision."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(3, 4, generator=generator, dtype=torch.float64)
    parameter = torch.nn.Parameter(weight.clone())
    optimizer = Lion([{"params": [parameter], "weight_decay": 0.2}], lr=0.01, betas=(0.9, 0.99))
    momentum = torch.zeros_like(weight)
    for _ in range(5):
        gradient = torch.randn(3, 4, generator=generator, dtype=torch.float64)
        parameter.grad = gradient.clone()
        optimizer.step()
        direction = (0.9 * momentum + 0.1 * gradient).sign()
        weight = weight - 0.01 * (direction + 0.2 * weight)
        momentum = 0.99 * momentum + 0.01 * gradient
        torch.testing.assert_close(parameter.detach(), weight)


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd", "lion", "muon"])
def test_every_optimizer_learns(name: str) -> None:
    model = model_of()
    settings = OptimizerSettings.model_validate({"name": name, "learning_rate": 0.1 if name == "sgd" else 0.003})
    optimizer = build_optimizer(model, model.settings, settings)
    assert all(group["peak"] == group["lr"] for group in optimizer.param_groups)
    tokens = (torch.arange(9) * 3 + torch.arange(6)[:, None]) % 20
    losses = []
    # Muon's functions are compiled otherwise, which takes longer than all of this.
    with torch._dynamo.config.patch(disable=True):
        for _ in range(40):
            objective, nats = model(tokens[:, :-1], tokens[:, 1:])
            optimizer.zero_grad()
            objective.backward()
            optimizer.step()
            losses.append(float(nats))
    assert losses[0] == pytest.approx(math.log(20), abs=0.2)
    assert losses[-1] < losses[0] - 0.3
