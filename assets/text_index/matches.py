"""From a text to the training data, piece by piece: its longest pieces that occur there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from assets.text_index.opened import TextIndex
from assets.text_index.search import PhraseCount, count, phrase_bytes
from assets.text_index.suffix_array import longest_prefixes
from training.shards import SPLITS, SplitName


@dataclass(frozen=True)
class LongestMatch:
    """A piece of a text that occurs in the training data, while no longer piece that holds it does.

    Attributes:
        start: Characters of the text before it.
        text: The piece.
        count: How often it occurs, and in how many documents.
    """

    start: int
    text: str
    count: PhraseCount


def longest_matches(
    indexes: Sequence[TextIndex], text: str, *, minimum_characters: int = 10, splits: Sequence[SplitName] = SPLITS
) -> list[LongestMatch]:
    """The pieces of a text that occur in the training data and cannot be made longer on either side, in their order.

    Neighbours may overlap. As in infini-gram (Liu et al. 2024, section 2), but from every character on, in bytes, and
    with the longest piece of all instead of the longest before one token. Time: a binary search a character and part.

    Args:
        indexes: Of one dump each.
        text: Not empty, such as a sample that a model generated.
        minimum_characters: Shorter pieces are left out; 0 or 1 for none.
        splits: Looked at.

    Raises:
        TextIndexError: If the text is empty or no Unicode text, or an index is damaged.
    """
    phrase = phrase_bytes(text)
    begins = np.flatnonzero(phrase & 0xC0 != 0x80)
    lengths = np.zeros(begins.size, dtype=np.int64)
    for index in indexes:
        for part in index.parts:
            opened = index.open(part, many=True)
            if part.split in splits and not longest_prefixes(opened.text, opened.suffixes, phrase, begins, lengths):
                raise index.damaged(part.suffixes_name)
    ends = np.searchsorted(begins, begins + lengths)
    # Where a piece ends no later than the one that begins before it, it lies within that one.
    before = np.concatenate([[0], np.maximum.accumulate(ends)[:-1]])
    starts = np.flatnonzero((ends > before) & (ends - np.arange(begins.size) >= max(minimum_characters, 1)))
    return [
        LongestMatch(start, piece, count(indexes, piece, splits=splits))
        for start, piece in ((int(start), text[start : ends[start]]) for start in starts)
    ]
