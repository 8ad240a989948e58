"""Sequences shared by several ranks: each has a stretch of the tokens, and in attention all tokens for some heads.

Ulysses (Jacobs et al. 2023, arXiv:2309.14509, section 3.2). DeepSpeed's own class for it exchanges by an autograd
function of Python, which compiled gives zeros for gradients; torch's exchange is an operator with a derivative.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch.distributed as dist
from torch import Tensor
from torch.distributed._functional_collectives import all_to_all_single_autograd


class Share(NamedTuple):
    """A rank's part of sequences.

    Attributes:
        group: The ranks that share them.
        number: Of this rank within the group.
        ranks: Of the group.
    """

    group: dist.ProcessGroup
    number: int
    ranks: int

    def part(self, rows: Tensor) -> Tensor:
        """This rank's stretch [batch, time / ranks] of rows [batch, time]."""
        return rows.chunk(self.ranks, dim=1)[self.number].contiguous()


def make_share(ranks: int) -> Share | None:
    """The share of this rank, where so many ranks one after the other share a sequence; None for one.

    All ranks of the training have to call it.
    """
    if ranks == 1:
        return None
    group, _ = dist.new_subgroups(ranks)  # type: ignore[no-untyped-call]
    return Share(group, dist.get_rank(group), ranks)


_current: Share | None = None


@contextmanager
def shared_sequences(share: Share | None) -> Iterator[None]:
    """Within it, models are given a stretch of each sequence's tokens; forward and backward passes both."""
    global _current
    _current = share
    try:
        yield
    finally:
        _current = None


def current_share() -> Share | None:
    """What is shared at the moment."""
    return _current


def by_heads(
    attention: Callable[[Tensor, Tensor, Tensor], Tensor], queries: Tensor, keys: Tensor, values: Tensor, share: Share
) -> Tensor:
    """Attention over whole sequences, of which each rank has a stretch.

    Args:
        attention: Over [batch, heads, time, size], causal or masked; it is given every token, and a part of the heads.
        queries: [batch, heads, time / ranks, size].
        keys, values: [batch, key and value heads, time / ranks, size]; the ranks divide these heads.
        share: Of this rank.

    Returns:
        [batch, heads, time / ranks, size].
    """
    queries, keys, values = (_all_tokens(x, share) for x in (queries, keys, values))
    return _all_heads(attention(queries, keys, values), share)


def _all_tokens(x: Tensor, share: Share) -> Tensor:
    """[batch, heads, time / ranks, size] to [batch, heads / ranks, time, size]."""
    batch, heads, time, size = x.shape
    parts = x.view(batch, share.ranks, heads // share.ranks, time, size).transpose(0, 1)
    received = _exchange(parts, share).permute(1, 2, 0, 3, 4)
    return received.reshape(batch, heads // share.ranks, share.ranks * time, size)


def _all_heads(x: Tensor, share: Share) -> Tensor:
    """[batch, heads / ranks, time, size] to [batch, heads, time / ranks, size]."""
    batch, heads, time, size = x.shape
    parts = x.view(batch, heads, share.ranks, time // share.ranks, size).permute(2, 0, 1, 3, 4)
    received = _exchange(parts, share).transpose(0, 1)
    return received.reshape(batch, share.ranks * heads, time // share.ranks, size)


def _exchange(parts: Tensor, share: Share) -> Tensor:
    """Part n of the first dimension goes to rank n; what comes from rank n is part n."""
    received: Tensor = all_to_all_single_autograd(parts.contiguous(), None, None, share.group)
    return received
