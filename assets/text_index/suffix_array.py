"""Suffix arrays over bytes: sorting the suffixes, and binary search among them.

Manber, Myers: Suffix Arrays: A New Method for On-Line String Searches, 1993 (section 3 for the search that does not
compare twice what it knows to be equal). Sorted by libdivsufsort (Fischer and Kurpicz: Dismantling DivSufSort, 2017).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from pydivsufsort import divsufsort

from assets.clean_text.kernels.compiled import compiled
from assets.text_index.format import END, POSITION
from assets.text_index.token_text import Bytes
from training.shards import Ids

Positions = npt.NDArray[np.uint32]


def sort_suffixes(text: Bytes) -> Positions:
    """Positions at which a character begins, sorted by the bytes from there to the end; those of 0xFF are left out.

    Memory: four bytes a byte of text.

    Args:
        text: uint8 [bytes], at least one, fewer than 2^31.

    Returns:
        uint32 [characters].
    """
    suffixes: npt.NDArray[Any] = divsufsort(text)
    return suffixes[: _keep_beginnings(text, suffixes)].view(POSITION)


@compiled
def _keep_beginnings(text: Bytes, suffixes: npt.NDArray[np.int32]) -> int:
    kept = 0
    for position in suffixes:
        byte = text[position]
        if byte != END and byte & 0xC0 != 0x80:
            suffixes[kept] = position
            kept += 1
    return kept


@compiled
def find(text: Bytes, suffixes: Positions, phrase: Bytes, begin: int, behind: bool) -> tuple[int, int, int]:
    """Where ``phrase[begin:]`` belongs among the suffixes.

    Args:
        text: uint8 [bytes].
        suffixes: Of it, uint32 [characters].
        phrase: uint8 [bytes].
        begin: What is before it is not looked for.
        behind: Whether to go behind all suffixes that begin so, or before them.

    Returns:
        The number of suffixes before that place, and how many bytes the suffix just before it and the one just behind
        it share with the phrase. The number is -1 if a position is not in the text: one of the two is damaged.
    """
    low, high = 0, len(suffixes)
    shared_low = shared_high = 0
    wanted = phrase.size - begin
    while low < high:
        middle = (low + high) // 2
        position = int(np.int64(suffixes[middle]))  # unsigned and signed would add up to a float
        if position >= text.size:
            return -1, 0, 0
        most = min(wanted, text.size - position)
        # All suffixes between two share at least what both share with the phrase.
        shared = min(shared_low, shared_high, most)
        while shared < most and text[position + shared] == phrase[begin + shared]:
            shared += 1
        before = behind or shared < wanted
        if shared < most:
            before = text[position + shared] < phrase[begin + shared]
        if before:
            low, shared_low = middle + 1, shared
        else:
            high, shared_high = middle, shared
    return low, shared_low, shared_high


@compiled
def longest_prefixes(text: Bytes, suffixes: Positions, phrase: Bytes, begins: Ids, lengths: Ids) -> bool:
    """How much of a phrase, from each of several places on, occurs in the text.

    Args:
        text, suffixes: As for ``find``.
        phrase: uint8 [bytes].
        begins: First bytes of characters of the phrase, int64 [places].
        lengths: Raised to the bytes of the longest whole characters that occur, int64 [places].

    Returns:
        False if the index is damaged.
    """
    for place in range(begins.size):
        begin = begins[place]
        number, before, behind = find(text, suffixes, phrase, begin, False)
        if number < 0:
            return False
        longest = max(before, behind)
        while begin + longest < phrase.size and phrase[begin + longest] & 0xC0 == 0x80:
            longest -= 1
        lengths[place] = max(lengths[place], longest)
    return True
