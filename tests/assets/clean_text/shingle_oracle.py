"""Shingles and their similarity once more, with Python's strings and sets, from the rules and not from the code."""

from __future__ import annotations

import unicodedata
from fractions import Fraction

import regex

UNSPACED = r"[\p{Han}\p{Hiragana}\p{Katakana}ー\p{Bopomofo}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]"
TOKEN = regex.compile(rf"(?=[\p{{L}}\p{{M}}\p{{N}}]){UNSPACED}|(?:(?!{UNSPACED})[\p{{L}}\p{{M}}\p{{N}}])+")


def tokens(text: str) -> list[tuple[str, bool]]:
    """Folded words, and whether each is a character of a script without spaces."""
    text = regex.sub(r"\p{Nd}(?:\p{Mn}*[.,،٫⎖]?\p{Mn}*\p{Nd})*", "0", text)
    text = "".join(fold(character) for character in text)
    return [(word, bool(regex.match(UNSPACED, word))) for word in TOKEN.findall(text)]


def fold(character: str) -> str:
    """Lower case without diacritics; a syllable of Hangul as it is."""
    if unicodedata.category(character) == "Mn":
        return ""
    parts = [c for c in unicodedata.normalize("NFD", character.lower()) if unicodedata.category(c) != "Mn"]
    return parts[0] if len(parts) == 1 else character


def shingle_set(text: str, *, words: int = 5, characters: int = 8) -> set[tuple[str, ...]]:
    """Each run of tokens that is just full."""
    found = tokens(text)
    costs = [Fraction(1, characters if unspaced else words) for _, unspaced in found]
    shingles = set()
    for begin in range(len(found)):
        end, filled = begin, Fraction(0)
        while filled < 1 and end < len(found):
            filled += costs[end]
            end += 1
        if filled >= 1 or begin == 0:
            shingles.add(tuple(word for word, _ in found[begin:end]))
    return shingles


def jaccard(first: str, second: str, *, words: int = 5, characters: int = 8) -> Fraction:
    """Common share of the two sets of shingles; 0 for two texts without any."""
    a, b = (shingle_set(text, words=words, characters=characters) for text in (first, second))
    return Fraction(len(a & b), len(a | b)) if a | b else Fraction(0)
