"""A table of the pieces that were seen, and of their ids.

Its rows are four int64: the first eight bytes of the piece; the next eight, of a piece of more than sixteen a hash of
all; its length, the number of its ids, and where they are kept; last, of a piece of more than sixteen bytes where its
bytes are kept, of any other with at most three ids these themselves. So most pieces are found, compared and written
with one look at memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from assets.clean_text.kernels.compiled import compiled, inlined
from assets.vocabulary.kernels.merge_table import ID_BITS, NO_ID

FREE = 0
"""The third number of a row in which nothing is."""
_WITHIN, AT_HAND = 16, 3
"""Longest piece, and most ids, that are in a row itself."""
_LENGTH, _COUNT = 48, 32
"""Where these begin in the third number of a row."""
_COUNTS, _PLACES = (1 << (_LENGTH - _COUNT)) - 1, (1 << _COUNT) - 1
# By the length of a piece, which of its first and of its next eight bytes are of it.
_FIRST_EIGHT = np.array([(1 << 8 * length) - 1 for length in range(8)] + [-1] * 9, dtype=np.int64)
_NEXT_EIGHT = np.array([0] * 9 + [(1 << 8 * length) - 1 for length in range(1, 8)] + [-1], dtype=np.int64)
# Odd numbers of no meaning, as signed ones: everything here is int64, whose products wrap around.
_FACTORS = (-7046029254386353131, -49064778989728563, -4417276706812531889)


@inlined
def key(data: Any, words: Any, place: int, length: int) -> Any:
    """The first two numbers of a row.

    Args:
        data: uint8, the bytes.
        words: int64, at each place but the last seven the eight bytes from there, little-endian.
        place, length: The piece.
    """
    if place + 8 < len(words) and length <= _WITHIN:
        return words[place] & _FIRST_EIGHT[length], words[place + 8] & _NEXT_EIGHT[length]
    if length > _WITHIN:
        return _word(data, words, place, 8), _hash(data, words, place, length)
    return _word(data, words, place, min(length, 8)), _word(data, words, place + 8, max(length - 8, 0))


@inlined
def find(data: Any, place: int, length: int, first: int, second: int, table: Any, kept_bytes: Any) -> Any:
    """The row of a piece, and whether it is there or only belongs there.

    Args:
        data, place, length: The piece.
        first, second: See ``key``.
        table: int64 [rows, a power of two, 4].
        kept_bytes: uint8: bytes of long pieces.
    """
    row = _row(first, second, len(table))
    while table[row, 2] != FREE:
        if table[row, 0] == first and table[row, 1] == second and table[row, 2] >> _LENGTH == length:
            step = length if length <= _WITHIN else 0
            while step < length and kept_bytes[table[row, 3] + step] == data[place + step]:
                step += 1
            if step == length:
                return row, True
        row = (row + 1) & (len(table) - 1)
    return row, False


@inlined
def write(length: int, table: Any, row: int, kept_ids: Any, out: Any, written: int) -> Any:
    """Write the ids of a row, of a piece of so many bytes, to ``out`` from ``written`` on; how many there are then."""
    entry = table[row, 2]
    count = entry >> _COUNT & _COUNTS
    if length <= _WITHIN and count <= AT_HAND:
        ids = table[row, 3]
        out[written] = ids & NO_ID
        out[written + 1] = ids >> ID_BITS & NO_ID
        out[written + 2] = ids >> 2 * ID_BITS
    else:
        begin = entry & _PLACES
        for step in range(count):
            out[written + step] = kept_ids[begin + step]
    return written + count


@compiled
def keep(
    data: Any,
    place: int,
    length: int,
    first: int,
    second: int,
    row: int,
    symbols: Any,
    count: int,
    table: Any,
    kept_bytes: Any,
    kept_ids: Any,
    used: Any,
) -> None:
    """Enter a piece in the row where it belongs. If there is no more room, all that were seen are given up before.

    Args:
        data, place, length, first, second, row, table, kept_bytes: See ``find``.
        symbols, count: uint32: its ids.
        kept_ids: uint32: ids of pieces with many, or of many bytes.
        used: int64 [3]: rows, bytes and ids that are taken.
    """
    if used[1] + length > len(kept_bytes) or used[2] + count > len(kept_ids) or 2 * used[0] > len(table):
        table[:, 2] = FREE
        used[:] = 0
        row = _row(first, second, len(table))
    table[row, 0] = first
    table[row, 1] = second
    table[row, 2] = length << _LENGTH | count << _COUNT | used[2]
    used[0] += 1
    if length <= _WITHIN and count <= AT_HAND:
        ids = 0
        for step in range(count):
            ids |= int(symbols[step]) << step * ID_BITS
        table[row, 3] = ids
        return
    for step in range(count):
        kept_ids[used[2] + step] = symbols[step]
    used[2] += count
    if length > _WITHIN:
        table[row, 3] = used[1]
        for step in range(length):
            kept_bytes[used[1] + step] = data[place + step]
        used[1] += length


@compiled
def _word(data: Any, words: Any, place: int, length: int) -> Any:
    """The first ``length`` of the eight bytes from a place as one little-endian number."""
    if place < len(words):
        return words[place] & _FIRST_EIGHT[length]
    word = 0
    for step in range(length):
        word |= int(data[place + step]) << (8 * step)
    return word


@compiled
def _hash(data: Any, words: Any, place: int, length: int) -> Any:
    """A 64-bit hash."""
    state, stop = _FACTORS[0], place + length
    while place < stop:
        state = (state ^ _word(data, words, place, min(stop - place, 8))) * _FACTORS[1]
        state ^= state >> 32
        place += 8
    return state


@inlined
def _row(first: int, second: int, rows: int) -> Any:
    """Where a piece is looked for first."""
    mixed = (first ^ (second * _FACTORS[2])) * _FACTORS[0]
    return (mixed ^ (mixed >> 29)) >> 13 & (rows - 1)
