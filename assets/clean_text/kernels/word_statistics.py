"""What a text's pieces are like."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numba
import numpy as np

from assets.clean_text.kernels.buffers import Array
from assets.clean_text.kernels.pieces import HAS_LETTER, IS_WORD, Pieces, piece_hash

_MOST_STOP_WORDS = 64


class WordStatistics(NamedTuple):
    """Counts over n texts; int64 (n,) each.

    Attributes:
        pieces: Words and marks.
        words: Pieces with a character that is no mark.
        characters: Characters of the words.
        lettered: Pieces with a letter.
        stop_words: Different stop words among the pieces.
    """

    pieces: Array
    words: Array
    characters: Array
    lettered: Array
    stop_words: Array


def word_statistics(pieces: Pieces, stop_words: Sequence[str]) -> WordStatistics:
    """Count the pieces of texts.

    Args:
        pieces: Of n texts.
        stop_words: At most 64, compared as they are written.

    Raises:
        ValueError: If there are more stop words.
    """
    if len(stop_words) > _MOST_STOP_WORDS:
        raise ValueError(f"{len(stop_words)} stop words are more than {_MOST_STOP_WORDS}")
    hashes = np.sort(np.array([piece_hash(word) for word in stop_words], np.uint64))
    longest = max(map(len, stop_words), default=0)
    return WordStatistics(*_count(pieces.starts, pieces.hashes, pieces.lengths, pieces.flags, hashes, longest).T.copy())


@numba.njit(cache=True, nogil=True)
def _count(starts, hashes, lengths, flags, stop_words, longest):  # type: ignore[no-untyped-def]
    result = np.zeros((len(starts) - 1, 5), np.int64)
    for text in range(len(starts) - 1):
        row = result[text]
        found = np.uint64(0)
        for piece in range(starts[text], starts[text + 1]):
            flag = flags[piece]
            row[0] += 1
            if flag & IS_WORD:
                row[1] += 1
                row[2] += lengths[piece]
            if flag & HAS_LETTER:
                row[3] += 1
            if lengths[piece] <= longest:
                value = hashes[piece]
                place = np.searchsorted(stop_words, value)
                if place < len(stop_words) and stop_words[place] == value:
                    found |= np.uint64(1) << np.uint64(place)
        while found:
            row[4] += 1
            found &= found - np.uint64(1)
    return result
