"""Byte-level BPE of one piece: from its bytes, or where that is proved to give the same, from its whole characters.

Always the leftmost pair of the lowest rank is merged. ``assets.vocabulary.kernels.whole_characters`` says which
characters may be merged first, and why.
"""

from __future__ import annotations

from typing import Any

from assets.clean_text.kernels.compiled import compiled, inlined
from assets.vocabulary.kernels.classes import UNSPACED_SCRIPT

ID_BITS = 20
"""Ids lie below two to the power of this."""
RANK_BITS = 23
NO_RANK = (1 << RANK_BITS) - 1
"""Of a pair that is not merged; all ranks are lower."""
FREE = -1
"""Where nothing is: a slot of the table of merges, a character that may not be merged first."""
GROUPS = 21
"""Groups of merges across the border of two characters."""
AS_LEFT, AS_RIGHT = ID_BITS, ID_BITS + GROUPS
"""Where, in the entry of a character, the groups begin that it may have part in as the left and as the right one."""
_ID, _GROUPS = (1 << ID_BITS) - 1, (1 << GROUPS) - 1
_FACTOR = -7046029254386353131
"""An odd number of no meaning."""


@compiled
def merge_bytes(
    data: Any,
    place: int,
    stop: int,
    byte_ids: Any,
    byte_pairs: Any,
    merges: Any,
    merged: Any,
    symbols: Any,
    ranks: Any,
) -> Any:
    """Merge a piece from its bytes on; the number of symbols that are left.

    Args:
        data: uint8.
        place, stop: The piece, of one byte at least.
        byte_ids: uint32 [256]: the id of each byte.
        byte_pairs: int32 [65536]: rank of two bytes, by the left one times 256 and the right one.
        merges: int64 [slots, a power of two]: two ids that are merged, and their rank, see ``fill_merges``.
        merged: uint32 [merges]: id of the merged token by rank.
        symbols, ranks: uint32 and int32 [bytes of the piece]; the ids are written to the first.
    """
    count = stop - place
    symbols[0] = byte_ids[data[place]]
    for step in range(1, count):
        symbols[step] = byte_ids[data[place + step]]
        ranks[step - 1] = byte_pairs[int(data[place + step - 1]) << 8 | int(data[place + step])]
    return _merge_pairs(count, merges, merged, symbols, ranks)


@inlined
def merge_characters(
    data: Any,
    kinds: Any,
    shift: int,
    place: int,
    end: int,
    most: int,
    characters: Any,
    merges: Any,
    merged: Any,
    symbols: Any,
    ranks: Any,
) -> Any:
    """Cut off a run of Chinese characters or kana and merge it from its characters on.

    Where its end is and the number of symbols that are left: 0 where they may be others than from its bytes on.

    Args:
        data: uint8, valid UTF-8.
        kinds, shift: See ``pieces.piece_end``.
        place: Where the run begins.
        end: Where the text ends.
        most: Characters of a run.
        characters: int64 [65536]: the entry of each, see ``fill_characters``, or ``FREE``.
        merges, merged, symbols, ranks: See ``merge_bytes``.
    """
    count, groups = 0, 0
    while count < most and place < end and kinds[place - shift] & UNSPACED_SCRIPT:
        if data[place] & 0xF0 != 0xE0:
            return place, 0
        entry = characters[
            int(data[place] & 0x0F) << 12 | int(data[place + 1] & 0x3F) << 6 | int(data[place + 2] & 0x3F)
        ]
        if entry == FREE or groups & (entry >> AS_RIGHT):
            return place, 0
        symbols[count] = entry & _ID
        groups = entry >> AS_LEFT & _GROUPS
        count += 1
        place += 3
    for step in range(count - 1):
        ranks[step] = rank_of(merges, symbols[step], symbols[step + 1])
    return place, _merge_pairs(count, merges, merged, symbols, ranks)


@compiled
def _merge_pairs(count: int, merges: Any, merged: Any, symbols: Any, ranks: Any) -> Any:
    """Merge so many symbols, of whose pairs the ranks are known."""
    while count > 1:
        best, chosen = NO_RANK, 0
        for step in range(count - 1):
            if ranks[step] < best:
                best, chosen = ranks[step], step
        if best == NO_RANK:
            break
        symbols[chosen] = merged[best]
        count -= 1
        for step in range(chosen + 1, count):
            symbols[step] = symbols[step + 1]
            ranks[step - 1] = ranks[step]
        if chosen > 0:
            ranks[chosen - 1] = rank_of(merges, symbols[chosen - 1], symbols[chosen])
        if chosen < count - 1:
            ranks[chosen] = rank_of(merges, symbols[chosen], symbols[chosen + 1])
    return count


@compiled
def rank_of(merges: Any, left: int, right: int) -> Any:
    """Rank of a pair, or ``NO_RANK``."""
    key = int(left) << ID_BITS | int(right)
    slots = len(merges)
    slot = _slot(key, slots)
    while merges[slot] != FREE:
        if merges[slot] >> RANK_BITS == key:
            return int(merges[slot]) & NO_RANK
        slot = (slot + 1) & (slots - 1)
    return NO_RANK


@compiled
def _slot(key: int, slots: int) -> Any:
    return (key * _FACTOR) >> 40 & (slots - 1)


@compiled
def fill_merges(pairs: Any, byte_ids: Any, merges: Any, byte_pairs: Any) -> None:
    """Write a vocabulary's merges, pairs int64 [merges, 2] in the order of their ranks, into an empty table."""
    slots = len(merges)
    for rank in range(len(pairs)):
        key = int(pairs[rank, 0]) << ID_BITS | int(pairs[rank, 1])
        slot = _slot(key, slots)
        while merges[slot] != FREE:
            slot = (slot + 1) & (slots - 1)
        merges[slot] = key << RANK_BITS | rank
    for left in range(256):
        for right in range(256):
            byte_pairs[left << 8 | right] = rank_of(merges, byte_ids[left], byte_ids[right])
