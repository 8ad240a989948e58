"""Hashes of lines and paragraphs.

What is hashed is the unit's UTF-8 with ASCII letters in lower case, each ASCII digit as "0", each run of white space
(ASCII's, U+00A0 and U+3000; in a paragraph also the line ends) as one space and none at both ends. So CCNet treats case
and digits (Wenzek et al. 2020, section 3.1); but punctuation and accents count. Rows of numbers would all be the same,
and rules drawn of marks stand anywhere: a unit is left out if its ASCII letters and the bytes of its other characters
(but those from U+2000 to U+2FFF: dashes, symbols, lines of tables) are no more than its digits.

The hash is FNV-1a's loop with another multiplier, finished by SplitMix64's. With 64 bits, one wrong pair is to be
expected among six billion units.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal

import numba
import numpy as np
import pyarrow as pa

from assets.clean_text.characters import Array
from assets.clean_text.tokens import mix, text_bytes

_FIELDS: list[pa.Field[Any]] = [
    pa.field("row", pa.int64()),
    pa.field("byte_start", pa.int64()),
    pa.field("byte_end", pa.int64()),
    pa.field("hash", pa.uint64()),
]

LINES: pa.Schema = pa.schema(_FIELDS)
"""Schema of ``lines.parquet`` and ``paragraphs.parquet``: the number of the document, where the unit begins and ends in
the UTF-8 of its text without white space around it, and its hash; by row and byte_start."""

Unit = Literal["line", "paragraph"]

_SEED = np.uint64(0xCBF29CE484222325)
_PRIME = np.uint64(0x9FB21C651E98DF25)
_LINE_FEED = ord("\n")
_SPACE = np.uint64(ord(" "))

_FOLDED = 0xFF
_PERHAPS_SPACE = 1 << 8

_LETTERS = 32
_CHARACTERS = (1 << _LETTERS) - 1


def hash_lines(texts: pa.StringArray, *, unit: Unit, minimum_characters: int) -> pa.Table:
    """Hashes of all lines or paragraphs of some documents, schema ``LINES``.

    Args:
        texts: n texts without nulls; ``row`` is the place in this array.
        unit: "line", or "paragraph": consecutive lines that are not blank.
        minimum_characters: Units with fewer are left out. Counted as hashed; characters from U+3000 on (Han, kana,
            Hangul) count twice.
    """
    data, offsets = text_bytes(texts)
    columns = _hash_units(data, offsets, *_byte_tables(), unit == "paragraph", minimum_characters)
    return pa.table(list(columns), schema=LINES)


@numba.njit(cache=True, nogil=True)
def _hash_units(
    data: Array, offsets: Array, table: Array, sizes: Array, paragraphs: bool, minimum_characters: int
) -> tuple[Array, Array, Array, Array]:
    room = len(offsets) - 1
    for position in range(offsets[0], offsets[-1]):
        room += data[position] == _LINE_FEED
    rows, starts, ends = np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room, np.int64)
    hashes = np.empty(room, np.uint64)
    used = 0
    for row in range(len(offsets) - 1):
        base, end = offsets[row], offsets[row + 1]
        position = start = stop = base
        state, measure, feeds, spaced = _SEED, 0, 0, False
        while position <= end:
            # A text ends as a unit does.
            size = 1 if position == end else space_size(data, position, end)
            if size:
                spaced = True
                feeds += 2 if position == end else data[position] == _LINE_FEED
                position += size
                if measure and feeds > paragraphs:
                    if measure >> _LETTERS > 0 and measure & _CHARACTERS >= minimum_characters:
                        rows[used], starts[used], ends[used] = row, start - base, stop - base
                        hashes[used] = mix(state)
                        used += 1
                    state, measure = _SEED, 0
                continue
            if not measure:
                start = position
            elif spaced:
                state = (state ^ _SPACE) * _PRIME
                measure += 1
            spaced, feeds = False, 0
            byte = data[position]
            while True:  # Through single spaces too, which need no care.
                state = (state ^ np.uint64(table[byte] & _FOLDED)) * _PRIME
                measure += sizes[byte]
                position += 1
                if position == end:
                    break
                byte = data[position]
                if table[byte] & _PERHAPS_SPACE and (
                    byte != _SPACE or position + 1 == end or table[data[position + 1]] & _PERHAPS_SPACE
                ):
                    break
            stop = position
    return rows[:used], starts[:used], ends[:used], hashes[:used]


@lru_cache(maxsize=1)
def _byte_tables() -> tuple[Array, Array]:
    """int64 (256,), two for the bytes of UTF-8, read-only.

    The first holds what is hashed, with a mark on what may begin a white space character. The second holds the
    characters that a byte counts for, and above them whether it is of a letter (1) or a digit (-1).
    """
    table, digits = np.arange(256), slice(ord("0"), ord("9") + 1)
    table[ord("A") : ord("Z") + 1] += 32
    table[digits] = ord("0")
    table[[*range(9, 14), 32, 0xC2, 0xE3]] |= _PERHAPS_SPACE
    sizes, letters = np.ones(256, np.int64), np.zeros(256, np.int64)
    sizes[0x80:0xC0], sizes[0xE3:] = 0, 2
    letters[ord("A") : ord("Z") + 1] = letters[ord("a") : ord("z") + 1] = letters[0x80:] = 1
    letters[digits] = -1
    letters[0xE2] = -2  # with the two bytes that follow
    sizes += letters << _LETTERS
    table.flags.writeable = sizes.flags.writeable = False
    return table, sizes


@numba.njit(cache=True, nogil=True, inline="always")
def space_size(data: Array, position: int, end: int) -> int:
    """Bytes of the white space character at a position, 0 if there is none: ASCII's, U+00A0 or U+3000."""
    value = data[position]
    if value == 32 or 9 <= value <= 13:
        return 1
    if value == 0xC2 and position + 1 < end and data[position + 1] == 0xA0:
        return 2
    if value == 0xE3 and position + 2 < end and data[position + 1] == 0x80 and data[position + 2] == 0x80:
        return 3
    return 0
