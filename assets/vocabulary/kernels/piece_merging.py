"""Byte-level BPE of one piece from its bytes on: always the leftmost pair of the lowest rank is merged."""

from __future__ import annotations

from typing import Any

from assets.clean_text.kernels.compiled import compiled
from assets.vocabulary.kernels.merge_table import NO_RANK, rank_of


@compiled
def merge_bytes(
    data: Any,
    place: int,
    stop: int,
    byte_ids: Any,
    byte_pairs: Any,
    merges: Any,
    seeds: Any,
    merged: Any,
    symbols: Any,
    ranks: Any,
) -> Any:
    """Merge a piece; the number of ids that are left.

    Args:
        data: uint8.
        place, stop: The piece, of one byte at least.
        byte_ids: uint32 [256]: the id of each byte.
        byte_pairs: int32 [65536]: rank of two bytes, by the left one times 256 and the right one.
        merges, seeds: See ``merge_table``.
        merged: uint32 [merges]: id of the merged token by rank.
        symbols, ranks: uint32 and int64 [bytes of the piece]; the ids are written to the first.
    """
    count = stop - place
    symbols[0] = byte_ids[data[place]]
    for step in range(1, count):
        symbols[step] = byte_ids[data[place + step]]
        ranks[step - 1] = byte_pairs[int(data[place + step - 1]) << 8 | int(data[place + step])]
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
            ranks[chosen - 1] = rank_of(merges, seeds, symbols[chosen - 1], symbols[chosen])
        if chosen < count - 1:
            ranks[chosen] = rank_of(merges, seeds, symbols[chosen], symbols[chosen + 1])
    return count


@compiled
def fill_byte_pairs(byte_ids: Any, merges: Any, seeds: Any, byte_pairs: Any) -> None:
    """Write the rank of every two bytes, see ``merge_bytes``."""
    for left in range(256):
        for right in range(256):
            byte_pairs[left << 8 | right] = rank_of(merges, seeds, byte_ids[left], byte_ids[right])
