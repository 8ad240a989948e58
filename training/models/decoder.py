"""The modern decoder, in the shape of transformers' Qwen3 or Llama.

Rotary positions, root-mean-square normalisation before each block (and of queries and keys: Qwen3), gated feed-forward
(SwiGLU) or a mixture of them, grouped-query attention, no biases, tied or untied embedding.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.models.attention import Cache, Documents, KeyValueCache, Mask, attend, places
from training.models.experts import Experts
from training.models.language_model import LanguageModel
from training.models.loss import LossSettings
from training.models.norms import RootMeanSquareNorm
from training.models.recomputation import Recomputation, run_block
from training.models.rotary import rotary_angles, rotate
from training.models.settings import ModelSettings

Angles = tuple[Tensor, Tensor]


class Attention(nn.Module):
    """Causal self-attention with grouped queries, and normalised queries and keys (arXiv:2302.05442, section 2.1)."""

    def __init__(self, settings: ModelSettings, layer: int) -> None:
        super().__init__()
        width, size = settings.width, settings.head_size
        self.layer = layer
        self.size = size
        self.dropout = settings.dropout
        self.query = nn.Linear(width, settings.heads * size, bias=False)
        self.key = nn.Linear(width, settings.key_value_count * size, bias=False)
        self.value = nn.Linear(width, settings.key_value_count * size, bias=False)
        self.output = nn.Linear(settings.heads * size, width, bias=False)
        if settings.query_key_norm:
            self.query_norm: nn.Module = RootMeanSquareNorm(size, settings.norm_epsilon)
            self.key_norm: nn.Module = RootMeanSquareNorm(size, settings.norm_epsilon)
        else:
            self.query_norm = self.key_norm = nn.Identity()

    def forward(self, x: Tensor, angles: Angles, cache: KeyValueCache | None, mask: Mask) -> Tensor:
        """Attend within [batch, time, width], and to what the cache holds."""
        batch, time, _ = x.shape
        queries = rotate(self.query_norm(self.query(x).view(batch, time, -1, self.size)).transpose(1, 2), angles)
        keys = rotate(self.key_norm(self.key(x).view(batch, time, -1, self.size)).transpose(1, 2), angles)
        values = self.value(x).view(batch, time, -1, self.size).transpose(1, 2)
        if cache is not None:
            keys, values = cache.extend(self.layer, keys, values)
        attended = attend(queries, keys, values, mask, dropout=self.dropout if self.training else 0.0)
        mixed: Tensor = self.output(attended.transpose(1, 2).reshape(batch, time, -1))
        return mixed


class FeedForward(nn.Module):
    """SwiGLU: down(silu(gate(x)) * up(x)) (Shazeer 2020, arXiv:2002.05202)."""

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__()
        self.gate = nn.Linear(settings.width, settings.feed_forward_width, bias=False)
        self.up = nn.Linear(settings.width, settings.feed_forward_width, bias=False)
        self.down = nn.Linear(settings.feed_forward_width, settings.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, time, width] to the same."""
        lowered: Tensor = self.down(F.silu(self.gate(x)) * self.up(x))
        return lowered


class Block(nn.Module):
    """Attention and feed-forward, each on the normalised stream and added to it."""

    def __init__(self, settings: ModelSettings, layer: int) -> None:
        super().__init__()
        self.attention_norm = RootMeanSquareNorm(settings.width, settings.norm_epsilon)
        self.attention = Attention(settings, layer)
        self.feed_forward_norm = RootMeanSquareNorm(settings.width, settings.norm_epsilon)
        self.feed_forward: nn.Module = FeedForward(settings)
        if settings.experts:
            self.feed_forward = Experts(settings, lambda: FeedForward(settings))
        self.dropout = nn.Dropout(settings.dropout)

    def forward(
        self, x: Tensor, angles: Angles, cache: KeyValueCache | None, mask: Mask
    ) -> tuple[Tensor, Tensor | None]:
        """[batch, time, width] to the same, and the balance of its experts where it has some.

        The balance is no attribute: computed again in a backward pass, it would keep all that was computed alive.
        """
        x = x + self.dropout(self.attention(self.attention_norm(x), angles, cache, mask))
        lowered, balance = self.feed_forward(self.feed_forward_norm(x)), None
        if isinstance(lowered, tuple):
            lowered, balance = lowered
        return x + self.dropout(lowered), balance


class Decoder(LanguageModel):
    """The decoder; ``training.initialisation`` gives it its first weights."""

    def __init__(
        self, settings: ModelSettings, *, loss: LossSettings | None = None, recomputation: Recomputation = "none"
    ) -> None:
        super().__init__(settings, loss=loss, recomputation=recomputation)
        self.embedding = nn.Embedding(settings.vocabulary_size, settings.width)
        self.blocks = nn.ModuleList(Block(settings, layer) for layer in range(settings.layers))
        self.final_norm = RootMeanSquareNorm(settings.width, settings.norm_epsilon)
        self.make_head()

    def new_cache(self, batch: int) -> KeyValueCache:
        """Room for keys and values of a whole context."""
        weight = self.embedding.weight
        return KeyValueCache(self.settings, batch, device=weight.device, dtype=weight.dtype)

    def hidden(self, tokens: Tensor, *, cache: Cache | None = None, documents: Documents | None = None) -> Tensor:
        """The normalised stream after the last block: tokens int64 [batch, time] to [batch, time, width]."""
        positions, mask = places(tokens, cache, documents)
        if positions.dim() == 2:
            positions = positions.unsqueeze(1)
        angles = rotary_angles(positions, self.settings.head_size, self.settings.rope_base)
        x = self.embedding(tokens)
        balances = []
        recomputation = self.recomputation if self.training and cache is None else "none"
        for block in self.blocks:
            x, balance = run_block(block, x, angles, cache, mask, recomputation=recomputation)
            if balance is not None:
                balances.append(balance)
        if balances:
            self.balance_loss = self.settings.expert_balance * torch.stack(balances).sum()
        if cache is not None:
            cache.length += tokens.shape[1]
        normalised: Tensor = self.final_norm(x)
        return normalised

    def active_matrices(self) -> int:
        """Weights that a token is multiplied with: of the experts only those that work on it."""
        settings = self.settings
        idle = max(0, settings.experts - settings.experts_per_token)
        return super().active_matrices() - settings.layers * idle * 3 * settings.width * settings.feed_forward_width

    def sequence_flops(self) -> int:
        """Scores and their sums of values, over a full context."""
        return 4 * self.settings.layers * self.settings.heads * self.settings.head_size * self.settings.context
