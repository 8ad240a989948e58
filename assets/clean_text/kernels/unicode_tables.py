"""Class bits of every code point, by the Unicode tables of the ``regex`` module and a few lists of marks."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import regex

from assets.clean_text.kernels.buffers import Array

LETTER = 1 << 0  # \p{L}
MARK = 1 << 1  # \p{M}: belongs to the letter before it
DIGIT = 1 << 2  # \p{N}
PUNCTUATION = 1 << 3  # \p{P}
SYMBOL = 1 << 4  # \p{S}
SPACE = 1 << 5  # \s
HAN = 1 << 6
LATIN = 1 << 7
KANA = 1 << 8
HANGUL = 1 << 9
LOWER = 1 << 10  # lower case, or a letter of a script without case
UPPER = 1 << 11  # upper case, or a letter of a script without case
TERMINAL = 1 << 12  # ends a sentence: Unicode's Sentence_Terminal, full-width full stops, Khmer marks (as datatrove)
IDLE = 1 << 13  # counts for no word: datatrove's ``PUNCTUATION_SET`` (utils/text.py)
LEADING = 1 << 14  # comes off the beginning of a word
TRAILING = 1 << 15  # comes off the end of a word
CURRENCY = 1 << 16
ICON = 1 << 17  # \p{So}: a word of its own
QUOTE = 1 << 18
MARKED_END = 1 << 19  # a full stop after it is not part of the word
UNDECODED = 1 << 20  # U+FFFD and private use: stands where a decoder met bytes it did not understand
CAPITAL = 1 << 21  # \p{Lu}

_QUOTES = "'\"”“`‘´’‚,„»«「」『』（）〔〕【】《》〈〉〈〉⟦⟧"
_MARKS = "…,:;!?¿؟¡()[]{}<>_#*&。？！，、；：～·।،۔؛٪"
_CURRENCIES = "$£€¥฿₽﷼₴₠₡₢₣₤₥₦₧₨₩₪₫€₭₮₯₰₱₲₳₴₵₸₹₺₼₾₿"
_IDLE = "!/—”:％１〈&(、━\\【#%「」，】；+^]~“《„';’{|∶´[=-`*．（–？！：$～«〉,><》)?）。…@_.\"}►»"

_PATTERNS = {
    LETTER: r"\p{L}+",
    MARK: r"\p{M}+",
    DIGIT: r"\p{N}+",
    PUNCTUATION: r"\p{P}+",
    SYMBOL: r"\p{S}+",
    SPACE: r"[\s\x1c-\x1f\x85]+",
    HAN: r"\p{Han}+",
    LATIN: r"\p{Latin}+",
    KANA: r"[\p{Hiragana}\p{Katakana}]+",
    HANGUL: r"\p{Hangul}+",
    LOWER: r"[\p{Ll}\p{Lo}]+",
    UPPER: r"[\p{Lu}\p{Lo}]+",
    CAPITAL: r"\p{Lu}+",
    TERMINAL: r"[\p{Sentence_Terminal}．。｡\u17d6\u17d9\u17da]+",
    ICON: r"\p{So}+",
    UNDECODED: r"[\p{Co}\uFFFD]+",
}


@lru_cache(maxsize=1)
def character_bits() -> Array:
    """uint32 (0x110000,): the class bits of every code point."""
    surrogates = range(0xD800, 0xE000)
    everything = "".join("\0" if point in surrogates else chr(point) for point in range(0x110000))
    table = np.zeros(len(everything), dtype=np.uint32)
    for bit, pattern in _PATTERNS.items():
        for match in regex.finditer(pattern, everything):
            table[match.start() : match.end()] |= bit
    _mark(table, "§%=—–" + _MARKS + _QUOTES + _CURRENCIES, LEADING)
    _mark(table, "—–" + _MARKS + _QUOTES, TRAILING)
    table[(table & ICON) > 0] |= LEADING | TRAILING
    _mark(table, _CURRENCIES, CURRENCY)
    _mark(table, _QUOTES, QUOTE)
    _mark(table, "0123456789%²-+|" + _MARKS + _QUOTES, MARKED_END)
    table[(table & LOWER) > 0] |= MARKED_END
    _mark(table, _IDLE, IDLE)
    table[[*range(9), *range(11, 32), *range(127, 160)]] |= IDLE
    table[(table & TERMINAL) > 0] |= IDLE
    return table


def _mark(table: Array, characters: str, bit: int) -> None:
    table[list(map(ord, characters))] |= bit
