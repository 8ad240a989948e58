"""Repetition of n-grams of pieces, as Gopher measures it (Rae et al. 2021, table A1), all nine sizes in one pass.

A piece n-gram is compared by a 64-bit hash rolled from its pieces' hashes. An n-gram can only be a repeat where its
first n - 1 pieces are one, so that each size looks at the few places the size before left over.
"""

from __future__ import annotations

import numpy as np

from assets.clean_text.kernels.buffers import Array
from assets.clean_text.kernels.compiled import compiled
from assets.clean_text.kernels.pieces import Pieces

TOP_SIZES = (2, 3, 4)
REPEATED_SIZES = (5, 6, 7, 8, 9, 10)
_BASE = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xBF58476D1CE4E5B9)
_LARGE = 1 << 18
_COUNT = np.uint64(0xFFFFFFFF)
_LAST_TOP, _LAST = TOP_SIZES[-1], REPEATED_SIZES[-1]


def repeated_characters(pieces: Pieces) -> Array:
    """int64 (n, 9): characters in the most frequent 2-, 3- and 4-gram, then in repeated 5- to 10-grams.

    Of the most frequent n-gram, the first of several, its characters with a space between pieces times its occurrences;
    0 if the text has fewer pieces. Of repeated n-grams, the characters without spaces, each place counted once: after a
    repeat the search goes on behind it (datatrove, ``gopher_repetition_filter.py``).
    """
    texts = len(pieces.starts) - 1
    longest = int(np.diff(pieces.starts).max(initial=1))
    result = np.zeros((texts, len(TOP_SIZES) + len(REPEATED_SIZES)), np.int64)
    table = np.zeros(2 * _slots(longest), np.uint64)
    rolled, ends = np.empty(longest, np.uint64), np.zeros(longest + 1, np.int64)
    slots, places, grams = (np.empty(longest, np.int32) for _ in range(3))
    _repeated(pieces.starts, pieces.hashes, pieces.lengths, table, rolled, ends, slots, places, grams, result)
    return result


@compiled
def _slots(entries):  # type: ignore[no-untyped-def]
    """Slots of a table for so many entries: a quarter is full, or half where that would be large."""
    wanted = max(2 * entries, min(4 * entries, _LARGE))
    size = 16
    while size < wanted:
        size *= 2
    return size


@compiled
def _repeated(starts, hashes, lengths, table, rolled, ends, slots, places, grams, result):  # type: ignore[no-untyped-def]
    """Fill the result; a slot of the table has an n-gram's hash, and in 32 bits each a stamp and its count."""
    stamp = np.uint64(0)
    one = np.uint64(1)
    for text in range(len(starts) - 1):
        base = starts[text]
        count = starts[text + 1] - base
        if count < 2:
            continue
        for at in range(count):
            ends[at + 1] = ends[at] + lengths[base + at]
            rolled[at] = hashes[base + at]
            places[at] = at
        candidates = count
        for width in range(2, _LAST + 1):
            if count < width:
                break
            # Places whose n-gram may stand elsewhere too; for 2-grams all of them.
            stamp += one
            mask = _slots(candidates) - 1
            kept = 0
            for index in range(candidates):
                at = places[index]
                if at + width > count:
                    continue
                key = rolled[at] * _BASE + hashes[base + at + width - 1]
                rolled[at] = key
                slot = 2 * (np.int64(((key ^ (key >> np.uint64(32))) * _MIX) >> np.uint64(20)) & mask)
                # & and not "and", a choice and not a branch: new and known n-grams come in no order to predict.
                while (table[slot + 1] >> np.uint64(32) == stamp) & (table[slot] != key):
                    slot = (slot + 2) & (2 * mask)
                known = table[slot + 1] >> np.uint64(32) == stamp
                table[slot] = key
                table[slot + 1] = (table[slot + 1] if known else stamp << np.uint64(32)) + one
                places[kept] = at
                slots[kept] = slot + 1
                kept += 1
            candidates = 0
            best, first = np.int64(1), np.int32(0)
            for index in range(kept):
                times = np.int64(table[slots[index]] & _COUNT)
                if times > best:
                    best, first = times, places[index]
                places[candidates] = places[index]
                grams[candidates] = slots[index]
                candidates += times > 1
            if width <= _LAST_TOP:
                result[text, width - 2] = (ends[first + width] - ends[first] + width - 1) * best
                continue
            # Greedily from the left: an n-gram seen before counts, and the search goes on behind it.
            for index in range(candidates):
                table[grams[index]] &= ~_COUNT
            free = 0
            for index in range(candidates):
                at = places[index]
                if at < free:
                    continue
                if table[grams[index]] & _COUNT:
                    result[text, width - 2] += ends[at + width] - ends[at]
                    free = at + width
                else:
                    table[grams[index]] |= one
            if not candidates:
                break
    return 0
