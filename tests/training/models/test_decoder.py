from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from training.initialisation import initialise
from training.models import (
    IGNORED,
    LanguageModel,
    ModelSettings,
    build_model,
    documents_of,
    parameter_count,
    training_flops_per_token,
)
from training.models.norms import RootMeanSquareNorm
from training.models.recomputation import Recomputation
from training.models.rotary import rotary_angles, rotate
from training.settings import SettingsError

TINY = {
    "vocabulary_size": 50,
    "width": 32,
    "layers": 2,
    "heads": 4,
    "key_value_heads": 2,
    "feed_forward_width": 48,
    "context": 16,
    "zero_output_projections": False,
    "initial_std": 0.2,
}


def tiny_model(*, seed: int = 0, recomputation: Recomputation = "none", **changes: Any) -> LanguageModel:
    """A model with weights large enough that everything in it matters."""
    shape = ModelSettings.model_validate(TINY | changes)
    model = build_model(shape, recomputation=recomputation)
    initialise(model, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.uniform_(0.5, 1.5, generator=generator)
    return model


def random_tokens(batch: int, time: int, *, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 50, (batch, time), generator=torch.Generator().manual_seed(seed))


def test_later_tokens_do_not_change_earlier_logits() -> None:
    model = tiny_model().eval()
    tokens = random_tokens(2, 16)
    changed = tokens.clone()
    changed[:, 9:] = (changed[:, 9:] + 7) % 50
    before, after = model(tokens), model(changed)
    assert torch.equal(before[:, :9], after[:, :9])
    assert (before[:, 9:] - after[:, 9:]).abs().amax(-1).min() > 0.01


def test_every_earlier_token_changes_the_logits() -> None:
    model = tiny_model().eval()
    tokens = random_tokens(1, 8)
    last = model(tokens)[0, -1]
    for position in range(8):
        changed = tokens.clone()
        changed[0, position] = (changed[0, position] + 1) % 50
        assert not torch.allclose(model(changed)[0, -1], last, atol=1e-4)


def test_rows_of_a_batch_do_not_touch_each_other() -> None:
    model = tiny_model().eval()
    tokens = random_tokens(3, 10)
    alone = torch.cat([model(row[None]) for row in tokens])
    torch.testing.assert_close(model(tokens), alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize("key_value_heads", [1, 2, 4])
@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.integers(1, 6), min_size=1, max_size=5))
def test_the_cache_gives_the_logits_of_the_whole(key_value_heads: int, cuts: list[int]) -> None:
    model = tiny_model(key_value_heads=key_value_heads, context=32).eval()
    tokens = random_tokens(2, sum(cuts))
    cache = model.new_cache(2)
    with torch.no_grad():
        parts = [model(part, cache=cache) for part in tokens.split(cuts, dim=1)]
        torch.testing.assert_close(torch.cat(parts, dim=1), model(tokens), rtol=0, atol=1e-4)
    assert cache.length == sum(cuts)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("changes", [{}, {"key_value_heads": 1}, {"head_width": 6}, {"layers": 1, "heads": 2}])
def test_parameters_are_counted_without_building_the_model(tied: bool, changes: dict[str, int]) -> None:
    model = tiny_model(tied_embedding=tied, **changes)
    assert parameter_count(model.settings) == model.parameter_count()
    assert model.parameter_count() == sum(parameter.numel() for parameter in set(model.parameters()))


def test_parameters_and_operations_by_hand() -> None:
    shape = ModelSettings(
        vocabulary_size=10,
        width=8,
        layers=3,
        heads=2,
        key_value_heads=1,
        feed_forward_width=12,
        context=5,
    )
    attention = 8 * 8 + 8 * 4 + 8 * 4 + 8 * 8
    block = attention + 3 * 8 * 12
    assert parameter_count(shape) == 3 * (block + 4 + 4 + 8 + 8) + 8 + 2 * 10 * 8
    assert training_flops_per_token(shape) == 6 * (3 * block + 8 * 10) + 12 * 3 * 2 * 4 * 5
    assert build_model(shape).flops_per_token() == training_flops_per_token(shape)
    tied = shape.model_copy(update={"tied_embedding": True})
    assert parameter_count(shape) - parameter_count(tied) == 80
    assert training_flops_per_token(tied) == training_flops_per_token(shape)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"width": 30}, "width 30 is no multiple of heads 4: change one or set head_width"),
        ({"key_value_heads": 3}, "heads 4 is no multiple of key_value_heads 3"),
        ({"key_value_heads": 8}, "heads 4 is no multiple of key_value_heads 8"),
        ({"width": 36}, "the size of a head, 9, has to be even for rotary positions"),
        ({"head_width": 5}, "the size of a head, 5, has to be even for rotary positions"),
        ({"layers": 0}, "'layers' = 0: Input should be greater than or equal to 1"),
        ({"context": 1}, "'context' = 1: Input should be greater than or equal to 2"),
        ({"norm_epsilon": 0}, "'norm_epsilon' = 0: Input should be greater than 0"),
        ({"rope_base": math.inf}, "'rope_base' = inf: Input should be a finite number"),
        ({"hidden_size": 8}, "unknown key 'hidden_size'"),
    ],
)
def test_impossible_shapes_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError) as error:
        ModelSettings.parse(TINY | values, origin="model")
    assert str(error.value).startswith(f"model: {message}")


def test_a_heads_size_can_be_set_freely() -> None:
    model = tiny_model(width=30, head_width=10)
    assert model.settings.head_size == 10
    assert model(random_tokens(1, 4)).shape == (1, 4, 50)


@pytest.mark.parametrize("width", [32, 64])
def test_the_first_loss_is_that_of_guessing(width: int) -> None:
    shape = ModelSettings.model_validate(
        TINY | {"width": width, "zero_output_projections": True, "initial_std": 0.02, "vocabulary_size": 1000}
    )
    model = build_model(shape)
    initialise(model, seed=0)
    tokens = torch.randint(0, 1000, (16, 17), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        loss, _ = model(tokens[:, :-1], tokens[:, 1:])
        hidden = model.hidden(tokens)
        assert float(loss) == pytest.approx(math.log(1000), abs=0.05)
        # Every block is the identity, so only the embedding's directions arrive at the head.
        torch.testing.assert_close(hidden, model.final_norm(model.embedding(tokens)))


def test_ignored_targets_do_not_count() -> None:
    model = tiny_model().eval().requires_grad_(False)
    tokens = random_tokens(2, 8)
    targets = random_tokens(2, 8, seed=1)
    logits = model(tokens).log_softmax(-1)
    losses = -logits.gather(2, targets[..., None])[..., 0]
    assert float(model(tokens, targets)[0]) == pytest.approx(float(losses.mean()), abs=1e-5)
    some = targets.clone()
    some[0, :5] = IGNORED
    some[1, 7] = IGNORED
    counted = some != IGNORED
    assert float(model(tokens, some)[0]) == pytest.approx(float(losses[counted].mean()), abs=1e-5)


def test_the_loss_is_float32_in_any_precision() -> None:
    model = tiny_model().to(torch.bfloat16)
    tokens = random_tokens(1, 8)
    assert model(tokens).dtype == torch.bfloat16
    assert model(tokens, tokens)[0].dtype == torch.float32


@pytest.mark.parametrize("recomputation", ["selective", "full"])
@pytest.mark.parametrize("tied", [False, True])
def test_activation_checkpointing_changes_no_gradient(tied: bool, recomputation: Recomputation) -> None:
    plain = tiny_model(tied_embedding=tied)
    checkpointed = tiny_model(tied_embedding=tied, recomputation=recomputation)
    tokens, targets = random_tokens(2, 12), random_tokens(2, 12, seed=1)
    losses = []
    for model in (plain, checkpointed):
        loss, _ = model.train()(tokens, targets)
        loss.backward()
        losses.append(loss.item())
    assert losses[0] == losses[1]
    for (name, one), other in zip(plain.named_parameters(), checkpointed.parameters(), strict=True):
        assert one.grad is not None, name
        assert one.grad.abs().max() > 0, name
        torch.testing.assert_close(one.grad, other.grad, rtol=0, atol=0, msg=name)


def test_a_tied_embedding_is_one_parameter() -> None:
    model = tiny_model(tied_embedding=True)
    assert model.head.weight is model.embedding.weight
    assert "head.weight" not in dict(model.named_parameters())
    assert copy.deepcopy(model).head.weight is not model.head.weight


def test_the_norm_is_that_of_torch() -> None:
    norm, peer = RootMeanSquareNorm(12, 1e-3), nn.RMSNorm(12, eps=1e-3)
    x = torch.randn(3, 4, 12, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2)
        peer.weight.copy_(norm.weight)
        torch.testing.assert_close(norm(x), peer(x))
        assert norm(x.bfloat16()).dtype == torch.bfloat16


def test_rotation_keeps_lengths_and_sees_only_distances() -> None:
    generator = torch.Generator().manual_seed(0)
    query, key = torch.randn(2, 8, generator=generator)
    angles = rotary_angles(torch.arange(40), 8, 10_000.0)
    queries, keys = (rotate(x.expand(1, 1, 40, 8), angles)[0, 0] for x in (query, key))
    torch.testing.assert_close(queries.norm(dim=-1), query.norm().expand(40))
    torch.testing.assert_close(queries[0], query)
    products = queries @ keys.T
    for distance in (0, 1, 7):
        torch.testing.assert_close(products.diagonal(-distance), products[distance, 0].expand(40 - distance))
    assert not torch.allclose(products[1, 0], products[2, 0])
    # The last pair of a head of 8 turns by base^(-6/8) a position.
    assert float(angles[1][1, 3]) == pytest.approx(math.sin(10_000 ** (-6 / 8)))


def test_documents_of_a_row_do_not_see_each_other() -> None:
    """Logits of a packed row are those of its documents alone, wherever they stand in it."""
    model = tiny_model(seed=3).eval()
    end = 0
    first, second, third = [end, 3, 4, 5], [end, 6, 7], [end, 8, 9, 3, 2]
    row = torch.tensor([[*first, *second, *third]])
    documents = documents_of(row, end)
    assert documents.positions.tolist() == [[0, 1, 2, 3, 0, 1, 2, 0, 1, 2, 3, 4]]
    with torch.no_grad():
        together = model(row, documents=documents)
        alone = torch.cat([model(torch.tensor([document])) for document in (first, second, third)], dim=1)
        assert torch.allclose(together, alone, atol=1e-5)
        assert not torch.allclose(model(row), alone, atol=1e-3)


def test_a_row_that_begins_within_a_document_is_masked_from_there() -> None:
    documents = documents_of(torch.tensor([[5, 6, 0, 7]]), 0)
    assert documents.positions.tolist() == [[0, 1, 0, 1]]
    assert documents.mask[0, 0].int().tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 1]]
