from __future__ import annotations

import pytest
import torch
from torch import Tensor

from training.initialisation import initialise
from training.models import Decoder, ModelSettings, build_model
from training.models.rotary import rotary_angles, rotate

SHAPE = {
    "vocabulary_size": 500,
    "width": 96,
    "layers": 2,
    "heads": 4,
    "feed_forward_width": 64,
    "context": 48,
    "initialisation": "torch",
    "initial_std": 1.0,
}


def attention(model: Decoder, tokens: Tensor) -> Tensor:
    """Of the first layer, [heads, queries, keys]."""
    block = model.blocks[0]
    size, heads = model.settings.head_size, model.settings.heads
    normalised = block.attention_norm(model.embedding(tokens))
    angles = rotary_angles(torch.arange(len(tokens)), size, model.settings.rope_base)
    layer = block.attention
    queries = rotate(layer.query_norm(layer.query(normalised).view(-1, heads, size)).transpose(0, 1), angles)
    keys = rotate(layer.key_norm(layer.key(normalised).view(len(tokens), -1, size)).transpose(0, 1), angles)
    scores = queries @ keys.repeat_interleave(heads // len(keys), dim=0).mT / size**0.5
    return scores.detach().masked_fill(~torch.ones(scores.shape[-2:], dtype=torch.bool).tril(), -torch.inf).softmax(-1)


@pytest.mark.parametrize(
    "changes",
    [
        {"previous_token_heads": 4},
        {"previous_token_heads": 3, "key_value_heads": 2},
        {"previous_token_heads": 2, "query_key_norm": False},
        {"previous_token_heads": 4, "initialisation": "normal", "initial_std": 0.02, "head_width": 64},
    ],
)
def test_each_head_attends_most_to_the_token_so_many_places_before(changes: dict[str, int]) -> None:
    settings = ModelSettings.model_validate(SHAPE | changes)
    model = build_model(settings)
    assert isinstance(model, Decoder)
    initialise(model, seed=1)
    tokens = torch.randint(0, 500, (48,), generator=torch.Generator().manual_seed(2))
    found = attention(model, tokens)
    for head in range(settings.previous_token_heads):
        # Over all queries: what is in a token moves the weights a little.
        by_distance = [float(found[head].diagonal(-distance)[16:].mean()) for distance in range(12)]
        assert by_distance.index(max(by_distance)) == head + 1
        assert max(by_distance) > 2 / 24


def test_without_them_nothing_is_preferred_and_the_rest_of_the_weights_is_the_same() -> None:
    plain, changed = (
        build_model(ModelSettings.model_validate(SHAPE | {"previous_token_heads": heads})) for heads in (0, 2)
    )
    for model in (plain, changed):
        initialise(model, seed=1)
    weights = dict(changed.named_parameters())
    different = {name for name, value in plain.named_parameters() if not torch.equal(value, weights[name])}
    assert different == {
        "embedding.weight",
        *(f"blocks.{layer}.attention.{kind}.weight" for layer in range(2) for kind in ("query", "key")),
    }
    query = "blocks.1.attention.query.weight"
    assert torch.equal(dict(plain.named_parameters())[query][48:], weights[query][48:])


def test_impossible_numbers_of_heads_are_named() -> None:
    with pytest.raises(ValueError, match="previous_token_heads 5 is more than heads 4"):
        ModelSettings.model_validate(SHAPE | {"previous_token_heads": 5})
    with pytest.raises(ValueError, match="previous_token_heads has no meaning for gpt2, only for decoder"):
        ModelSettings.model_validate(SHAPE | {"architecture": "gpt2", "previous_token_heads": 1})
