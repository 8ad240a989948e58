"""Cutting text into the pieces of the pattern corpusline (``assets.vocabulary.patterns``).

First every byte gets the class bits of its character, then runs of classes are followed: most of a text is one byte a
character, and the second loop need not know.
"""

from __future__ import annotations

from typing import Any

from assets.clean_text.kernels.compiled import compiled, inlined
from assets.vocabulary.kernels.classes import LETTER, LINE_END, NUMBER, SPACE, UNSPACED_SCRIPT
from assets.vocabulary.patterns import LONGEST_RUN

_SPACE, _APOSTROPHE = 0x20, 0x27
_EACH, _COUNTING = 0x0101010101010101, 0x0001020304050607
"""A bit of each of eight bytes; and a number whose product with the bit of the n-th byte has n in its highest byte."""
_NEITHER = SPACE | LETTER | NUMBER


@compiled
def classify(data: Any, start: int, end: int, classes: Any, kinds: Any, eights: Any) -> None:
    """Write the class bits of each character to all of its bytes.

    Args:
        data: uint8, valid UTF-8.
        start, end: The bytes that are wanted.
        classes: uint8 [1114112], see ``code_point_classes``.
        kinds: uint8 [end - start + 8], written; behind the bytes there are zeros.
        eights: int64 [end - start + 1]: at each place of ``kinds`` the eight bytes from there, little-endian.
    """
    place = start
    while place < end:
        lead = int(data[place])
        if lead < 0x80:
            kinds[place - start] = classes[lead]
            place += 1
            continue
        if lead < 0xE0:
            code, size = (lead & 0x1F) << 6 | (data[place + 1] & 0x3F), 2
        elif lead < 0xF0:
            code, size = (lead & 0x0F) << 12 | (data[place + 1] & 0x3F) << 6 | (data[place + 2] & 0x3F), 3
        else:
            code = (lead & 0x07) << 18 | (data[place + 1] & 0x3F) << 12
            code, size = code | (data[place + 2] & 0x3F) << 6 | (data[place + 3] & 0x3F), 4
        # Eight bytes at once; those of the next characters are written over.
        eights[place - start] = int(classes[code]) * _EACH
        place += size
    eights[end - start] = 0


@inlined
def piece_end(
    data: Any, kinds: Any, eights: Any, shift: int, place: int, end: int, longest_han_run: int, digits: int
) -> Any:
    """Where the piece that begins at a place ends.

    Args:
        data: uint8, valid UTF-8.
        kinds: uint8: the class bits of the byte at ``place`` are ``kinds[place - shift]``.
        eights: int64: at each place of ``kinds`` the eight bytes from there, little-endian; what lies behind the text's
            bytes is no letter.
        shift: See ``kinds``.
        place: Where the piece begins.
        end: Where the text ends.
        longest_han_run: Most Chinese characters or kana in a piece.
        digits: Most digits in a piece.
    """
    lead = data[place]
    start, kind = place, kinds[place - shift]
    if lead == _SPACE:
        if place + 1 < end:
            following = kinds[place + 1 - shift]
            if not following & (SPACE | NUMBER) or following & UNSPACED_SCRIPT:
                start, kind = place + 1, following
    elif lead == _APOSTROPHE or (lead == 0xE2 and data[place + 1] == 0x80 and data[place + 2] == 0x99):
        ending = _contraction_end(data, kinds, shift, place + (1 if lead == _APOSTROPHE else 3), end)
        if ending:
            return ending
    stop = start + 1
    if kind & UNSPACED_SCRIPT:
        while stop < end and kinds[stop - shift] & UNSPACED_SCRIPT and stop - start < 4 * longest_han_run:
            stop += 1
        return _limited(data, start, stop, longest_han_run)
    if kind & LETTER:
        # Eight bytes at a time: the lowest byte without the bit of a word is the end.
        others = (~eights[stop - shift] >> 7) & _EACH
        while others == 0 and stop + 8 < end:
            stop += 8
            others = (~eights[stop - shift] >> 7) & _EACH
        stop = min(end, stop + (8 if others == 0 else ((others & -others) * _COUNTING >> 56)))
    elif kind & NUMBER:
        while stop < end and kinds[stop - shift] & NUMBER and stop - start < 4 * digits:
            stop += 1
        return _limited(data, start, stop, digits)
    elif kind & LINE_END:
        while stop < end and kinds[stop - shift] & LINE_END:
            stop += 1
    elif kind & SPACE:
        while stop < end and kinds[stop - shift] & (SPACE | LINE_END) == SPACE:
            stop += 1
        stop = _limited(data, start, stop, LONGEST_RUN)
        if stop < end and not kinds[stop - shift] & SPACE:
            # The last one before anything else is left to it, unless it is the only one.
            last = stop - 1
            while data[last] & 0xC0 == 0x80:
                last -= 1
            return last if last > start else stop
        return stop
    else:
        while stop < end and not kinds[stop - shift] & _NEITHER:
            stop += 1
    return _limited(data, start, stop, LONGEST_RUN)


@compiled
def _limited(data: Any, start: int, stop: int, most: int) -> Any:
    """The end of at most so many characters of a run; its last character may be cut."""
    if stop - start <= most:
        # Not more characters than bytes, and none was cut: a run is stopped early at four bytes a character only.
        return stop
    count, place = 0, start
    while place < stop and count < most:
        lead = data[place]
        place += 1 if lead < 0x80 else 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
        count += 1
    return place


@compiled
def _contraction_end(data: Any, kinds: Any, shift: int, place: int, end: int) -> Any:
    """The end of s, d, m, t, ll, ve or re, in one case, that no letter follows; 0 if there is none."""
    if place >= end:
        return 0
    letter = data[place]
    last = place
    if letter in (0x73, 0x64, 0x6D, 0x74, 0x53, 0x44, 0x4D, 0x54):
        last = place + 1
    elif place + 1 < end:
        second = data[place + 1]
        if (
            (letter == 0x6C and second == 0x6C)
            or (letter in (0x76, 0x72) and second == 0x65)
            or (letter == 0x4C and second == 0x4C)
            or (letter in (0x56, 0x52) and second == 0x45)
        ):
            last = place + 2
    if last == place or (last < end and kinds[last - shift] & LETTER):
        return 0
    return last
