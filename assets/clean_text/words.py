"""Words: Han text by rjieba's dictionary and model, everything else by Unicode's word boundaries (UAX 29).

Japanese is not Chinese: its Han characters are left to the Unicode rule, which makes each one a word.
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import regex
import rjieba

from assets.clean_text.arrays import string_array, strings

_HAN_RUN = regex.compile(r"(\p{Han}+)")
_BOUNDARY = regex.compile(r"(?V1w)\b")
_WORD = r"[\p{L}\p{M}\p{N}--\p{Han}]"
_MARK = r"[\p{P}\p{S}]"
# An apostrophe, full stop, comma, colon or hyphen between two letters or digits is part of a word or a number.
_OUTSIDE_WORDS = regex.compile(rf"(?V1)(?<!{_WORD}){_MARK}|{_MARK}(?!{_WORD})|(?!['’.,:\-‐]){_MARK}")
_SPACES = regex.compile(r"[^\S\n]+")


def words(text: str, *, language: str = "") -> Iterator[str]:
    """The words and marks of a text, in order, without white space; joined they give the text without white space."""
    for position, part in enumerate([text] if language.startswith("ja") else _HAN_RUN.split(text)):
        if position % 2:
            yield from rjieba.cut(part)
        else:
            yield from (piece for piece in map(str.strip, _BOUNDARY.split(part)) if piece)


def segment_words(text: str, *, language: str = "") -> str:
    """The text with one space between words; lines stay lines."""
    return "\n".join(" ".join(words(line, language=language)) for line in text.split("\n"))


def strip_punctuation(text: str) -> str:
    """The text without punctuation and symbols: one space stands where they stood, lines stay lines.

    What belongs to a word or a number stays: don't, 3.14, well-known.
    """
    spaced = _OUTSIDE_WORDS.sub(" ", text)
    return "\n".join(line.strip() for line in _SPACES.sub(" ", spaced).split("\n"))


def preprocess(texts: pa.StringArray, languages: pa.StringArray, *, segment: bool, strip: bool) -> pa.StringArray:
    """Texts with words segmented and then punctuation stripped, each where asked for."""
    if not segment and not strip:
        return texts
    result = []
    for text, language in zip(strings(texts), languages.to_pylist(), strict=True):
        if segment:
            text = segment_words(text, language=language or "")
        result.append(strip_punctuation(text) if strip else text)
    return string_array(result)
