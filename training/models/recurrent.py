"""Recurrent language models: LSTM (Hochreiter and Schmidhuber 1997), GRU (arXiv:1406.1078), and the plain network of
Elman (1990) with tanh, each layer torch's own.

A row's state begins at zero and begins again at each document. Gradients flow back over a whole row, or ``truncation``
tokens (Williams and Peng 1990): then the state flows on without them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from training.models.attention import Cache, Documents
from training.models.language_model import LanguageModel
from training.models.loss import LossSettings
from training.models.recomputation import Recomputation
from training.models.settings import ModelSettings

State = tuple[Tensor, ...]
"""Of a layer: hidden state, and for an LSTM its cell, each [1, batch, width]."""

_KINDS: dict[str, Any] = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}


class RecurrentCache:
    """The states after the tokens so far; see ``Cache``."""

    def __init__(self, states: list[State]) -> None:
        self.states = states
        self.length = 0
        self.first: Tensor | None = None

    @property
    def device(self) -> torch.device:
        """Where it lies."""
        return self.states[0][0].device


class Layer(nn.Module):
    """One recurrent layer, with the norm before it and the addition after it that the settings ask for."""

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__()
        self.norm: nn.Module = nn.Identity()
        if settings.layer_norm:
            self.norm = nn.LayerNorm(settings.width, settings.norm_epsilon)
        self.network = _KINDS[settings.architecture](settings.width, settings.width, batch_first=True)
        self.dropout = nn.Dropout(settings.dropout)
        self.residual = settings.residual

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """[batch, time, width] and the state before, to the same shape and the state after."""
        given = state if isinstance(self.network, nn.LSTM) else state[0]
        output, after = self.network(self.norm(x), given)
        output = self.dropout(output)
        return (x + output if self.residual else output), (after if isinstance(after, tuple) else (after,))


class Recurrent(LanguageModel):
    """A stack of recurrent layers; ``training.initialisation`` gives it its first weights."""

    limited_by_context = False

    def __init__(
        self, settings: ModelSettings, *, loss: LossSettings | None = None, recomputation: Recomputation = "none"
    ) -> None:
        super().__init__(settings, loss=loss, recomputation=recomputation)
        self.embedding = nn.Embedding(settings.vocabulary_size, settings.width)
        self.layers = nn.ModuleList(Layer(settings) for _ in range(settings.layers))
        self.final_norm: nn.Module = nn.Identity()
        if settings.layer_norm:
            self.final_norm = nn.LayerNorm(settings.width, settings.norm_epsilon)
        self.make_head()

    def initial_bias(self, name: str, shape: torch.Size) -> Tensor:
        """Zeros, and 1 for an LSTM's forget gate (Jozefowicz et al. 2015, section 2.2), which torch keeps second."""
        bias = torch.zeros(shape)
        if self.settings.architecture == "lstm" and "bias_ih" in name:
            bias[self.settings.width : 2 * self.settings.width] = 1.0
        return bias

    def new_cache(self, batch: int) -> RecurrentCache:
        """States of zeros."""
        return RecurrentCache([self._zeros(batch) for _ in self.layers])

    def hidden(self, tokens: Tensor, *, cache: Cache | None = None, documents: Documents | None = None) -> Tensor:
        """What the last layer gives: tokens int64 [batch, time] to [batch, time, width]."""
        batch, time = tokens.shape
        assert cache is None or isinstance(cache, RecurrentCache)
        states = cache.states if cache is not None else [self._zeros(batch) for _ in self.layers]
        begins = None
        if documents is not None:
            begins = documents.positions == 0
        elif cache is not None and cache.first is not None:
            begins = torch.arange(cache.length, cache.length + time, device=tokens.device) == cache.first.unsqueeze(-1)
        x = self.embedding(tokens)
        parts = []
        for start, end in _stretches(begins, time, self.settings.truncation):
            if start and self.settings.truncation and start % self.settings.truncation == 0:
                states = [tuple(part.detach() for part in state) for state in states]
            if begins is not None:
                kept = (~begins[:, start]).to(x.dtype).view(1, batch, 1)
                states = [tuple(part * kept for part in state) for state in states]
            part, states = self._run(x[:, start:end], states)
            parts.append(part)
        if cache is not None:
            cache.states = states
            cache.length += time
        last: Tensor = self.final_norm(torch.cat(parts, dim=1))
        return last

    def sequence_flops(self) -> int:
        """Nothing besides the products with weights."""
        return 0

    def _run(self, x: Tensor, states: Sequence[State]) -> tuple[Tensor, list[State]]:
        after = []
        for layer, state in zip(self.layers, states, strict=True):
            x, new = layer(x, state)
            after.append(new)
        return x, after

    def _zeros(self, batch: int) -> State:
        weight = self.embedding.weight
        count = 2 if self.settings.architecture == "lstm" else 1
        return tuple(
            torch.zeros(1, batch, self.settings.width, device=weight.device, dtype=weight.dtype) for _ in range(count)
        )


def _stretches(begins: Tensor | None, time: int, truncation: int | None) -> list[tuple[int, int]]:
    """Where a row is cut: before the tokens at which a state of any row begins anew, or gradients end."""
    cuts = {0, time}
    if truncation:
        cuts |= set(range(0, time, truncation))
    if begins is not None:
        cuts |= set(begins.any(0).nonzero().flatten().tolist())
    edges = sorted(cuts)
    return list(pairwise(edges))
