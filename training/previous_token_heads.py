"""Heads that start by attending to the token one, two, three... places before.

Trained language models have such heads (Olsson et al. 2022, arXiv:2209.11895, section on their mechanism), and until a
model has found them it learns little from context. As in mimetic initialisation (Trockman and Kolter 2023,
arXiv:2305.09828), first weights have the form that training gives them, whatever the text. A rotary head needs
something that every token has: the first dimension of the embedding, which starts as a constant. Keys take it as it is,
queries turned back by the distance k, in the pairs of dimensions that turn fast. So the score of a token at distance d
is proportional to the sum over these pairs of cos(frequency * (d - k)), which is highest at d = k.
"""

from __future__ import annotations

import torch
from torch import Tensor

from training.models import ModelSettings

_CONSTANT = 2.0
"""Of the embedding's first dimension, in its standard deviations."""
_LOWEST_FREQUENCY = 1 / 32
"""In radians a token: slower pairs hardly tell neighbours apart."""
_REST = 0.3
"""What is left of the rows' other values, by which these heads see anything but places."""


def look_back(name: str, values: Tensor, settings: ModelSettings) -> None:
    """Change first weights, drawn as all others, in place.

    Args:
        name: Of the parameter.
        values: [out, in].
        settings: Of the model; ``previous_token_heads`` of each layer look back, the first by one token.
    """
    if name.startswith("embedding."):
        values[:, 0] = _CONSTANT * settings.initial_std
    elif name.endswith("attention.query.weight"):
        _set_heads(values, [_turned_back(settings, head + 1) for head in range(settings.previous_token_heads)])
    elif name.endswith("attention.key.weight"):
        groups = -(-settings.previous_token_heads * settings.key_value_count // settings.heads)
        _set_heads(values, [_turned_back(settings, 0)] * groups)


def _turned_back(settings: ModelSettings, distance: int) -> Tensor:
    """[head size]: one in each fast pair, turned back by so many tokens; see ``models.rotary`` for the pairs."""
    pairs = settings.head_size // 2
    frequencies = settings.rope_base ** (-torch.arange(pairs) / pairs)
    fast = (frequencies >= _LOWEST_FREQUENCY).float()
    angles = frequencies * distance
    return torch.cat((fast * torch.cos(angles), -fast * torch.sin(angles)))


def _set_heads(values: Tensor, columns: list[Tensor]) -> None:
    """The first column of the rows of the first heads."""
    for head, column in enumerate(columns):
        rows = values[head * len(column) : (head + 1) * len(column)]
        rows *= _REST
        rows[:, 0] = column
