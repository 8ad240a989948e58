"""What the entries of a vocabulary are, and how often a sample uses them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import regex

from assets.vocabulary.tokenizer import Vocabulary

UNDER_TRAINED = 20
"""A token that the sample has less often is hardly learned (Land and Bartolo 2024, arXiv:2405.05417)."""
EXAMPLES = 24
LONGEST = 10
_SCRIPTS = {
    "Chinese": r"\p{Han}",
    "kana": r"[\p{Hiragana}\p{Katakana}]",
    "Latin": r"\p{Latin}",
    "other letters": r"\p{L}",
    "digits": r"\p{N}",
    "white space": r"\s",
    "signs": r"[\p{P}\p{S}]",
}


@dataclass(frozen=True)
class Entries:
    """The entries of a vocabulary.

    Attributes:
        unused: Entries, special ones left out, that the sample has not once.
        under_trained: Entries that it has, but less than ``UNDER_TRAINED`` times.
        unused_examples, under_trained_examples: Some of them, as text.
        longest: The longest entries by script, as text.
        lengths: Number of entries by script and length in characters; of parts of characters the length is 0.
        single_bytes: Share of the sample's tokens that are a part of a character.
        characters_covered: Share of the sample's different characters that are never cut into bytes.
        unknown: Share of the sample's tokens that stand for what is no entry; 0 but for word vocabularies.
    """

    unused: int
    under_trained: int
    unused_examples: tuple[str, ...]
    under_trained_examples: tuple[str, ...]
    longest: dict[str, tuple[str, ...]]
    lengths: dict[str, dict[int, int]]
    single_bytes: float
    characters_covered: float
    unknown: float


def describe_entries(vocabulary: Vocabulary, ids: Sequence[Sequence[int]], texts: Sequence[str]) -> Entries:
    """Describe a vocabulary by a sample.

    Args:
        vocabulary: The vocabulary.
        ids: What the texts encode to.
        texts: The sample.
    """
    names = vocabulary.token_bytes()
    counts = Counter(token for row in ids for token in row)
    ordinary = [token for token in range(vocabulary.size) if token not in vocabulary.special_ids]
    unused = [token for token in ordinary if not counts[token]]
    rare = [token for token in ordinary if 0 < counts[token] < UNDER_TRAINED]
    whole = {token: text for token in ordinary if (text := _text(names[token])) is not None}
    by_script: defaultdict[str, list[str]] = defaultdict(list)
    lengths: defaultdict[str, Counter[int]] = defaultdict(Counter)
    for token in ordinary:
        text = whole.get(token)
        script = "parts of characters" if text is None else script_of(text)
        lengths[script][0 if text is None else len(text)] += 1
        if text is not None:
            by_script[script].append(text)
    total = sum(counts.values()) or 1
    unknown = vocabulary.tokenizer.token_to_id("<|unknown|>")
    different = Counter(character for text in texts for character in text)
    alone = dict(zip(different, vocabulary.encode_batch(list(different)), strict=True))
    covered = sum(len(row) == 1 and row[0] != unknown for row in alone.values())
    return Entries(
        unused=len(unused),
        under_trained=len(rare),
        unused_examples=_shown(names, unused),
        under_trained_examples=_shown(names, sorted(rare, key=lambda token: (counts[token], token))),
        longest={
            script: tuple(sorted(texts_, key=lambda text: (-len(text), text))[:LONGEST])
            for script, texts_ in sorted(by_script.items())
        },
        lengths={script: dict(sorted(found.items())) for script, found in sorted(lengths.items())},
        single_bytes=sum(count for token, count in counts.items() if token not in whole) / total,
        characters_covered=covered / max(1, len(different)),
        unknown=counts[unknown] / total if unknown is not None else 0.0,
    )


def script_of(text: str) -> str:
    """The first script of the list that a text has a character of."""
    for name, pattern in _SCRIPTS.items():
        if regex.search(pattern, text):
            return name
    return "others"


def _text(name: bytes) -> str | None:
    try:
        return name.decode()
    except UnicodeDecodeError:
        return None


def _shown(names: Sequence[bytes], tokens: Sequence[int]) -> tuple[str, ...]:
    return tuple(names[token].decode("utf-8", "backslashreplace") for token in tokens[:EXAMPLES])
