"""Measures the lines and paragraphs of texts in one pass over the bytes."""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from assets.clean_text.kernels.buffers import Array
from assets.clean_text.kernels.unicode_tables import SPACE, TERMINAL

_PRIME = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xD6E8FEB86659FD93)
_STAMP = np.uint64(0xFFFF)


class Lines(NamedTuple):
    """What the lines of n texts are like; int64 (n,) each. A line is blank if it holds white space only.

    Attributes:
        all: Lines, blank ones too; a line end at the end of the text begins no line.
        filled: Lines that are not blank.
        parts: Pieces between runs of line ends: what Gopher's rule calls lines.
        paragraphs: Pieces between empty lines.
        longest: Characters of the longest line.
        bullets: Lines that begin with • or -, white space left out.
        ellipses: Lines that end in ... or …, white space left out.
        terminals: Filled lines that end in terminal punctuation.
        short: Filled lines of at most 30 characters.
        breaks: Line ends.
        repeated_parts: ``parts`` that stand in the text before.
        repeated_part_characters: Their characters.
        repeated_paragraphs: Paragraphs that stand in the text before.
        repeated_paragraph_characters: Their characters.
    """

    all: Array
    filled: Array
    parts: Array
    paragraphs: Array
    longest: Array
    bullets: Array
    ellipses: Array
    terminals: Array
    short: Array
    breaks: Array
    repeated_parts: Array
    repeated_part_characters: Array
    repeated_paragraphs: Array
    repeated_paragraph_characters: Array


SHORT_LINE = 30
"""Characters of a short line (datatrove, ``fineweb_quality_filter.py``)."""


def measure_lines(data: Array, offsets: Array, bits: Array) -> Lines:
    """The lines of UTF-8 texts; arguments as for ``pieces.cut``."""
    return Lines(*_measure(data, offsets, bits).T.copy())


@numba.njit(cache=True, nogil=True)
def _decode(data, at):  # type: ignore[no-untyped-def]
    byte = data[at]
    if byte < 128:
        return np.uint32(byte)
    if byte < 224:
        return np.uint32(((byte & 31) << 6) | (data[at + 1] & 63))
    if byte < 240:
        return np.uint32(((byte & 15) << 12) | ((data[at + 1] & 63) << 6) | (data[at + 2] & 63))
    return np.uint32(
        ((byte & 7) << 18) | ((data[at + 1] & 63) << 12) | ((data[at + 2] & 63) << 6) | (data[at + 3] & 63)
    )


@numba.njit(cache=True, nogil=True)
def _hash(data, begin, end):  # type: ignore[no-untyped-def]
    value = np.uint64(end - begin) * _PRIME
    at = begin
    while at + 8 <= end:
        word = np.uint64(0)
        for place in range(8):
            word |= np.uint64(data[at + place]) << np.uint64(8 * place)
        value = (value ^ word) * _PRIME
        value ^= value >> np.uint64(29)
        at += 8
    word = np.uint64(0)
    place = 0
    while at < end:
        word |= np.uint64(data[at]) << np.uint64(8 * place)
        at += 1
        place += 1
    value = (value ^ word) * _MIX
    return value ^ (value >> np.uint64(32))


@numba.njit(cache=True, nogil=True)
def _stamp(table, text):  # type: ignore[no-untyped-def]
    """Marks the entries of a text in a table, 1 to 65,535; with the last one used up the table is emptied."""
    if text and text % 0xFFFF == 0:
        table[:] = 0
    return np.uint64(text % 0xFFFF + 1)


@numba.njit(cache=True, nogil=True)
def _seen_before(table, stamp, key, mask):  # type: ignore[no-untyped-def]
    """Whether a 64-bit hash is in the table under this stamp; puts it there.

    An entry is the hash, mixed, with the stamp for its lowest 16 bits: those choose the slot.
    """
    mixed = (key ^ (key >> np.uint64(32))) * _PRIME
    entry = (mixed & ~_STAMP) | stamp
    slot = np.int64(mixed ^ (mixed >> np.uint64(32))) & mask
    while table[slot] & _STAMP == stamp:
        if table[slot] == entry:
            return True
        slot = (slot + 1) & mask
    table[slot] = entry
    return False


@numba.njit(cache=True, nogil=True)
def _measure(data, offsets, bits):  # type: ignore[no-untyped-def]
    texts = len(offsets) - 1
    result = np.zeros((texts, 14), np.int64)
    most = 0
    for text in range(texts):
        breaks = 0
        for at in range(offsets[text], offsets[text + 1]):
            breaks += data[at] == 10
        most = max(most, breaks)
    size = 16
    while size < 2 * most + 4:
        size *= 2
    seen_parts = np.zeros(size, np.uint64)
    seen_paragraphs = np.zeros(size, np.uint64)
    mask = size - 1
    for text in range(texts):
        row = result[text]
        stamp = _stamp(seen_parts, text)
        _stamp(seen_paragraphs, text)
        start, stop = offsets[text], offsets[text + 1]
        line = start
        paragraph = start
        paragraph_characters = 0
        run = 0
        while line <= stop:
            # One line: [line, end).
            end = line
            characters = 0
            while end < stop and data[end] != 10:
                characters += (data[end] & 0xC0) != 0x80
                end += 1
            if end < stop:
                row[9] += 1
            if line < stop:
                row[0] += 1
            if end > line:
                if run > 1 or not paragraph_characters:
                    # A paragraph begins; the one before ended at the first line end of the run.
                    if paragraph_characters:
                        row[3] += 1
                        key = _hash(data, paragraph, line - run)
                        if _seen_before(seen_paragraphs, stamp, key, mask):
                            row[12] += 1
                            row[13] += paragraph_characters
                    paragraph = line
                    paragraph_characters = 0
                elif run == 1:
                    paragraph_characters += 1
                run = 0
                paragraph_characters += characters
                row[2] += 1
                if _seen_before(seen_parts, stamp, _hash(data, line, end), mask):
                    row[10] += 1
                    row[11] += characters
                row[4] = max(row[4], characters)
                first = line
                while first < end and bits[_decode(data, first)] & SPACE:
                    first += 1
                    while first < end and (data[first] & 0xC0) == 0x80:
                        first += 1
                last = end - 1
                while last > line and (data[last] & 0xC0) == 0x80:
                    last -= 1
                closing = _decode(data, last)
                if first < end:
                    row[1] += 1
                    if characters <= SHORT_LINE:
                        row[8] += 1
                    if bits[closing] & TERMINAL:
                        row[7] += 1
                    opening = _decode(data, first)
                    if opening == 45 or opening == 0x2022:
                        row[5] += 1
                    while bits[closing] & SPACE:
                        last -= 1
                        while (data[last] & 0xC0) == 0x80:
                            last -= 1
                        closing = _decode(data, last)
                    if closing == 0x2026 or (
                        closing == 46 and last - 2 >= first and data[last - 1] == 46 and data[last - 2] == 46
                    ):
                        row[6] += 1
            if end >= stop:
                break
            run += 1
            line = end + 1
        if paragraph_characters:
            row[3] += 1
            finish = stop
            while finish > paragraph and data[finish - 1] == 10:
                finish -= 1
            if _seen_before(seen_paragraphs, stamp, _hash(data, paragraph, finish), mask):
                row[12] += 1
                row[13] += paragraph_characters
    return result
