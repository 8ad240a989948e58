"""Texts as sets of shingles, each a 64-bit hash of so many consecutive words, scanned from Arrow's UTF-8 bytes.

A word is a run of letters, marks and digits, folded as ``folding`` says; a character of a script without spaces is a
word of its own. A shingle begins at each word and ends where it is full: a word fills 1/5 of it, a character 1/8 (by
the default settings), so that text of both kinds needs no language. A text that does not fill one is one shingle; a
text without a word has none.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
import pyarrow as pa

from assets.clean_text.kernels.buffers import Array, utf8
from assets.clean_text.near_duplicates.folding import CHARACTER, DIGIT, IGNORED, POINT, SEPARATOR, folding
from assets.clean_text.near_duplicates.settings import ShingleSettings

_CHARACTER, _DIGIT, _IGNORED, _SEPARATOR, _POINT = map(np.uint32, (CHARACTER, DIGIT, IGNORED, SEPARATOR, POINT))
_ZERO = np.uint64(ord("0"))
_PRIME = np.uint64(0x9E3779B97F4A7C15)
_BASE = np.uint64(0xD1342543DE82EF95)
_FIRST, _SECOND = np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53)
_SHIFT = np.uint64(32)
_EMPTY, _ONE = np.uint64(0), np.uint64(1)

_NO_NUMBER, _IN_NUMBER, _AFTER_SEPARATOR = range(3)


class Shingles(NamedTuple):
    """The different shingles of n texts, each in the order in which they first occur.

    Attributes:
        hashes: uint64, never 0.
        starts: int64 (n + 1,): text i has ``hashes[starts[i]:starts[i + 1]]``.
    """

    hashes: Array
    starts: Array


def shingles(texts: pa.StringArray | pa.LargeStringArray, settings: ShingleSettings) -> Shingles:
    """The set of shingles of each text.

    Args:
        texts: Any texts; no nulls. About 8 bytes of memory are used for each word.
        settings: The length of a shingle.
    """
    data, offsets = utf8(texts)
    starts = np.zeros(len(offsets), np.int64)
    # A word and what stands before the next take two bytes, a character of a script without spaces more.
    room = (offsets[-1] - offsets[0] + len(texts) + 1) // 2 + 1
    longest = (int(np.diff(offsets).max(initial=0)) + 1) // 2 + 1
    hashes = np.empty(room, np.uint64)
    words, weights = np.empty(longest, np.uint64), np.empty(longest, np.int64)
    seen = np.empty(table_size(longest), np.uint64)
    _shingle_sets(
        data,
        offsets,
        folding(),
        np.int64(settings.shingle_characters),
        np.int64(settings.shingle_words),
        _powers(max(settings.shingle_words, settings.shingle_characters)),
        words,
        weights,
        seen,
        hashes,
        starts,
    )
    return Shingles(hashes[: starts[-1]], starts)


def table_size(entries: int) -> int:
    """Slots of an open-addressing table that is at most half full."""
    return 1 << (2 * max(entries, 1) - 1).bit_length()


def _powers(count: int) -> Array:
    return np.array([pow(int(_BASE), exponent, 1 << 64) for exponent in range(count)], np.uint64)


@numba.njit(cache=True, nogil=True)
def mix(value):  # type: ignore[no-untyped-def]
    """Spread each bit of a uint64 over all of it: the finalizer of MurmurHash3."""
    value ^= value >> _SHIFT
    value *= _FIRST
    value ^= value >> _SHIFT
    value *= _SECOND
    return value ^ (value >> _SHIFT)


@numba.njit(cache=True, nogil=True)
def _shingle_sets(  # type: ignore[no-untyped-def]
    data, offsets, table, word_weight, character_weight, powers, words, weights, seen, hashes, starts
):
    full = word_weight * character_weight
    written = 0
    for text in range(len(offsets) - 1):
        count = _scan(data, offsets[text], offsets[text + 1], table, word_weight, character_weight, words, weights)
        written = _windows(words, weights, count, full, powers, seen, hashes, written)
        starts[text + 1] = written


@numba.njit(cache=True, nogil=True)
def _scan(data, begin, end, table, word_weight, character_weight, words, weights):  # type: ignore[no-untyped-def]
    """Hash each word of one text; returns their number."""
    count = 0
    at = begin
    value = np.uint64(0)
    inside = False
    number = _NO_NUMBER
    while at < end:
        byte = np.uint32(data[at])
        if byte < 0x80:
            point = byte
            at += 1
        elif byte < 0xE0 and at + 1 < end:
            point = np.uint32((byte & 0x1F) << 6 | np.uint32(data[at + 1]) & 0x3F)
            at += 2
        elif byte < 0xF0 and at + 2 < end:
            point = np.uint32(
                (byte & 0x0F) << 12 | (np.uint32(data[at + 1]) & 0x3F) << 6 | np.uint32(data[at + 2]) & 0x3F
            )
            at += 3
        elif at + 3 < end:
            point = np.uint32(
                (byte & 0x07) << 18
                | (np.uint32(data[at + 1]) & 0x3F) << 12
                | (np.uint32(data[at + 2]) & 0x3F) << 6
                | np.uint32(data[at + 3]) & 0x3F
            )
            point = min(point, np.uint32(0x10FFFF))
            at += 4
        else:  # no UTF-8
            point = np.uint32(0)
            at = end
        entry = table[point]
        letter = entry & _POINT
        if letter and not entry & _CHARACTER:
            if number != _NO_NUMBER:
                if number == _AFTER_SEPARATOR:
                    words[count] = mix(value)
                    weights[count] = word_weight
                    count += 1
                    value = np.uint64(0)
                number = _NO_NUMBER
            value = (value ^ np.uint64(letter)) * _PRIME
            inside = True
            while at < end and data[at] < 0x80:  # the rest of a word is mostly ASCII
                entry = table[data[at]]
                if entry == 0 or entry > _POINT:
                    break
                value = (value ^ np.uint64(entry)) * _PRIME
                at += 1
        elif entry & _DIGIT:
            if number == _NO_NUMBER:
                value = (value ^ _ZERO) * _PRIME
            number = _IN_NUMBER
            inside = True
        elif entry & _IGNORED:
            continue
        elif entry & _SEPARATOR and number == _IN_NUMBER:
            number = _AFTER_SEPARATOR
        else:
            if inside:
                words[count] = mix(value)
                weights[count] = word_weight
                count += 1
                value = np.uint64(0)
                inside = False
                number = _NO_NUMBER
            if letter:
                words[count] = mix(np.uint64(entry))
                weights[count] = character_weight
                count += 1
    if inside:
        words[count] = mix(value)
        weights[count] = word_weight
        count += 1
    return count


@numba.njit(cache=True, nogil=True)
def _windows(words, weights, count, full, powers, seen, hashes, written):  # type: ignore[no-untyped-def]
    """Append the different shingles of one text; returns how many have been written then."""
    if not count:
        return written
    slots = 2
    while slots < 2 * count:
        slots *= 2
    seen[:slots] = _EMPTY
    mask = np.uint64(slots - 1)
    end = weight = 0
    value = _EMPTY
    for begin in range(count):
        while weight < full and end < count:
            value = value * _BASE + words[end]
            weight += weights[end]
            end += 1
        if weight < full and begin:
            break
        shingle = max(mix(value), _ONE)
        slot = shingle & mask
        while seen[slot] != _EMPTY and seen[slot] != shingle:
            slot = (slot + _ONE) & mask
        if seen[slot] == _EMPTY:
            seen[slot] = shingle
            hashes[written] = shingle
            written += 1
        value -= words[begin] * powers[end - begin - 1]
        weight -= weights[begin]
    return written
