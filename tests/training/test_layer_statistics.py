from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from tests.training.models.test_decoder import random_tokens
from tests.training.models.test_families import FAMILIES, family_model
from training.divergence import first_wrong_layer
from training.layer_statistics import StepStatistics, activations, layer_of
from training.models import LanguageModel
from training.models.settings import RECURRENT


def one_step(model: LanguageModel, rate: float = 0.1) -> dict[str, dict[str, float]]:
    """Statistics of a step of plain gradient descent."""
    tokens = random_tokens(2, 17)
    statistics = StepStatistics(model, ranks=1)
    objective, _ = model(tokens[:, :-1], tokens[:, 1:])
    objective.backward()
    statistics.gradients()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter -= rate * parameter.grad
    return statistics.finish(tokens[:1, :-1])


@pytest.mark.parametrize("family", FAMILIES)
def test_norms_are_those_of_each_layer(family: str) -> None:
    model = family_model(family).train()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    found = one_step(model)
    kind = "layers" if model.settings.architecture in RECURRENT else "blocks"
    for layer in ("embedding", f"{kind}.0", f"{kind}.2", "head"):
        mine = {name: parameter for name, parameter in model.named_parameters() if layer_of(name) == layer}
        gradient = math.sqrt(sum(float(p.grad.square().sum()) for p in mine.values()))
        weight = math.sqrt(sum(float(p.detach().square().sum()) for p in mine.values()))
        update = math.sqrt(sum(float((p.detach() - before[name]).square().sum()) for name, p in mine.items()))
        assert found[layer]["gradient_norm"] == pytest.approx(gradient, rel=1e-4)
        assert found[layer]["weight_norm"] == pytest.approx(weight, rel=1e-4)
        assert found[layer]["update_norm"] == pytest.approx(0.1 * gradient, rel=1e-3)
        assert found[layer]["update_ratio"] == pytest.approx(update / weight, rel=1e-3)


def test_a_rank_beyond_the_number_of_parameters_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    model = family_model("gpt2").train()
    ranks = len(list(model.parameters())) + 1
    summed: list[torch.Tensor] = []
    monkeypatch.setattr("torch.distributed.get_rank", lambda: ranks - 1)
    monkeypatch.setattr("torch.distributed.all_reduce", summed.append)
    found = StepStatistics(model, ranks=ranks).finish(random_tokens(1, 8))
    assert not summed[0].any()
    assert found["head"]["weight_norm"] == found["blocks.0"]["update_norm"] == 0


@pytest.mark.parametrize("family", FAMILIES)
def test_what_layers_give_is_measured_without_a_trace(family: str) -> None:
    model = family_model(family, dropout=0.5).train()
    row = random_tokens(1, 12)
    found = activations(model, row)
    assert model.training
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    model.eval()
    with torch.no_grad():
        logits = model(row)
    assert found["logits"]["deviation"] == pytest.approx(float(logits.std()), rel=1e-4)
    assert found["logits"]["largest"] == pytest.approx(float(logits.abs().max()), rel=1e-4)
    assert found["embedding"]["activation_rms"] == pytest.approx(
        float(model.embedding(row).square().mean().sqrt()), rel=1e-4
    )
    for number in range(0 if model.settings.architecture in RECURRENT else 3):
        assert 0 < found[f"blocks.{number}"]["attention_entropy"] < math.log(12)


def test_attention_that_looks_everywhere_alike_has_the_largest_entropy() -> None:
    model = family_model("gpt2")
    with torch.no_grad():
        model.blocks[1].attention.query.weight.zero_()
        model.blocks[1].attention.query.bias.zero_()
    found = activations(model, random_tokens(1, 8))
    alike = sum(math.log(count) for count in range(1, 9)) / 8
    assert found["blocks.1"]["attention_entropy"] == pytest.approx(alike, rel=1e-5)


def test_units_that_nothing_moves_are_dead() -> None:
    model = family_model("transformer")
    with torch.no_grad():
        model.blocks[2].feed_forward.up.bias[:32] = -1e6
    dead = activations(model, random_tokens(1, 16))["blocks.2"]["dead_share"]
    assert 0.25 <= dead < 0.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("weights", "the weights of blocks.1.feed_forward.down.weight are no finite numbers"),
        ("values", "blocks.1.attention.query is the first layer whose values are no finite numbers"),
        ("nothing", "weights and values of the layers are finite, the gradients were not"),
    ],
)
def test_the_layer_that_breaks_is_named(change: str, message: str) -> None:
    model: Any = family_model("gpt2")
    with torch.no_grad():
        if change == "weights":
            model.blocks[1].feed_forward.down.weight[3, 4] = math.nan
        elif change == "values":
            model.blocks[1].attention.query.weight.fill_(3e38)
    assert first_wrong_layer(model, random_tokens(2, 8)) == message
