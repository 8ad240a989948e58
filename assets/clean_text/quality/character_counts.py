"""Training of the character model: n-grams of a reference text are counted, the rare ones dropped, the rest weighed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple, Self

import numba
import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator

from assets.clean_text.characters import Array
from assets.clean_text.errors import CleanTextError
from assets.clean_text.quality.character_model import (
    BASE,
    LONGEST,
    START,
    SYMBOLS,
    CharacterModel,
    han_table,
    symbol_hash,
)
from assets.clean_text.tokens import decode, text_bytes
from training.settings import Settings


class PerplexityTrainingSettings(Settings):
    """How a character model is trained."""

    order: int = Field(5, ge=2, le=LONGEST, description="Characters of an n-gram.")
    han_order: int = Field(3, ge=2, le=LONGEST, description="Characters of an n-gram where the last but one is Han.")
    ngrams: int = Field(
        2_000_000,
        ge=1000,
        description="Most n-grams to keep; the rarest go first, all of one frequency together. A process that scores "
        "holds 64 MB for two million.",
    )
    bytes: int = Field(
        64 << 20, ge=1024, description="Bytes of text to learn from, the first of what is given; memory is a multiple."
    )

    @model_validator(mode="after")
    def _han_order_is_not_larger(self) -> Self:
        if self.han_order > self.order:
            raise ValueError(f"'han_order' = {self.han_order} is more than 'order' = {self.order}")
        return self


class _Counts(NamedTuple):
    """Open addressing over counted n-grams; of the arrays but ``slots``, the first ``used`` rows are filled.

    ``prefixes`` and ``suffixes`` are the numbers of the n-gram without its last and without its first character: both
    come before it.
    """

    slots: Array
    keys: Array
    counts: Array
    widths: Array
    prefixes: Array
    suffixes: Array
    used: Any


def train_character_model(texts: Iterable[pa.StringArray], *, settings: PerplexityTrainingSettings) -> CharacterModel:
    """Count the n-grams of a reference text; the model does not depend on the order of the texts, if all are read.

    Args:
        texts: Normalised texts like those that shall have a low score.
        settings: Orders and limits.

    Raises:
        CleanTextError: If there is no text.
    """
    counts = _empty(1 << 16)
    size = documents = 0
    for batch in texts:
        for begin in range(0, len(batch), 64):
            part = batch.slice(begin, 64)
            data, offsets = text_bytes(part)
            counts = _count(data, offsets, han_table(), counts, settings.order, settings.han_order)
            size += int(offsets[-1] - offsets[0])
            documents += len(part)
            if size >= settings.bytes:
                break
        if size >= settings.bytes:
            break
    if not size:
        raise CleanTextError("there is no text to train a perplexity model on; name files with text in them")
    used = int(counts.used)
    occurrences, widths = counts.counts[:used], counts.widths[:used]
    least = _least_count(occurrences[widths > 1], settings.ngrams - int((widths == 1).sum()))
    kept = (widths == 1) | (occurrences >= least)
    probability, backoff, unseen = _weigh(
        occurrences, widths, counts.prefixes[:used], counts.suffixes[:used], kept, float(SYMBOLS)
    )
    keys = counts.keys[:used][kept]
    order = np.argsort(keys)
    return CharacterModel(
        keys=keys[order],
        log_probability=np.log2(probability[kept][order]).astype(np.float32),
        backoff=np.log2(backoff[kept][order]).astype(np.float32),
        unseen=float(np.log2(unseen)),
        order=settings.order,
        han_order=settings.han_order,
        description={
            "kind": "characters",
            "settings": settings.model_dump(mode="json"),
            "documents": documents,
            "bytes": size,
            "ngrams": len(keys),
            "least_count": least,
        },
    )


def _least_count(occurrences: Array, most: int) -> int:
    """The smallest number such that at most ``most`` n-grams occur as often."""
    by_count = np.bincount(np.minimum(occurrences, 1 << 20), minlength=2)
    at_least = by_count[::-1].cumsum()[::-1]
    fitting = np.flatnonzero(at_least[1:] <= max(0, most))
    return int(fitting[0]) + 1 if len(fitting) else 1 << 20


def _empty(size: int) -> _Counts:
    integers = [np.zeros(size // 2, np.int64) for _ in range(2)]
    return _Counts(
        slots=np.full(size, -1, np.int32),
        keys=np.zeros(size // 2, np.uint64),
        counts=integers[0],
        widths=np.zeros(size // 2, np.int8),
        prefixes=np.zeros(size // 2, np.int32),
        suffixes=np.zeros(size // 2, np.int32),
        used=np.int64(0),
    )


@numba.njit(cache=True)
def _grown(counts: _Counts) -> _Counts:
    """The same with twice the room."""
    size = 2 * len(counts.slots)
    slots = np.full(size, -1, np.int32)
    keys, occurrences = np.zeros(size // 2, np.uint64), np.zeros(size // 2, np.int64)
    widths = np.zeros(size // 2, np.int8)
    prefixes, suffixes = np.zeros(size // 2, np.int32), np.zeros(size // 2, np.int32)
    used = counts.used
    keys[:used], occurrences[:used], widths[:used] = counts.keys[:used], counts.counts[:used], counts.widths[:used]
    prefixes[:used], suffixes[:used] = counts.prefixes[:used], counts.suffixes[:used]
    mask = np.uint64(size - 1)
    for number in range(used):
        slot = keys[number] & mask
        while slots[slot] >= 0:
            slot = (slot + np.uint64(1)) & mask
        slots[slot] = number
    return _Counts(slots, keys, occurrences, widths, prefixes, suffixes, used)


@numba.njit(cache=True)
def _number(counts: _Counts, key: np.uint64, width: int, prefix: int, suffix: int) -> tuple[_Counts, Any]:
    """The number of an n-gram, which is entered if it is new."""
    if counts.used == len(counts.keys):
        counts = _grown(counts)
    mask = np.uint64(len(counts.slots) - 1)
    slot = key & mask
    while counts.slots[slot] >= 0:
        if counts.keys[counts.slots[slot]] == key:
            return counts, np.int64(counts.slots[slot])
        slot = (slot + np.uint64(1)) & mask
    used = counts.used
    counts.slots[slot] = used
    counts.keys[used], counts.widths[used] = key, width
    counts.prefixes[used], counts.suffixes[used] = prefix, suffix
    grown = _Counts(
        counts.slots, counts.keys, counts.counts, counts.widths, counts.prefixes, counts.suffixes, np.int64(used + 1)
    )
    return grown, np.int64(used)


@numba.njit(cache=True)
def _count(data: Array, offsets: Array, han: Array, counts: _Counts, order: int, han_order: int) -> _Counts:
    """Add the n-grams of some texts; number 0 is the mark of the beginning, which is never counted."""
    before, now = np.zeros(LONGEST + 1, np.uint64), np.zeros(LONGEST + 1, np.uint64)
    numbers_before, numbers = np.zeros(LONGEST + 1, np.int64), np.zeros(LONGEST + 1, np.int64)
    counts, start = _number(counts, symbol_hash(START), 1, -1, -1)
    for text in range(len(offsets) - 1):
        position, end = offsets[text], offsets[text + 1]
        context, limit = 0, order - 1
        before[1], numbers_before[1] = symbol_hash(START), start
        while position < end:
            point, size = decode(data, position, end)
            position += size
            context = min(limit, context + 1)
            now[1] = symbol_hash(point)
            counts, numbers[1] = _number(counts, now[1], 1, -1, -1)
            counts.counts[numbers[1]] += 1
            for width in range(2, context + 2):
                now[width] = before[width - 1] * BASE + now[1]
                counts, numbers[width] = _number(
                    counts, now[width], width, numbers_before[width - 1], numbers[width - 1]
                )
                counts.counts[numbers[width]] += 1
            limit = han_order - 1 if han[point] else order - 1
            before, now = now, before
            numbers_before, numbers = numbers, numbers_before
    return counts


@numba.njit(cache=True)
def _weigh(
    occurrences: Array, widths: Array, prefixes: Array, suffixes: Array, kept: Array, symbols: float
) -> tuple[Array, Array, float]:
    """Probability and back-off (both float64) of each n-gram, and the probability of a character never seen."""
    after, different = np.zeros(len(kept)), np.zeros(len(kept))
    total, characters = 0.0, 0.0
    for number in range(1, len(kept)):
        if widths[number] == 1:
            total += occurrences[number]
            characters += 1
        elif kept[number]:
            after[prefixes[number]] += occurrences[number]
            different[prefixes[number]] += 1
    probability, backoff = np.ones(len(kept)), np.ones(len(kept))
    unseen = characters / symbols / (total + characters)
    for number in range(len(kept)):
        if not kept[number]:
            continue
        if after[number] > 0:
            backoff[number] = different[number] / (after[number] + different[number])
        if widths[number] == 1:
            if number:
                probability[number] = occurrences[number] / (total + characters) + unseen
        else:
            prefix = prefixes[number]
            shorter = different[prefix] * probability[suffixes[number]]
            probability[number] = (occurrences[number] + shorter) / (after[prefix] + different[prefix])
    return probability, backoff, unseen
