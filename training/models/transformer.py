"""The decoder of the original Transformer (Vaswani et al. 2017, arXiv:1706.03762), without an encoder to look at.

Sinusoidal positions, embeddings times the root of the width, ReLU, biases, and LayerNorm after each addition; with
``norm_first`` before each block and at the end instead (Xiong et al. 2020, arXiv:2002.04745), which trains deep ones.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.models.attention import Cache, Documents, KeyValueCache, Mask, places
from training.models.gpt2 import Attention
from training.models.language_model import LanguageModel
from training.models.loss import LossSettings
from training.models.recomputation import Recomputation, run_block
from training.models.settings import ModelSettings


def sinusoids(positions: Tensor, width: int) -> Tensor:
    """sin and cos of position / 10000^(2i/width), alternating: [...] to float32 [..., width] (section 3.5)."""
    rates = 10_000.0 ** (-torch.arange(0, width, 2, device=positions.device, dtype=torch.float32) / width)
    angles = positions.float().unsqueeze(-1) * rates
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(-2)[..., :width]


class FeedForward(nn.Module):
    """down(relu(up(x))) (section 3.3)."""

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__()
        self.up = nn.Linear(settings.width, settings.feed_forward_width)
        self.down = nn.Linear(settings.feed_forward_width, settings.width)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, time, width] to the same."""
        lowered: Tensor = self.down(F.relu(self.up(x)))
        return lowered


class Block(nn.Module):
    """Attention and feed-forward, each added to the stream, with a norm after or before."""

    def __init__(self, settings: ModelSettings, layer: int) -> None:
        super().__init__()
        self.norm_first = settings.norm_first
        self.attention = Attention(settings, layer)
        self.attention_norm = nn.LayerNorm(settings.width, settings.norm_epsilon)
        self.feed_forward = FeedForward(settings)
        self.feed_forward_norm = nn.LayerNorm(settings.width, settings.norm_epsilon)
        self.dropout = nn.Dropout(settings.dropout)

    def forward(self, x: Tensor, cache: KeyValueCache | None, mask: Mask) -> Tensor:
        """[batch, time, width] to the same."""
        if self.norm_first:
            x = x + self.dropout(self.attention(self.attention_norm(x), cache, mask))
            updated: Tensor = x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))
            return updated
        x = self.attention_norm(x + self.dropout(self.attention(x, cache, mask)))
        normalised: Tensor = self.feed_forward_norm(x + self.dropout(self.feed_forward(x)))
        return normalised


class Transformer(LanguageModel):
    """The decoder of 2017; ``training.initialisation`` gives it its first weights."""

    def __init__(
        self, settings: ModelSettings, *, loss: LossSettings | None = None, recomputation: Recomputation = "none"
    ) -> None:
        super().__init__(settings, loss=loss, recomputation=recomputation)
        self.embedding = nn.Embedding(settings.vocabulary_size, settings.width)
        self.dropout = nn.Dropout(settings.dropout)
        self.blocks = nn.ModuleList(Block(settings, layer) for layer in range(settings.layers))
        self.final_norm: nn.Module = nn.Identity()
        if settings.norm_first:
            self.final_norm = nn.LayerNorm(settings.width, settings.norm_epsilon)
        self.make_head()

    def new_cache(self, batch: int) -> KeyValueCache:
        """Room for keys and values of a whole context."""
        weight = self.embedding.weight
        return KeyValueCache(self.settings, batch, device=weight.device, dtype=weight.dtype)

    def hidden(self, tokens: Tensor, *, cache: Cache | None = None, documents: Documents | None = None) -> Tensor:
        """The stream after the last block: tokens int64 [batch, time] to [batch, time, width]."""
        positions, mask = places(tokens, cache, documents)
        x = self.embedding(tokens) * math.sqrt(self.settings.width)
        x = self.dropout(x + sinusoids(positions, self.settings.width).to(x.dtype))
        recomputation = self.recomputation if self.training and cache is None else "none"
        for block in self.blocks:
            x = run_block(block, x, cache, mask, recomputation=recomputation)
        if cache is not None:
            cache.length += tokens.shape[1]
        last: Tensor = self.final_norm(x)
        return last

    def sequence_flops(self) -> int:
        """Scores and their sums of values, over a full context."""
        return 4 * self.settings.layers * self.settings.width * self.settings.context
