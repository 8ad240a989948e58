from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from tests.training.models.test_decoder import random_tokens
from tests.training.models.test_families import SHAPE
from training.initialisation import initialise
from training.models import LanguageModel, ModelSettings, build_model
from training.settings import SettingsError

KINDS = pytest.mark.parametrize("kind", ["lstm", "gru", "rnn"])


def recurrent(kind: str, **changes: Any) -> LanguageModel:
    model = build_model(ModelSettings.model_validate(SHAPE | {"architecture": kind} | changes))
    initialise(model, seed=1)
    return model.eval()


@KINDS
def test_a_stack_is_torchs_own(kind: str) -> None:
    model = recurrent(kind)
    peer = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}[kind](32, 32, num_layers=3, batch_first=True)
    for number, layer in enumerate(model.layers):
        for name, values in layer.network.named_parameters():
            getattr(peer, name.replace("_l0", f"_l{number}")).data.copy_(values)
    tokens = random_tokens(2, 16)
    with torch.no_grad():
        expected, _ = peer(model.embedding(tokens))
        torch.testing.assert_close(model.hidden(tokens), expected, rtol=0, atol=1e-6)


@KINDS
def test_gradients_end_where_the_row_is_cut(kind: str) -> None:
    """Truncated to four, the gradient is that of four rows whose first states are given, not computed."""
    model, cut = recurrent(kind), recurrent(kind, truncation=4)
    tokens = random_tokens(2, 17)
    torch.testing.assert_close(model(tokens), cut(tokens))
    cut.train()(tokens[:, :-1], tokens[:, 1:])[0].backward()
    model.train()
    cache = model.new_cache(2)
    total = torch.zeros(())
    for start in range(0, 16, 4):
        cache.states = [tuple(part.detach() for part in state) for state in cache.states]
        objective, _ = model(tokens[:, start : start + 4], tokens[:, start + 1 : start + 5], cache=cache)
        total = total + objective / 4
    total.backward()
    for (name, one), (_, other) in zip(cut.named_parameters(), model.named_parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-6, msg=name)


def test_what_the_past_does_to_the_present_vanishes_in_a_plain_network_and_not_in_an_lstm() -> None:
    """Bengio et al. 1994: the gradient of the last output to the first input."""
    shares = {}
    for kind in ("rnn", "lstm"):
        model = recurrent(kind, layers=1, initial_std=0.1, context=64)
        inputs = model.embedding(random_tokens(1, 64)).detach().requires_grad_()
        output, _ = model.layers[0](inputs, model._zeros(1))
        output[0, -1].sum().backward()
        assert inputs.grad is not None
        norms = inputs.grad[0].norm(dim=-1)
        shares[kind] = float(norms[32] / norms[-1])
    assert shares["rnn"] < 1e-6
    assert shares["lstm"] > 1e-5
    assert shares["lstm"] > 1000 * shares["rnn"]


def test_an_lstm_begins_by_remembering() -> None:
    model = recurrent("lstm")
    for layer in model.layers:
        biases = layer.network.bias_ih_l0 + layer.network.bias_hh_l0
        assert biases.tolist() == [0.0] * 32 + [1.0] * 32 + [0.0] * 64


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"architecture": "lstm", "experts": 4}, "experts has no meaning for lstm, only for decoder"),
        ({"architecture": "gpt2", "truncation": 4}, "truncation has no meaning for gpt2, only for lstm, gru, rnn"),
        (
            {"architecture": "decoder", "norm_first": True},
            "norm_first has no meaning for decoder, only for transformer",
        ),
    ],
)
def test_a_setting_that_would_do_nothing_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        ModelSettings.parse(SHAPE | values, origin="model")
