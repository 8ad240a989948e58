"""Where sentences end, for compiled loops: at line ends and after full stops, question and exclamation marks.

A full stop after a digit ends none: most often it belongs to the number of a section or a list.
"""

from __future__ import annotations

from functools import lru_cache

import numba
import numpy as np
import regex

from assets.clean_text.characters import Array
from assets.clean_text.tokens import decode

SPACE = np.uint8(1)
LINE_END = np.uint8(2)
_MARK = np.uint8(4)
_WIDE_MARK = np.uint8(8)
_CLOSING = np.uint8(16)
_EXTENDS = np.uint8(32)
_FULL_STOP, _ZERO, _NINE = (ord(character) for character in ".09")

_PATTERNS = {
    SPACE: r"\s",
    LINE_END: r"\n",
    # Before a letter these stand in numbers, names and addresses.
    _MARK: r"[.!?]",
    _WIDE_MARK: r"[。！？…｡．।॥؟۔]",
    _CLOSING: r"[\p{Pe}\p{Pf}\"']",
    _EXTENDS: r"[\p{M}\p{Default_Ignorable_Code_Point}]",
}


@lru_cache(maxsize=1)
def sentence_table() -> Array:
    """uint8 (0x110000,): what each code point is for the end of a sentence; read-only."""
    everything = "".join("\0" if 0xD800 <= point < 0xE000 else chr(point) for point in range(0x110000))
    table = np.zeros(len(everything), np.uint8)
    for bit, pattern in _PATTERNS.items():
        for match in regex.finditer(pattern, everything):
            table[match.start()] |= bit
    table.flags.writeable = False
    return table


@numba.njit(cache=True, nogil=True)
def sentence_break(data: Array, begin: int, end: int, text_end: int, table: Array) -> tuple[int, int]:
    """Where the sentence ends and where the next begins, if both happen between two tokens; -1 and -1 if not.

    Args:
        data: uint8, UTF-8.
        begin: End of the token before.
        end: Begin of the token after.
        text_end: End of the text.
        table: ``sentence_table()``.
    """
    position = begin
    wide = marked = False
    if begin > 0 and _ZERO <= data[begin - 1] <= _NINE and data[begin] == _FULL_STOP:
        position += 1
    stop = position
    while position < end:
        point, size = decode(data, position, text_end)
        kind = table[point]
        if kind & LINE_END:
            return stop, _after_last_line_end(data, position, end, table)
        if (marked and kind & SPACE) or (wide and not kind & (_MARK | _WIDE_MARK | _CLOSING | _EXTENDS)):
            break
        if kind & (_MARK | _WIDE_MARK):
            marked = True
            wide = wide or kind & _WIDE_MARK != 0
        elif marked and not kind & (_CLOSING | _EXTENDS):
            marked = False
        position += size
        if not kind & SPACE:
            stop = position
    if not (wide or (marked and position < end)):
        return -1, -1
    # A line end may follow.
    after = position
    while after < end:
        point, size = decode(data, after, text_end)
        if table[point] & LINE_END:
            return stop, _after_last_line_end(data, after, end, table)
        after += size
    return stop, _after_space(data, position, end, table)


@numba.njit(cache=True, nogil=True)
def after_extensions(data: Array, position: int, end: int, table: Array) -> int:
    """The position after the marks and invisible characters that belong to the character before a position."""
    while position < end:
        point, size = decode(data, position, end)
        if not table[point] & _EXTENDS:
            break
        position += size
    return position


@numba.njit(cache=True, nogil=True)
def _after_last_line_end(data: Array, position: int, end: int, table: Array) -> int:
    last = position
    while position < end:
        point, size = decode(data, position, end)
        position += size
        if table[point] & LINE_END:
            last = position
    return _after_space(data, last, end, table)


@numba.njit(cache=True, nogil=True)
def _after_space(data: Array, position: int, end: int, table: Array) -> int:
    while position < end:
        point, size = decode(data, position, end)
        if not table[point] & SPACE:
            break
        position += size
    return position
