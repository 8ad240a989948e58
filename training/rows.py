"""From a sample to its row: which tokens of the split are its targets.

A row is ``context + 1`` tokens; inputs are all but its last, targets all but its first, so that every target follows
its input. Two ways of packing:

cut: the training tokens of a source are one endless ring, after the last document the first one follows. The ring is
cut every ``context`` targets, whatever stands there. An epoch is ``tokens // context`` windows; the next one goes on
where it ended, therefore cuts elsewhere, and no token is left out for good. Before the first target stands the token
before it in the ring.

best_fit: rows of whole documents (``training.packing``). Each piece follows an end-of-document id, and rows are filled
up with end-of-document ids: one that follows another one is padding, since no document is empty.

So a document's first token is always predicted from an end-of-document id, and the inputs of one document are those
from one end-of-document id to before the next.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from training.mixture import MixtureSettings
from training.packing import PackingPlan
from training.settings import Settings
from training.shards import Split

Integers = npt.NDArray[np.int64]

PADDING = -1
"""The position of padding."""


class SampleSettings(Settings):
    """What a training sample is made of, and in which order samples come."""

    mixture: MixtureSettings = Field(default_factory=MixtureSettings, description="How sources are mixed.")
    packing: Literal["cut", "best_fit"] = Field(
        "cut",
        description="cut: documents one after the other, cut where a sequence is full; best_fit: whole documents, cut "
        "only where longer than a sequence, with a little padding.",
    )
    document_mask: bool = Field(
        False, description="Attention and positions begin anew with each document of a sequence."
    )
    fill_in_the_middle: float = Field(
        0.0, ge=0, le=1, description="Share of documents that are rearranged so that a middle part comes last."
    )
    suffix_first: float = Field(
        0.5, ge=0, le=1, description="fill_in_the_middle: share of them with the suffix before the prefix."
    )
    shuffle_chunk_tokens: int = Field(
        0,
        ge=0,
        description="0 shuffles each pass over a source as a whole; else chunks of so many tokens come in random "
        "order, sixteen mixed at a time: for shards on object storage.",
    )


def window_count(tokens: int, context: int) -> int:
    """Windows of one epoch over a ring of that many tokens; 0 if it is not longer than one window."""
    return tokens // context if tokens > context else 0


def window_start(epoch: int, window: int, *, tokens: int, context: int) -> int:
    """Position of the window's first target; the window may run over the end of the ring to its beginning."""
    return (epoch * window_count(tokens, context) + window) * context % tokens


class CutRows:
    """Rows of one source by cutting its ring."""

    def __init__(self, split: Split, context: int) -> None:
        self.windows = window_count(split.token_count, context)
        self._tokens = split.token_count
        self._context = context

    def start(self, epoch: int, window: int) -> int:
        """Position of the window's first target."""
        return window_start(epoch, window, tokens=self._tokens, context=self._context)

    def positions(self, epoch: int, window: int) -> Integers:
        """Positions of the window's targets in the split; int64 [context]."""
        return (self.start(epoch, window) + np.arange(self._context, dtype=np.int64)) % self._tokens

    def windows_with(self, start: int, length: int, epochs: int) -> list[tuple[int, int]]:
        """Epoch and window of all windows of the first epochs that hold a token of a stretch of the split."""
        found = set()
        targets = self.windows * self._context
        for turn in range(-(-epochs * targets // self._tokens)):
            begin = turn * self._tokens + start
            for window in range(begin // self._context, (begin + length - 1) // self._context + 1):
                epoch, within = divmod(window, self.windows)
                if epoch < epochs:
                    found.add((epoch, within))
        return sorted(found)


class PackedRows:
    """Rows of one source by a packing plan; the same in every epoch."""

    def __init__(self, plan: PackingPlan) -> None:
        self.windows = plan.size.rows
        self._plan = plan

    def positions(self, epoch: int, window: int) -> Integers:
        """Positions of the row's targets in the split, ``PADDING`` at its end; int64 [context]."""
        positions = np.full(self._plan.context, PADDING, dtype=np.int64)
        filled = 0
        for start, length in self._plan.row(window):
            positions[filled : filled + length] = np.arange(start, start + length)
            filled += length
        return positions

    def windows_with(self, start: int, length: int, epochs: int) -> list[tuple[int, int]]:
        """Epoch and window of all rows of the first epochs that hold a token of a stretch of the split."""
        rows = self._plan.rows_with(start, length)
        return [(epoch, row) for epoch in range(epochs) for row in rows]
