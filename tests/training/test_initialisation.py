from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from training.exports import ExportError
from training.initialisation import copy_weights, initialise
from training.models import ModelSettings, build_model

SHAPE = ModelSettings(
    vocabulary_size=300,
    width=128,
    layers=2,
    heads=4,
    key_value_heads=2,
    feed_forward_width=256,
    initial_std=0.03,
    zero_output_projections=False,
)
RESIDUAL = ("attention.output.weight", "feed_forward.down.weight")


def weights(settings: ModelSettings, *, seed: int) -> dict[str, Tensor]:
    model = build_model(settings)
    initialise(model, seed=seed)
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


def test_the_same_seed_gives_the_same_weights() -> None:
    torch.manual_seed(1)
    one = weights(SHAPE, seed=5)
    torch.manual_seed(2)
    other = weights(SHAPE, seed=5)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_state_of_torch_is_left_alone() -> None:
    model = build_model(SHAPE)
    before = torch.get_rng_state()
    initialise(model, seed=5)
    assert torch.equal(torch.get_rng_state(), before)


def test_another_seed_gives_other_weights() -> None:
    one, other = weights(SHAPE, seed=5), weights(SHAPE, seed=6)
    for name, values in one.items():
        assert torch.equal(values, other[name]) == (values.dim() == 1)


def test_no_two_matrices_are_equal() -> None:
    matrices = [values for values in weights(SHAPE, seed=5).values() if values.dim() == 2]
    starts = [values.flatten()[:8] for values in matrices]
    assert not any(torch.equal(a, b) for i, a in enumerate(starts) for b in starts[:i])


@pytest.mark.parametrize("layers", [1, 2, 8])
def test_standard_deviations(layers: int) -> None:
    for name, values in weights(SHAPE.model_copy(update={"layers": layers}), seed=0).items():
        if values.dim() == 1:
            assert torch.equal(values, torch.ones_like(values)), name
            continue
        expected = 0.03 / math.sqrt(2 * layers) if name.endswith(RESIDUAL) else 0.03
        assert float(values.std()) == pytest.approx(expected, rel=5 / math.sqrt(2 * values.numel())), name
        assert abs(float(values.mean())) < 5 * expected / math.sqrt(values.numel()), name


def test_output_projections_can_start_at_zero() -> None:
    found = weights(SHAPE.model_copy(update={"zero_output_projections": True}), seed=0)
    zero = {name for name, values in found.items() if not values.any()}
    assert zero == {f"blocks.{layer}.{name}" for layer in range(2) for name in RESIDUAL}


def test_a_tied_embedding_is_drawn_once() -> None:
    found = weights(SHAPE.model_copy(update={"tied_embedding": True}), seed=0)
    assert "head.weight" not in found
    assert torch.equal(found["embedding.weight"], weights(SHAPE, seed=0)["embedding.weight"])


@pytest.mark.parametrize(
    ("scheme", "layer", "head"),
    [
        ("normal", lambda out, width: 0.03, 0.03),
        ("truncated_normal", lambda out, width: 0.03, 0.03),
        ("xavier", lambda out, width: math.sqrt(2 / (out + width)), math.sqrt(2 / (300 + 128))),
        ("kaiming", lambda out, width: math.sqrt(2 / width), math.sqrt(2 / 128)),
        ("torch", lambda out, width: math.sqrt(1 / 3 / width), math.sqrt(1 / 3 / 128)),
        ("mup", lambda out, width: 0.03 * math.sqrt(1 / 2), 0.03 / 2),
    ],
)
def test_each_scheme_has_its_deviation(scheme: str, layer: Callable[[int, int], float], head: float) -> None:
    changes = {"initialisation": scheme, "depth_scaling": False, "base_width": 64}
    for name, values in weights(SHAPE.model_copy(update=changes), seed=0).items():
        if values.dim() == 1:
            continue
        expected = {"embedding.weight": 0.03, "head.weight": head}.get(name, layer(*values.shape))
        # Cut at three deviations, a normal distribution is a hundredth narrower.
        assert float(values.std()) == pytest.approx(expected, rel=0.03), name
        if scheme in ("xavier", "torch") and name != "embedding.weight":
            assert float(values.abs().max()) <= math.sqrt(3) * expected * 1.0001


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layers": 1}, r"has 'blocks\.1\.attention\.key\.weight', which this one lacks"),
        ({"query_key_norm": False}, r"has 'blocks\.0\.attention\.key_norm\.weight', which this one lacks"),
        ({"tied_embedding": True}, r"has 'head\.weight', which this one lacks"),
        ({"layers": 3}, r"has no 'blocks\.2\.attention_norm\.weight' of the shape \(128,\)"),
        ({"feed_forward_width": 128}, r"has no 'blocks\.0\.feed_forward\.gate\.weight' of the shape \(128, 128\)"),
    ],
)
def test_a_model_of_another_shape_is_not_started_from(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ExportError, match=message):
        copy_weights(build_model(SHAPE), build_model(SHAPE.model_copy(update=changes)))


def test_a_tied_model_starts_one_that_is_not() -> None:
    tied = build_model(SHAPE.model_copy(update={"tied_embedding": True}))
    model = build_model(SHAPE)
    copy_weights(tied, model)
    assert torch.equal(model.head.weight, tied.embedding.weight)
    assert torch.equal(model.embedding.weight, tied.embedding.weight)
