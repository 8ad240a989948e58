"""Causal attention between the tokens of a row: in training with documents kept apart, in generation with a cache."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import Any, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

from training.models.settings import ModelSettings
from training.models.shared_sequences import by_heads, current_share

Mask = Tensor | BlockMask | None
"""Who sees whom: bool [batch, 1, queries, keys], or blocks that leave out what nobody sees, or everything before."""


class Cache(Protocol):
    """What a model remembers of the tokens before, for generation.

    Attributes:
        length: Tokens seen.
        first: int64 [batch], where each row's text begins, or None if all begin at 0: short ones are padded in front.
    """

    length: int
    first: Tensor | None

    @property
    def device(self) -> torch.device:
        """Where it lies."""


class Documents(NamedTuple):
    """What keeps the documents of a row apart.

    Attributes:
        positions: int64 [batch, time], counted from the beginning of each document.
        mask: Which tokens see which.
    """

    positions: Tensor
    mask: Tensor | BlockMask


def documents_of(tokens: Tensor, end_of_document: int, *, blocks: bool | None = None) -> Documents:
    """Documents of rows int64 [batch, time] in which each end-of-document id is the beginning of the next document.

    Args:
        tokens: The rows.
        end_of_document: The id.
        blocks: Whether the mask is made of blocks; None does what is fast on the rows' device.
    """
    begins = tokens == end_of_document
    places = torch.arange(tokens.shape[1], device=tokens.device).expand_as(tokens)
    first = torch.where(begins, places, 0).cummax(-1).values
    mask = document_mask(begins.cumsum(-1), blocks=tokens.is_cuda if blocks is None else blocks)
    return Documents(places - first, mask)


def attend(queries: Tensor, keys: Tensor, values: Tensor, mask: Mask, *, dropout: float = 0.0) -> Tensor:
    """softmax(Q K^T / sqrt(d)) V (Vaswani et al. 2017, arXiv:1706.03762, section 3.2.1), grouped (arXiv:2305.13245).

    Args:
        queries: [batch, heads, time, size]; of shared sequences a stretch, as of keys and values.
        keys, values: [batch, key and value heads, keys, size].
        mask: Who sees whom; None is all before and at the query.
        dropout: Share of the weights that are zeroed; not with blocks.

    Returns:
        [batch, heads, time, size].
    """
    if _watched is not None:
        _watched.append(_entropy(queries, keys, mask))
    share = current_share()
    if share is not None:
        return by_heads(partial(_attend, mask=mask, dropout=dropout), queries, keys, values, share)
    return _attend(queries, keys, values, mask, dropout)


def _attend(queries: Tensor, keys: Tensor, values: Tensor, mask: Mask, dropout: float) -> Tensor:
    grouped = keys.shape[1] != queries.shape[1]
    if isinstance(mask, BlockMask):
        mixed: Tensor = _flex(queries.device.type)(queries, keys, values, block_mask=mask, enable_gqa=grouped)
        return mixed
    return F.scaled_dot_product_attention(
        queries, keys, values, attn_mask=mask, dropout_p=dropout, is_causal=mask is None, enable_gqa=grouped
    )


_watched: list[float] | None = None


@contextmanager
def watch_attention() -> Iterator[list[float]]:
    """Collects the mean entropy, in nats, of each call of ``attend`` within; for single short rows, not compiled."""
    global _watched
    _watched = []
    try:
        yield _watched
    finally:
        _watched = None


def _entropy(queries: Tensor, keys: Tensor, mask: Mask) -> float:
    """Mean over batch, heads and queries of the entropy of attention."""
    keys = keys.repeat_interleave(queries.shape[1] // keys.shape[1], dim=1).float()
    scores = queries.float() @ keys.mT / queries.shape[-1] ** 0.5
    visible = mask if isinstance(mask, Tensor) else torch.ones_like(scores[0, 0], dtype=torch.bool).tril()
    shares = scores.masked_fill(~visible, -torch.inf).softmax(-1)
    return float(torch.special.entr(shares).sum(-1).mean())


def document_mask(numbers: Tensor, *, blocks: bool) -> Tensor | BlockMask:
    """Causal within each document.

    Args:
        numbers: int64 [batch, time], the same for tokens of the same document.
        blocks: As FlexAttention's blocks (Dong et al., arXiv:2412.05496), whose memory does not grow with the square of
            the time, instead of a matrix.
    """
    batch, time = numbers.shape
    if not blocks:
        same = numbers.unsqueeze(-1) == numbers.unsqueeze(-2)
        return (same & same.new_ones(time, time).tril()).unsqueeze(1)

    def visible(row: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (query >= key) & (numbers[row, query] == numbers[row, key])

    return create_block_mask(visible, batch, None, time, time, device=numbers.device)


@lru_cache(maxsize=2)
def _flex(device: str) -> Any:
    """FlexAttention; as it is written it holds all scores, compiled only those of a block."""
    return torch.compile(flex_attention, dynamic=False) if device == "cuda" else flex_attention


class KeyValueCache:
    """Keys and values of the tokens seen so far, allocated once: each [layers, batch, heads, context, head size].

    Attributes:
        length: Tokens seen.
        first: int64 [batch], where each row's text begins, or None if all begin at 0: short ones are padded in front.
    """

    def __init__(self, settings: ModelSettings, batch: int, *, device: torch.device, dtype: torch.dtype) -> None:
        shape = (settings.layers, batch, settings.key_value_count, settings.context, settings.head_size)
        self.keys = torch.zeros(shape, device=device, dtype=dtype)
        self.values = torch.zeros(shape, device=device, dtype=dtype)
        self.length = 0
        self.first: Tensor | None = None

    @property
    def device(self) -> torch.device:
        """Where it lies."""
        return self.keys.device

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Store the new tokens' keys and values of a layer; returns those of all tokens so far."""
        end = self.length + keys.shape[2]
        self.keys[layer, :, :, self.length : end] = keys
        self.values[layer, :, :, self.length : end] = values
        return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]

    def positions(self, time: int) -> Tensor:
        """Of the next tokens: int64 [time], or [batch, time] where rows begin at different places."""
        places = torch.arange(self.length, self.length + time, device=self.keys.device)
        return places if self.first is None else (places - self.first.unsqueeze(-1)).clamp(min=0)

    def mask(self, time: int) -> Tensor | None:
        """Who is seen by the next tokens."""
        if self.length == 0 and self.first is None:
            return None
        end = self.length + time
        visible = torch.ones(time, end, dtype=torch.bool, device=self.keys.device).tril(self.length)
        if self.first is None:
            return visible
        places = torch.arange(end, device=self.keys.device)
        # A padding sees itself, since what sees nothing has no softmax.
        begun = (places >= self.first.unsqueeze(-1)).unsqueeze(1) | (
            places == torch.arange(self.length, end, device=self.keys.device).unsqueeze(-1)
        )
        return (visible & begun).unsqueeze(1)


def places(tokens: Tensor, cache: Cache | None, documents: Documents | None) -> tuple[Tensor, Mask]:
    """Positions of tokens int64 [batch, time], in that shape or [time], and who of them sees whom.

    Of shared sequences the tokens are a stretch, and who sees whom is of all tokens.
    """
    if documents is not None:
        return documents.positions, documents.mask
    if cache is not None:
        assert isinstance(cache, KeyValueCache)
        return cache.positions(tokens.shape[1]), cache.mask(tokens.shape[1])
    share = current_share()
    first = 0 if share is None else share.number * tokens.shape[1]
    return torch.arange(first, first + tokens.shape[1], device=tokens.device), None
