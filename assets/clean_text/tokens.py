"""Tokens: words where words are spaced, characters where they are not; one compiled scan over UTF-8 for both.

A token is a run of letters, marks and digits, or a single letter or digit of a script that puts no spaces between words
(Han, kana, Thai, Lao, Khmer, Myanmar). Case and width do not matter ("ＡＢＣ" is "abc"), nor do invisible characters
inside a word; everything else only separates. Simplified and traditional characters are different tokens.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import Any

import numba
import numpy as np
import pyarrow as pa
import regex

from assets.clean_text.characters import Array
from assets.clean_text.kernels.buffers import utf8

BUFFERED = 1 << 10
"""Tokens that a kernel scans at once; their buffers stay in the fastest cache."""

_IGNORED = np.uint32(1)
_ALONE = np.uint32(1 << 31)
_REPLACEMENT = 0xFFFD
_SEED = np.uint64(0x6A09E667F3BCC909)
_PRIME = np.uint64(0x9FB21C651E98DF25)
_FIRST_MIX = np.uint64(0xBF58476D1CE4E5B9)
_SECOND_MIX = np.uint64(0x94D049BB133111EB)

_INVISIBLE = r"\p{Default_Ignorable_Code_Point}+"
_WORD = r"[\p{L}\p{M}\p{N}]+"
_UNSPACED = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]+"


@lru_cache(maxsize=1)
def token_table() -> Array:
    """uint32 (0x110000,): what each code point is in a token.

    0 separates, 1 is ignored; else the folded character, with the highest bit where it is a token of its own.
    """
    everything = "".join("\0" if 0xD800 <= point < 0xE000 else chr(point) for point in range(0x110000))
    in_words, unspaced = (_matching(pattern, everything) for pattern in (_WORD, _UNSPACED))
    table = np.zeros(len(everything), np.uint32)
    points = np.flatnonzero(in_words)
    folded = np.fromiter((_fold(everything[point], in_words) for point in points), np.uint32, len(points))
    table[points] = folded | np.where(unspaced[folded], _ALONE, np.uint32(0))
    table[_matching(_INVISIBLE, everything)] = _IGNORED
    table.flags.writeable = False
    return table


def text_bytes(texts: pa.StringArray) -> tuple[Array, Array]:
    """uint8 data and int64 (n + 1,) offsets of texts without nulls, both read-only, so that kernels compile once."""
    data, offsets = utf8(texts)
    data.flags.writeable = offsets.flags.writeable = False
    return data, offsets


def tokens(texts: pa.StringArray) -> tuple[Array, Array]:
    """Hashes (uint64) of all tokens of n texts, and where each text's begin (int64, (n + 1,))."""
    data, offsets = text_bytes(texts)
    hashes, counts = _hash_tokens(data, offsets, token_table())
    return hashes, np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])


@numba.njit(cache=True, nogil=True, inline="always")
def mix(value: np.uint64) -> np.uint64:
    """The finaliser of SplitMix64 (Steele, Lea and Flood 2014, figure 19, by Stafford's constants "variant 13")."""
    value = (value ^ (value >> np.uint64(30))) * _FIRST_MIX
    value = (value ^ (value >> np.uint64(27))) * _SECOND_MIX
    return value ^ (value >> np.uint64(31))


@numba.njit(cache=True, nogil=True, inline="always")
def decode(data: Array, position: int, end: int) -> tuple[Any, int]:
    """The code point at a position of UTF-8 bytes, and its size; U+FFFD of size 1 where the bytes are no character."""
    first = np.int64(data[position])
    if first < 0x80:
        return first, 1
    if first >= 0xE0 and first < 0xF0 and position + 2 < end:
        point = ((first & 0x0F) << 12) | ((np.int64(data[position + 1]) & 0x3F) << 6) | (data[position + 2] & 0x3F)
        return point, 3
    if first >= 0xC0 and first < 0xE0 and position + 1 < end:
        return ((first & 0x1F) << 6) | (np.int64(data[position + 1]) & 0x3F), 2
    if first >= 0xF0 and first < 0xF5 and position + 3 < end:
        high = ((first & 0x07) << 18) | ((np.int64(data[position + 1]) & 0x3F) << 12)
        point = high | ((np.int64(data[position + 2]) & 0x3F) << 6) | (data[position + 3] & 0x3F)
        return min(point, 0x10FFFF), 4
    return _REPLACEMENT, 1


@numba.njit(cache=True, nogil=True)
def scan_tokens(
    data: Array, position: int, end: int, table: Array, hashes: Array, begins: Array, stops: Array
) -> tuple[int, int]:
    """Write the tokens from a position on into buffers, as many as fit.

    Args:
        data: uint8, UTF-8.
        position: Where to begin: the first byte of a character that is not inside a token.
        end: Where the text ends.
        table: ``token_table()``.
        hashes: uint64 (b,), b at least 2: the tokens' hashes.
        begins: int64 (b,): their first bytes.
        stops: int64 (b,): the bytes behind them.

    Returns:
        How many there are, and where to go on; the end if that is all.
    """
    count, inside = 0, False
    state = _SEED
    begin = stop = position
    while position < end and count < len(hashes) - 1:
        point, size = decode(data, position, end)
        value = table[point]
        if value > _IGNORED and value < _ALONE:
            if not inside:
                inside, begin, state = True, position, _SEED
            state = (state ^ np.uint64(value)) * _PRIME
            stop = position + size
        elif value != _IGNORED:
            if inside:
                hashes[count], begins[count], stops[count] = mix(state), begin, stop
                count += 1
                inside = False
            if value >= _ALONE:
                alone = mix((_SEED ^ np.uint64(value)) * _PRIME)
                hashes[count], begins[count], stops[count] = alone, position, position + size
                count += 1
        position += size
    if inside:
        hashes[count], begins[count], stops[count] = mix(state), begin, stop
        count += 1
    return count, position


@numba.njit(cache=True, nogil=True)
def _hash_tokens(data: Array, offsets: Array, table: Array) -> tuple[Array, Array]:
    hashes = np.empty(max(BUFFERED, (offsets[-1] - offsets[0]) // 4), np.uint64)
    counts = np.zeros(len(offsets) - 1, np.int64)
    buffer, begins, stops = np.empty(BUFFERED, np.uint64), np.empty(BUFFERED, np.int64), np.empty(BUFFERED, np.int64)
    used = 0
    for text in range(len(offsets) - 1):
        position, end = offsets[text], offsets[text + 1]
        while position < end:
            count, position = scan_tokens(data, position, end, table, buffer, begins, stops)
            if used + count > len(hashes):
                grown = np.empty(2 * len(hashes), np.uint64)
                grown[:used] = hashes[:used]
                hashes = grown
            hashes[used : used + count] = buffer[:count]
            used += count
            counts[text] += count
    return hashes[:used].copy(), counts


def _matching(pattern: str, everything: str) -> Array:
    """bool: which characters stand in a match."""
    mask = np.zeros(len(everything), np.bool_)
    for match in regex.finditer(pattern, everything):
        mask[match.start() : match.end()] = True
    return mask


def _fold(character: str, in_words: Array) -> int:
    """The code point without case, width and presentation form, where that is one letter, mark or digit."""
    plain = unicodedata.normalize("NFKC", character)
    for folded in (plain.casefold(), plain, character.lower()):
        if len(folded) == 1 and in_words[ord(folded)]:
            return ord(folded)
    return ord(character)
