"""Repetition of n-grams of pieces, as Gopher measures it (Rae et al. 2021, table A1), all nine sizes in one pass.

A piece n-gram is compared by a 64-bit hash rolled from its pieces' hashes. An n-gram can only be a repeat where its
first n - 1 pieces are one, so that each size looks at the few places the size before left over.
"""

from __future__ import annotations

import numba
import numpy as np

from assets.clean_text.kernels.buffers import Array
from assets.clean_text.kernels.pieces import Pieces

TOP_SIZES = (2, 3, 4)
REPEATED_SIZES = (5, 6, 7, 8, 9, 10)
_BASE = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xBF58476D1CE4E5B9)
_LAST = REPEATED_SIZES[-1]


def repeated_characters(pieces: Pieces) -> Array:
    """int64 (n, 9): characters in the most frequent 2-, 3- and 4-gram, then in repeated 5- to 10-grams.

    Of the most frequent n-gram, the first of several, its characters with a space between pieces times its occurrences;
    0 if the text has fewer pieces. Of repeated n-grams, the characters without spaces, each place counted once: after a
    repeat the search goes on behind it (datatrove, ``gopher_repetition_filter.py``).
    """
    counts: Array = _repeated(pieces.starts, pieces.hashes, pieces.lengths)
    return counts


@numba.njit(cache=True, nogil=True)
def _find(keys, stamps, stamp, key, mask):  # type: ignore[no-untyped-def]
    """The slot of a key, or the free slot where it belongs."""
    slot = np.int64(((key ^ (key >> np.uint64(32))) * _MIX) >> np.uint64(20)) & mask
    while stamps[slot] == stamp and keys[slot] != key:
        slot = (slot + 1) & mask
    return slot


@numba.njit(cache=True, nogil=True)
def _repeated(starts, hashes, lengths):  # type: ignore[no-untyped-def]
    texts = len(starts) - 1
    result = np.zeros((texts, 9), np.int64)
    longest = 1
    for text in range(texts):
        longest = max(longest, starts[text + 1] - starts[text])
    size = 16
    while size < 2 * longest:
        size *= 2
    keys = np.empty(size, np.uint64)
    stamps = np.zeros(size, np.int64)
    counts = np.empty(size, np.int32)
    firsts = np.empty(size, np.int32)
    stamp = 0
    rolled = np.empty(longest, np.uint64)
    ends = np.empty(longest + 1, np.int64)
    slots = np.empty(longest, np.int32)
    places = np.empty(longest, np.int32)
    grams = np.empty(longest, np.int32)
    for text in range(texts):
        base = starts[text]
        count = starts[text + 1] - base
        if count < 2:
            continue
        mask = 16
        while mask < 2 * count:
            mask *= 2
        mask -= 1
        ends[0] = 0
        for at in range(count):
            ends[at + 1] = ends[at] + lengths[base + at]
            rolled[at] = hashes[base + at]
            places[at] = at
        candidates = count
        for width in range(2, _LAST + 1):
            if count < width:
                break
            # Places whose n-gram may stand elsewhere too; for 2-grams all of them.
            stamp += 1
            kept = 0
            for index in range(candidates):
                at = places[index]
                if at + width > count:
                    continue
                key = rolled[at] * _BASE + hashes[base + at + width - 1]
                rolled[at] = key
                slot = _find(keys, stamps, stamp, key, mask)
                if stamps[slot] != stamp:
                    stamps[slot] = stamp
                    keys[slot] = key
                    counts[slot] = 0
                    firsts[slot] = at
                counts[slot] += 1
                places[kept] = at
                slots[kept] = slot
                kept += 1
            candidates = 0
            best, first = 1, 0
            for index in range(kept):
                slot = slots[index]
                if counts[slot] > 1:
                    if counts[slot] > best or (counts[slot] == best and best > 1 and firsts[slot] < first):
                        best, first = counts[slot], firsts[slot]
                    places[candidates] = places[index]
                    grams[candidates] = slot
                    candidates += 1
            if width <= 4:
                result[text, width - 2] = (ends[first + width] - ends[first] + width - 1) * best
                continue
            # Greedily from the left: an n-gram seen before counts, and the search goes on behind it.
            for index in range(candidates):
                counts[grams[index]] = 0
            free = 0
            for index in range(candidates):
                at = places[index]
                if at < free:
                    continue
                if counts[grams[index]]:
                    result[text, width - 2] += ends[at + width] - ends[at]
                    free = at + width
                else:
                    counts[grams[index]] = 1
            if not candidates:
                break
    return result
