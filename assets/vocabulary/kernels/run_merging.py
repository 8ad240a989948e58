"""Byte-level BPE of a run of Chinese characters and kana, from its whole characters on.

Always the leftmost pair of the lowest rank is merged. ``whole_characters`` says which characters may be merged first,
and why.

A run has few characters, so that what the processor guesses wrong costs more than the work: all loops but the first
take as many steps as the longest run has characters, and pairs that are not there have no rank.
"""

from __future__ import annotations

from typing import Any

from assets.clean_text.kernels.compiled import inlined
from assets.vocabulary.kernels.classes import UNSPACED_SCRIPT
from assets.vocabulary.kernels.merge_table import ID_BITS, NO_ID, NO_RANK, rank_of

REFUSED = -1
"""The entry of a character that may not be merged first."""
GROUPS = 21
"""Groups of merges across the border of two characters."""
AS_LEFT, AS_RIGHT = ID_BITS, ID_BITS + GROUPS
"""Where, in the entry of a character, the groups begin that it may have part in as the left and as the right one."""
_GROUPS = (1 << GROUPS) - 1
_PLACE_BITS = 5
"""Of a place in a run, behind the rank of the pair there, so that the least number is the leftmost of the lowest."""
_NO_PAIR = NO_RANK << _PLACE_BITS


@inlined
def merge_run(
    data: Any,
    kinds: Any,
    shift: int,
    place: int,
    end: int,
    most: int,
    characters: Any,
    merges: Any,
    seeds: Any,
    merged: Any,
    ranks: Any,
    out: Any,
    written: int,
) -> Any:
    """Cut off a run and merge it.

    Where its end is and the number of ids that are left: 0 where they may be others than from its bytes on.

    Args:
        data: uint8, valid UTF-8.
        kinds, shift: See ``pieces.piece_end``.
        place: Where the run begins.
        end: Where the text ends.
        most: Characters of a run.
        characters: int64 [65536]: the entry of each, see ``whole_characters.fill_characters``.
        merges, seeds: See ``merge_table``.
        merged: uint32 [merges]: id of the merged token by rank.
        ranks: int64 [2 * most]: room to work in.
        out: uint32: the ids are written from ``written`` on, and other numbers on twice as many places.
        written: See ``out``.
    """
    for step in range(2 * most):
        ranks[step] = NO_RANK
    count, groups, left, refused, lowest = 0, 0, NO_ID, 0, _NO_PAIR
    while count < most and place < end and kinds[place - shift] & UNSPACED_SCRIPT:
        if data[place] & 0xF0 != 0xE0:
            return place, 0
        entry = characters[
            int(data[place] & 0x0F) << 12 | int(data[place + 1] & 0x3F) << 6 | int(data[place + 2] & 0x3F)
        ]
        refused |= int(entry == REFUSED) | (groups & entry >> AS_RIGHT)
        groups = entry >> AS_LEFT & _GROUPS
        right = entry & NO_ID
        out[written + count] = right
        # The pair of this character and the one before: ranks[1] is that of the first two.
        ranks[count] = rank_of(merges, seeds, left, right)
        lowest = min(lowest, ranks[count] << _PLACE_BITS | count)
        left = right
        count += 1
        place += 3
    if refused:
        return place, 0
    while lowest < _NO_PAIR:
        pair = lowest & (1 << _PLACE_BITS) - 1
        first = written + pair - 1
        whole = merged[lowest >> _PLACE_BITS]
        out[first] = whole
        count -= 1
        for step in range(1, most):
            out[first + step] = out[first + step + 1]
            ranks[pair + step] = ranks[pair + step + 1]
        # What lies before the run and behind it is no part of it: ranks[0] is never looked at.
        ranks[pair - 1] = rank_of(merges, seeds, out[first - 1], whole)
        following = rank_of(merges, seeds, whole, out[first + 1])
        ranks[pair] = following if pair < count else NO_RANK
        lowest = _NO_PAIR
        for step in range(1, most):
            lowest = min(lowest, ranks[step] << _PLACE_BITS | step)
    return place, count
