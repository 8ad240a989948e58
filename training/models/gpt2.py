"""GPT-2 (Radford et al. 2019): learned positions, LayerNorm before each block, GELU, biases."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from training.models.attention import Cache, Documents, KeyValueCache, Mask, attend, places
from training.models.language_model import LanguageModel
from training.models.loss import LossSettings
from training.models.recomputation import Recomputation, run_block
from training.models.settings import ModelSettings


class Attention(nn.Module):
    """Causal multi-head attention with biases (Vaswani et al. 2017, arXiv:1706.03762, section 3.2.2)."""

    def __init__(self, settings: ModelSettings, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.size = settings.head_size
        self.dropout = settings.dropout
        inner = settings.heads * settings.head_size
        self.query = nn.Linear(settings.width, inner)
        self.key = nn.Linear(settings.width, inner)
        self.value = nn.Linear(settings.width, inner)
        self.output = nn.Linear(inner, settings.width)

    def forward(self, x: Tensor, cache: KeyValueCache | None, mask: Mask) -> Tensor:
        """Attend within [batch, time, width], and to what the cache holds."""
        batch, time, _ = x.shape
        queries, keys, values = (
            projection(x).view(batch, time, -1, self.size).transpose(1, 2)
            for projection in (self.query, self.key, self.value)
        )
        if cache is not None:
            keys, values = cache.extend(self.layer, keys, values)
        attended = attend(queries, keys, values, mask, dropout=self.dropout if self.training else 0.0)
        mixed: Tensor = self.output(attended.transpose(1, 2).reshape(batch, time, -1))
        return mixed


class FeedForward(nn.Module):
    """down(gelu(up(x))), with the approximation by tanh (Hendrycks and Gimpel, arXiv:1606.08415, section 2)."""

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__()
        self.up = nn.Linear(settings.width, settings.feed_forward_width)
        self.down = nn.Linear(settings.feed_forward_width, settings.width)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, time, width] to the same."""
        lowered: Tensor = self.down(F.gelu(self.up(x), approximate="tanh"))
        return lowered


class Block(nn.Module):
    """Attention and feed-forward, each on the normalised stream and added to it."""

    def __init__(self, settings: ModelSettings, layer: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(settings.width, settings.norm_epsilon)
        self.attention = Attention(settings, layer)
        self.feed_forward_norm = nn.LayerNorm(settings.width, settings.norm_epsilon)
        self.feed_forward = FeedForward(settings)
        self.dropout = nn.Dropout(settings.dropout)

    def forward(self, x: Tensor, cache: KeyValueCache | None, mask: Mask) -> Tensor:
        """[batch, time, width] to the same."""
        x = x + self.dropout(self.attention(self.attention_norm(x), cache, mask))
        updated: Tensor = x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))
        return updated


class GPT2(LanguageModel):
    """The decoder of GPT-2; ``training.initialisation`` gives it its first weights."""

    def __init__(
        self, settings: ModelSettings, *, loss: LossSettings | None = None, recomputation: Recomputation = "none"
    ) -> None:
        super().__init__(settings, loss=loss, recomputation=recomputation)
        self.embedding = nn.Embedding(settings.vocabulary_size, settings.width)
        self.positions = nn.Embedding(settings.context, settings.width)
        self.dropout = nn.Dropout(settings.dropout)
        self.blocks = nn.ModuleList(Block(settings, layer) for layer in range(settings.layers))
        self.final_norm = nn.LayerNorm(settings.width, settings.norm_epsilon)
        self.make_head()

    def new_cache(self, batch: int) -> KeyValueCache:
        """Room for keys and values of a whole context."""
        weight = self.embedding.weight
        return KeyValueCache(self.settings, batch, device=weight.device, dtype=weight.dtype)

    def hidden(self, tokens: Tensor, *, cache: Cache | None = None, documents: Documents | None = None) -> Tensor:
        """The normalised stream after the last block: tokens int64 [batch, time] to [batch, time, width]."""
        positions, mask = places(tokens, cache, documents)
        x = self.dropout(self.embedding(tokens) + self.positions(positions))
        recomputation = self.recomputation if self.training and cache is None else "none"
        for block in self.blocks:
            x = run_block(block, x, cache, mask, recomputation=recomputation)
        if cache is not None:
            cache.length += tokens.shape[1]
        normalised: Tensor = self.final_norm(x)
        return normalised

    def sequence_flops(self) -> int:
        """Scores and their sums of values, over a full context."""
        return 4 * self.settings.layers * self.settings.width * self.settings.context
