"""The language model: the modern decoder in the shape of transformers' Qwen3, on one page.

Rotary positions, root-mean-square normalisation before each block and of queries and keys, gated feed-forward (SwiGLU),
grouped-query attention, no biases, tied or untied embedding.
"""

from __future__ import annotations

from typing import NamedTuple, Self

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from training.settings import Settings

IGNORED = -100


class ModelSettings(Settings):
    """Shape of the model."""

    vocabulary_size: int = Field(0, ge=0, description="Entries of the vocabulary; 0 takes it from the token shards.")
    width: int = Field(256, ge=8, description="Size of the residual stream.")
    layers: int = Field(6, ge=1, description="Number of blocks.")
    heads: int = Field(4, ge=1, description="Query heads.")
    key_value_heads: int = Field(
        4, ge=1, description="Key and value heads; fewer than heads is grouped-query attention."
    )
    head_width: int | None = Field(None, ge=2, description="Size of a head; null is width / heads.")
    feed_forward_width: int = Field(704, ge=1, description="Inner size of the feed-forward block.")
    context: int = Field(256, ge=2, description="Longest sequence in tokens.")
    rope_base: float = Field(10_000.0, gt=0, description="Base of the rotary frequencies.")
    norm_epsilon: float = Field(1e-6, gt=0, description="Added to the mean square before its root.")
    tied_embedding: bool = Field(False, description="Use the embedding's weights as the output layer's too.")
    initial_std: float = Field(0.02, gt=0, description="Standard deviation of the initial weights.")
    zero_output_projections: bool = Field(True, description="Start every block as the identity.")

    @model_validator(mode="after")
    def _shape_is_possible(self) -> Self:
        if self.head_width is None and self.width % self.heads:
            raise ValueError(f"width {self.width} is no multiple of heads {self.heads}: change one or set head_width")
        if self.heads % self.key_value_heads:
            raise ValueError(f"heads {self.heads} is no multiple of key_value_heads {self.key_value_heads}")
        if self.head_size % 2:
            raise ValueError(f"the size of a head, {self.head_size}, has to be even for rotary positions")
        return self

    @property
    def head_size(self) -> int:
        """Size of a head."""
        return self.head_width or self.width // self.heads


class RootMeanSquareNorm(nn.Module):
    """x / sqrt(mean(x^2) + epsilon) * weight, in float32 (Zhang and Sennrich 2019, arXiv:1910.07467)."""

    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        """Normalise over the last dimension; any shape, same dtype out."""
        values = x.float()
        scale = torch.rsqrt(values.square().mean(-1, keepdim=True) + self.epsilon)
        return ((values * scale).to(x.dtype) * self.weight).to(x.dtype)


def rotary_angles(positions: Tensor, head_size: int, base: float) -> tuple[Tensor, Tensor]:
    """Cosines and sines of position * base^(-2i/head_size) (Su et al., arXiv:2104.09864).

    The two halves of a head are rotated against each other, as in Llama and Qwen.

    Args:
        positions: [time], or [batch, 1, time] where they differ from row to row.
        head_size: Size of a head.
        base: Of the frequencies.

    Returns:
        Two float32 tensors of the shape of the positions and [head_size].
    """
    exponents = torch.arange(0, head_size, 2, device=positions.device, dtype=torch.float32) / head_size
    angles = positions.float().unsqueeze(-1) * base**-exponents
    angles = torch.cat((angles, angles), dim=-1)
    return angles.cos(), angles.sin()


class DocumentMask(NamedTuple):
    """What keeps the documents of a row apart.

    Attributes:
        positions: int64 [batch, time], counted from the beginning of each document.
        attended: bool [batch, 1, time, time], whether a query (third) sees a key (fourth).
    """

    positions: Tensor
    attended: Tensor


def document_mask(tokens: Tensor, end_of_document: int) -> DocumentMask:
    """The mask of rows int64 [batch, time] in which each end-of-document id is the beginning of the next document."""
    time = tokens.shape[1]
    begins = tokens == end_of_document
    documents = begins.cumsum(-1)
    places = torch.arange(time, device=tokens.device).expand_as(tokens)
    first = torch.where(begins, places, 0).cummax(-1).values
    same = documents.unsqueeze(-1) == documents.unsqueeze(-2)
    attended = same & torch.ones(time, time, dtype=torch.bool, device=tokens.device).tril()
    return DocumentMask(places - first, attended.unsqueeze(1))


def rotate(x: Tensor, angles: tuple[Tensor, Tensor]) -> Tensor:
    """Turn queries or keys [batch, heads, time, head_size] by their positions' angles; same dtype out."""
    cosines, sines = angles
    first, second = x.float().chunk(2, dim=-1)
    return (x.float() * cosines + torch.cat((-second, first), dim=-1) * sines).to(x.dtype)


class KeyValueCache:
    """Keys and values of the tokens seen so far, allocated once: each [layers, batch, heads, context, head_size]."""

    def __init__(self, settings: ModelSettings, batch: int, *, device: torch.device, dtype: torch.dtype) -> None:
        shape = (settings.layers, batch, settings.key_value_heads, settings.context, settings.head_size)
        self.keys = torch.zeros(shape, device=device, dtype=dtype)
        self.values = torch.zeros(shape, device=device, dtype=dtype)
        self.length = 0

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Store the new tokens' keys and values of a layer; returns those of all tokens so far."""
        end = self.length + keys.shape[2]
        self.keys[layer, :, :, self.length : end] = keys
        self.values[layer, :, :, self.length : end] = values
        return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]


class Attention(nn.Module):
    """Causal self-attention with grouped queries (arXiv:2305.13245) and normalised queries and keys."""

    def __init__(self, settings: ModelSettings, layer: int) -> None:
        super().__init__()
        width, size = settings.width, settings.head_size
        self.layer = layer
        self.size = size
        self.grouped = settings.key_value_heads != settings.heads
        self.query = nn.Linear(width, settings.heads * size, bias=False)
        self.key = nn.Linear(width, settings.key_value_heads * size, bias=False)
        self.value = nn.Linear(width, settings.key_value_heads * size, bias=False)
        self.output = nn.Linear(settings.heads * size, width, bias=False)
        self.query_norm = RootMeanSquareNorm(size, settings.norm_epsilon)
        self.key_norm = RootMeanSquareNorm(size, settings.norm_epsilon)

    def forward(
        self, x: Tensor, angles: tuple[Tensor, Tensor], cache: KeyValueCache | None, attended: Tensor | None
    ) -> Tensor:
        """Attend within [batch, time, width], and to what the cache holds; ``attended`` as in ``DocumentMask``."""
        batch, time, _ = x.shape
        queries = rotate(self.query_norm(self.query(x).view(batch, time, -1, self.size)).transpose(1, 2), angles)
        keys = rotate(self.key_norm(self.key(x).view(batch, time, -1, self.size)).transpose(1, 2), angles)
        values = self.value(x).view(batch, time, -1, self.size).transpose(1, 2)
        mask = attended
        if cache is not None:
            before = cache.length
            keys, values = cache.extend(self.layer, keys, values)
            if before:
                mask = torch.ones(time, before + time, dtype=torch.bool, device=x.device).tril(before)
        attended = F.scaled_dot_product_attention(
            queries, keys, values, attn_mask=mask, is_causal=mask is None, enable_gqa=self.grouped
        )
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
        self.feed_forward = FeedForward(settings)

    def forward(
        self,
        x: Tensor,
        angles: tuple[Tensor, Tensor],
        cache: KeyValueCache | None = None,
        attended: Tensor | None = None,
    ) -> Tensor:
        """[batch, time, width] to the same."""
        x = x + self.attention(self.attention_norm(x), angles, cache, attended)
        updated: Tensor = x + self.feed_forward(self.feed_forward_norm(x))
        return updated


class LanguageModel(nn.Module):
    """The decoder; ``training.initialisation`` gives it its first weights."""

    def __init__(self, settings: ModelSettings, *, activation_checkpointing: bool = False) -> None:
        super().__init__()
        self.settings = settings
        self.activation_checkpointing = activation_checkpointing
        self.embedding = nn.Embedding(settings.vocabulary_size, settings.width)
        self.blocks = nn.ModuleList(Block(settings, layer) for layer in range(settings.layers))
        self.final_norm = RootMeanSquareNorm(settings.width, settings.norm_epsilon)
        self.head = nn.Linear(settings.width, settings.vocabulary_size, bias=False)
        if settings.tied_embedding:
            self.head.weight = self.embedding.weight

    def hidden(
        self, tokens: Tensor, cache: KeyValueCache | None = None, documents: DocumentMask | None = None
    ) -> Tensor:
        """The normalised stream after the last block: tokens int64 [batch, time] to [batch, time, width]."""
        start = cache.length if cache is not None else 0
        positions = torch.arange(start, start + tokens.shape[1], device=tokens.device)
        attended = None
        if documents is not None:
            positions, attended = documents.positions.unsqueeze(1), documents.attended
        angles = rotary_angles(positions, self.settings.head_size, self.settings.rope_base)
        x = self.embedding(tokens)
        for block in self.blocks:
            if self.activation_checkpointing and self.training:
                x = checkpoint(block, x, angles, None, attended, use_reentrant=False)
            else:
                x = block(x, angles, cache, attended)
        if cache is not None:
            cache.length += tokens.shape[1]
        normalised: Tensor = self.final_norm(x)
        return normalised

    def forward(
        self,
        tokens: Tensor,
        targets: Tensor | None = None,
        *,
        cache: KeyValueCache | None = None,
        documents: DocumentMask | None = None,
    ) -> Tensor:
        """Logits [batch, time, vocabulary], or with targets the mean loss as a float32 scalar in nats.

        Args:
            tokens: int64 [batch, time].
            targets: int64 [batch, time]; positions with -100 do not count.
            cache: Earlier tokens; extended by these.
            documents: Keeps the documents of a row apart; not together with a cache.
        """
        logits: Tensor = self.head(self.hidden(tokens, cache, documents))
        if targets is None:
            return logits
        return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORED)

    def parameter_count(self) -> int:
        """Number of different parameters; a tied embedding counts once."""
        return sum(parameter.numel() for parameter in self.parameters())

    def flops_per_token(self) -> int:
        """Floating-point operations of a training step for one token (Chowdhery et al., arXiv:2204.02311, appendix B).

        6 for each parameter of a matrix that the token is multiplied with, and 12 * layers * heads * head size * time
        for attention over a full context.
        """
        return training_flops_per_token(self.settings)


def training_flops_per_token(settings: ModelSettings) -> int:
    """See ``LanguageModel.flops_per_token``; computed without building the model."""
    size = settings.head_size
    attention = settings.width * size * (2 * settings.heads + 2 * settings.key_value_heads)
    feed_forward = 3 * settings.width * settings.feed_forward_width
    matrices = settings.layers * (attention + feed_forward) + settings.width * settings.vocabulary_size
    return 6 * matrices + 12 * settings.layers * settings.heads * size * settings.context


def parameter_count(settings: ModelSettings) -> int:
    """Number of parameters of a model of these settings, without building it."""
    size = settings.head_size
    attention = settings.width * size * (2 * settings.heads + 2 * settings.key_value_heads) + 2 * size
    block = attention + 3 * settings.width * settings.feed_forward_width + 2 * settings.width
    embeddings = settings.vocabulary_size * settings.width * (1 if settings.tied_embedding else 2)
    return settings.layers * block + settings.width + embeddings
