"""What holds for every architecture, each against transformers' own where there is one."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

from tests.training.models.test_decoder import random_tokens
from tests.training.test_export import export
from training.export import load_model
from training.generation import generate
from training.initialisation import initialise
from training.models import (
    LanguageModel,
    ModelSettings,
    build_model,
    documents_of,
    parameter_count,
    training_flops_per_token,
)
from training.models.settings import RECURRENT
from training.models.transformer import sinusoids
from training.sampling import SamplingSettings

SHAPE: dict[str, Any] = {
    "vocabulary_size": 50,
    "width": 32,
    "layers": 3,
    "heads": 4,
    "feed_forward_width": 128,
    "context": 16,
    "zero_output_projections": False,
    "initial_std": 0.2,
}
FAMILIES: dict[str, dict[str, Any]] = {
    "qwen3": {"architecture": "decoder"},
    "llama": {"architecture": "decoder", "query_key_norm": False},
    "experts": {"architecture": "decoder", "experts": 4, "experts_per_token": 2, "feed_forward_width": 48},
    "gpt2": {"architecture": "gpt2"},
    "transformer": {"architecture": "transformer"},
    "transformer with norms first": {"architecture": "transformer", "norm_first": True},
    "lstm": {"architecture": "lstm"},
    "gru with residuals and norms": {"architecture": "gru", "residual": True, "layer_norm": True},
    "rnn": {"architecture": "rnn"},
}
EXPORTED = [family for family in FAMILIES if FAMILIES[family]["architecture"] not in RECURRENT]
ALL = pytest.mark.parametrize("family", FAMILIES)
TIED = pytest.mark.parametrize("tied", [False, True])


def family_model(family: str, *, seed: int = 0, **changes: Any) -> LanguageModel:
    """A model with weights large enough that everything in it matters, in evaluation mode."""
    shape = ModelSettings.model_validate(SHAPE | FAMILIES[family] | changes)
    model = build_model(shape)
    initialise(model, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(torch.rand(parameter.shape, generator=generator) * 0.5)
    return model.eval()


@pytest.mark.parametrize("family", EXPORTED)
@TIED
def test_transformers_gives_the_same_logits_both_ways(family: str, tied: bool, tmp_path: Path) -> None:
    model = family_model(family, tied_embedding=tied)
    folder = export(model, tmp_path)
    peer, loading = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not any(loading.values())
    tokens = random_tokens(3, 16)
    with torch.no_grad():
        ours, theirs, again = model(tokens), peer(tokens).logits, load_model(folder)(tokens)
    assert ours.abs().mean() > 0.1
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)
    torch.testing.assert_close(ours, again, rtol=0, atol=1e-5)


@ALL
@TIED
def test_the_exported_folder_gives_the_model_back(family: str, tied: bool, tmp_path: Path) -> None:
    model = family_model(family, tied_embedding=tied)
    again = load_model(export(model, tmp_path))
    tokens = random_tokens(3, 16)
    with torch.no_grad():
        torch.testing.assert_close(again(tokens), model(tokens), rtol=0, atol=1e-5)
    assert (again.head.weight is again.embedding.weight) == tied


def test_a_gpt2_of_others_is_read(tmp_path: Path) -> None:
    peer = GPT2LMHeadModel(GPT2Config(vocab_size=50, n_embd=32, n_layer=2, n_head=4, n_positions=16)).eval()
    peer.save_pretrained(tmp_path)
    model = load_model(tmp_path)
    tokens = random_tokens(2, 16)
    with torch.no_grad():
        torch.testing.assert_close(model(tokens), peer(tokens).logits, rtol=0, atol=1e-4)
    assert model.settings.tied_embedding


@ALL
@settings(max_examples=10, deadline=None)
@given(cuts=st.lists(st.integers(1, 6), min_size=1, max_size=3))
def test_the_cache_gives_the_logits_of_the_whole(family: str, cuts: list[int]) -> None:
    model = family_model(family, context=32)
    tokens = random_tokens(2, sum(cuts))
    cache = model.new_cache(2)
    with torch.no_grad():
        parts = [model(part, cache=cache) for part in tokens.split(cuts, dim=1)]
        torch.testing.assert_close(torch.cat(parts, dim=1), model(tokens), rtol=0, atol=1e-4)


@ALL
def test_rows_padded_in_front_give_the_logits_of_rows_alone(family: str) -> None:
    model = family_model(family)
    texts = [random_tokens(1, length, seed=length) for length in (3, 7, 5)]
    rows = torch.full((3, 7), 9)
    for row, text in zip(rows, texts, strict=True):
        row[7 - text.shape[1] :] = text[0]
    cache = model.new_cache(3)
    cache.first = torch.tensor([4, 0, 2])
    with torch.no_grad():
        found = model(rows, cache=cache)
        more = model(random_tokens(3, 2, seed=9), cache=cache)
        for number, text in enumerate(texts):
            whole = torch.cat((text, random_tokens(3, 2, seed=9)[number : number + 1]), dim=1)
            alone = model(whole)[0]
            torch.testing.assert_close(found[number, 7 - text.shape[1] :], alone[:-2], rtol=0, atol=1e-4)
            torch.testing.assert_close(more[number], alone[-2:], rtol=0, atol=1e-4)


@ALL
def test_documents_of_a_row_do_not_see_each_other(family: str) -> None:
    model = family_model(family)
    end = 0
    texts = [[end, 3, 4, 5], [end, 6, 7], [end, 8, 9, 3, 2]]
    row = torch.tensor([[token for text in texts for token in text]])
    with torch.no_grad():
        together = model(row, documents=documents_of(row, end))
        alone = torch.cat([model(torch.tensor([text])) for text in texts], dim=1)
        torch.testing.assert_close(together, alone, rtol=0, atol=1e-4)
        assert not torch.allclose(model(row), alone, atol=1e-2)


@ALL
@TIED
def test_parameters_and_operations_are_counted_without_building_the_model(family: str, tied: bool) -> None:
    model = family_model(family, tied_embedding=tied)
    assert parameter_count(model.settings) == model.parameter_count()
    assert training_flops_per_token(model.settings) == model.flops_per_token()


@ALL
def test_the_first_loss_is_that_of_guessing(family: str) -> None:
    model = build_model(
        ModelSettings.model_validate(
            SHAPE | FAMILIES[family] | {"initial_std": 0.02, "vocabulary_size": 1000, "depth_scaling": True}
        )
    )
    initialise(model, seed=0)
    tokens = torch.randint(0, 1000, (16, 17), generator=torch.Generator().manual_seed(1))
    assert float(model(tokens[:, :-1], tokens[:, 1:])[1]) == pytest.approx(math.log(1000), abs=0.1)


@ALL
def test_every_parameter_learns(family: str) -> None:
    model = family_model(family).train()
    tokens = random_tokens(4, 17)
    objective, _ = model(tokens[:, :-1], tokens[:, 1:])
    objective.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        # A key's bias adds the same to every score of a query.
        assert name.endswith("key.bias") or parameter.grad.abs().max() > 1e-6, name


@ALL
def test_dropout_is_only_for_training(family: str) -> None:
    model = family_model(family, dropout=0.5)
    tokens = random_tokens(1, 8)
    assert torch.equal(model(tokens), model(tokens))
    model.train()
    assert not torch.equal(model(tokens), model(tokens))


@ALL
def test_a_text_can_be_longer_than_the_context(family: str) -> None:
    model = family_model(family)
    sampling = SamplingSettings(tokens=40, least_tokens=40, temperature=0)
    tokens = list(generate(model, [4, 5], sampling, end_of_document=49))
    assert len(tokens) == 40
    assert tokens == list(generate(model, [4, 5], sampling, end_of_document=49))


def test_sinusoids_are_those_of_the_paper() -> None:
    table = sinusoids(torch.arange(50), 8)
    for position in (0, 1, 7, 49):
        for pair in range(4):
            angle = position / 10_000 ** (2 * pair / 8)
            assert float(table[position, 2 * pair]) == pytest.approx(math.sin(angle), abs=1e-5)
            assert float(table[position, 2 * pair + 1]) == pytest.approx(math.cos(angle), abs=1e-5)


@pytest.mark.parametrize("norm_first", [False, True])
def test_a_block_is_torchs_own_encoder_layer(norm_first: bool) -> None:
    model = family_model("transformer with norms first" if norm_first else "transformer", layers=1)
    layer = torch.nn.TransformerEncoderLayer(
        32, 4, 128, 0.0, batch_first=True, norm_first=norm_first, layer_norm_eps=1e-6
    )
    ours = model.blocks[0]
    with torch.no_grad():
        parts = (ours.attention.query, ours.attention.key, ours.attention.value)
        layer.self_attn.in_proj_weight.copy_(torch.cat([part.weight for part in parts]))
        layer.self_attn.in_proj_bias.copy_(torch.cat([part.bias for part in parts]))
        for mine, theirs in (
            (ours.attention.output, layer.self_attn.out_proj),
            (ours.feed_forward.up, layer.linear1),
            (ours.feed_forward.down, layer.linear2),
            (ours.attention_norm, layer.norm1),
            (ours.feed_forward_norm, layer.norm2),
        ):
            theirs.load_state_dict(mine.state_dict())
        x = torch.randn(2, 10, 32)
        causal = torch.nn.Transformer.generate_square_subsequent_mask(10)
        torch.testing.assert_close(ours(x, None, None), layer(x, src_mask=causal, is_causal=True), rtol=0, atol=1e-5)
