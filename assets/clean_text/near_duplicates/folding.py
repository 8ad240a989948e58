"""What each code point is to a shingle: nothing, a mark to ignore, a digit, a letter, or a word of its own.

Folding follows datatrove's ``simplify_text`` (``utils/text.py``): lower case, numbers to 0, punctuation to spaces,
letters without their diacritics. Symbols and emoji are spaces too.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

import numpy as np
import regex

from assets.clean_text.kernels.buffers import Array

CHARACTER = 1 << 31  # a word of its own
IGNORED = 1 << 30  # \p{Mn}
DIGIT = 1 << 29  # \p{Nd}
SEPARATOR = 1 << 28  # between two digits part of the number
POINT = (1 << 21) - 1  # the folded code point

_WORD = regex.compile(r"[\p{L}\p{M}\p{N}]")
_IGNORED = regex.compile(r"\p{Mn}")
_DIGIT = regex.compile(r"\p{Nd}")
_UNSPACED = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}ー\p{Bopomofo}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]")
_SEPARATORS = ".,،٫⎖"
_SURROGATES = range(0xD800, 0xE000)


@lru_cache(maxsize=1)
def folding() -> Array:
    """uint32 (0x110000,): the folded code point and the bits of this module of each code point.

    0 is what stands between words. By the Unicode tables of Python and of the ``regex`` module.
    """
    everything = "".join("\0" if point in _SURROGATES else chr(point) for point in range(0x110000))
    table = np.zeros(len(everything), dtype=np.uint32)
    for match in _WORD.finditer(everything):
        table[match.start()] = _folded(match.group())
    for pattern, bit in ((_IGNORED, IGNORED), (_DIGIT, DIGIT)):
        for match in pattern.finditer(everything):
            table[match.start()] = bit
    for match in _UNSPACED.finditer(everything):
        if table[match.start()] & POINT:
            table[match.start()] |= CHARACTER
    table[list(map(ord, _SEPARATORS))] = SEPARATOR
    return table


def _folded(character: str) -> int:
    if character.isascii():
        return ord(character.lower())
    parts = [part for part in unicodedata.normalize("NFD", character.lower()) if unicodedata.category(part) != "Mn"]
    # A syllable of Hangul has several parts, which are no diacritics.
    return ord(parts[0]) if len(parts) == 1 else ord(character)
