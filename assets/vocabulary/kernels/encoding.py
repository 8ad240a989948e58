"""Byte-level BPE of whole texts: each piece is looked up, and merged only if it was not seen before.

The table of pieces has rows of four int64: the first eight bytes of the piece, the next eight (of a piece of more than
sixteen a hash of all), its length and number of ids with its only id or where its ids are kept, and where its bytes are
kept if it is long. So most pieces are found, compared and written with one look at memory.
"""

from __future__ import annotations

from typing import Any

from assets.clean_text.kernels.compiled import compiled
from assets.vocabulary.kernels.pieces import classify, piece_end

ID_BITS = 20
"""Ids lie below two to the power of this."""
_RANK_BITS = 23
NO_RANK = (1 << _RANK_BITS) - 1
"""Of a pair that is not merged; all ranks are lower."""
FREE = -1
"""Third number of a row of the table of pieces, or slot of the table of merges, where nothing is."""
_LOW = 0xFFFF_FFFF
# Odd numbers of no meaning, as signed ones: everything here is int64, whose products wrap around.
_FIRST, _SECOND, _THIRD = -7046029254386353131, -49064778989728563, -4417276706812531889


@compiled
def encode_texts(
    data: Any,
    words: Any,
    offsets: Any,
    classes: Any,
    kinds: Any,
    eights: Any,
    pattern: Any,
    byte_ids: Any,
    byte_pairs: Any,
    merges: Any,
    merged: Any,
    table: Any,
    kept_bytes: Any,
    kept_ids: Any,
    used: Any,
    symbols: Any,
    ranks: Any,
    out: Any,
    out_offsets: Any,
) -> None:
    """Write the ids of all texts.

    Args:
        data: uint8, the bytes of the texts.
        words: int64, at each place but the last seven the eight bytes from there, little-endian.
        offsets: int64 [texts + 1]: where each begins.
        classes: uint8 [1114112], see ``code_point_classes``.
        kinds: uint8 [bytes of the texts + 8]: room for the class bits of each byte.
        eights: int64 [bytes of the texts + 1]: at each place of ``kinds`` the eight bytes from there.
        pattern: int64 [2]: most Chinese characters, and most digits, in a piece.
        byte_ids: uint32 [256]: the id of each byte.
        byte_pairs: int32 [65536]: rank of two bytes, by the left one times 256 and the right one.
        merges: int64 [slots, a power of two]: two ids that are merged, and their rank, see ``fill_merges``.
        merged: uint32 [merges]: id of the merged token by rank.
        table: int64 [slots, a power of two, 4], see the module's description.
        kept_bytes: uint8: bytes of long pieces.
        kept_ids: uint32: ids of pieces that have several.
        used: int64 [3]: slots, bytes and ids that are taken; when one runs out, all are given up.
        symbols, ranks: uint32 and int32 [longest piece in bytes + 1]: room to work in.
        out: uint32 [bytes of the texts]: the ids, one text after the other.
        out_offsets: int64 [texts + 1]: where each text's ids begin in it.
    """
    written = 0
    slots = len(table)
    shift = offsets[0]
    classify(data, shift, offsets[len(offsets) - 1], classes, kinds)
    for text in range(len(offsets) - 1):
        out_offsets[text] = written
        place, end = offsets[text], offsets[text + 1]
        while place < end:
            stop = piece_end(data, kinds, eights, shift, place, end, pattern[0], pattern[1])
            length = stop - place
            first = _word(data, words, place, length if length < 8 else 8)
            second = 0
            if length > 16:
                second = _hash(data, words, place, stop)
            elif length > 8:
                second = _word(data, words, place + 8, length - 8)
            slot = _slot(first, second, slots)
            found = False
            while table[slot, 2] != FREE:
                if table[slot, 0] == first and table[slot, 1] == second and (table[slot, 2] >> 48) == length:
                    found = True
                    if length > 16:
                        begin = table[slot, 3]
                        for step in range(length):
                            if kept_bytes[begin + step] != data[place + step]:
                                found = False
                                break
                    if found:
                        break
                slot = (slot + 1) & (slots - 1)
            if found:
                entry = table[slot, 2]
                count = (entry >> 32) & 0xFFFF
                value = entry & _LOW
                if count == 1:
                    out[written] = value
                    written += 1
                else:
                    for step in range(count):
                        out[written] = kept_ids[value + step]
                        written += 1
            else:
                count = _merge(data, place, stop, byte_ids, byte_pairs, merges, merged, symbols, ranks)
                for step in range(count):
                    out[written] = symbols[step]
                    written += 1
                if used[1] + length > len(kept_bytes) or used[2] + count > len(kept_ids) or 2 * used[0] > slots:
                    for other in range(slots):
                        table[other, 2] = FREE
                    used[0] = used[1] = used[2] = 0
                    slot = _slot(first, second, slots)
                value = int(symbols[0])
                if count > 1:
                    value = used[2]
                    for step in range(count):
                        kept_ids[value + step] = symbols[step]
                    used[2] += count
                if length > 16:
                    table[slot, 3] = used[1]
                    for step in range(length):
                        kept_bytes[used[1] + step] = data[place + step]
                    used[1] += length
                table[slot, 0] = first
                table[slot, 1] = second
                table[slot, 2] = (length << 48) | (count << 32) | value
                used[0] += 1
            place = stop
    out_offsets[len(offsets) - 1] = written


@compiled
def _word(data: Any, words: Any, place: int, length: int) -> Any:
    """The first ``length`` of the eight bytes from a place as one little-endian number."""
    if place < len(words):
        return words[place] if length == 8 else words[place] & ((1 << (8 * length)) - 1)
    word = 0
    for step in range(length):
        word |= int(data[place + step]) << (8 * step)
    return word


@compiled
def _hash(data: Any, words: Any, place: int, stop: int) -> Any:
    """A 64-bit hash; its constants are odd and of no meaning."""
    state = _FIRST
    while place < stop:
        state = (state ^ _word(data, words, place, stop - place if stop - place < 8 else 8)) * _SECOND
        state ^= state >> 32
        place += 8
    return state


@compiled
def _slot(first: int, second: int, slots: int) -> Any:
    """Where a piece is looked for first."""
    mixed = (first ^ (second * _THIRD)) * _FIRST
    return (mixed ^ (mixed >> 29)) >> 13 & (slots - 1)


@compiled
def _merge(
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
    """Merge the pairs of a piece, always the leftmost of the lowest rank; the number of symbols that are left."""
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
            ranks[chosen - 1] = _rank(merges, symbols[chosen - 1], symbols[chosen])
        if chosen < count - 1:
            ranks[chosen] = _rank(merges, symbols[chosen], symbols[chosen + 1])
    return count


@compiled
def _rank(merges: Any, left: int, right: int) -> Any:
    """Rank of a pair, or ``NO_RANK``."""
    key = int(left) << ID_BITS | int(right)
    slots = len(merges)
    slot = _merge_slot(key, slots)
    while merges[slot] != FREE:
        if merges[slot] >> _RANK_BITS == key:
            return int(merges[slot]) & NO_RANK
        slot = (slot + 1) & (slots - 1)
    return NO_RANK


@compiled
def _merge_slot(key: int, slots: int) -> Any:
    return (key * _FIRST) >> 40 & (slots - 1)


@compiled
def fill_merges(pairs: Any, byte_ids: Any, merges: Any, byte_pairs: Any) -> None:
    """Write a vocabulary's merges, pairs int64 [merges, 2] in the order of their ranks, into an empty table."""
    slots = len(merges)
    for rank in range(len(pairs)):
        key = int(pairs[rank, 0]) << ID_BITS | int(pairs[rank, 1])
        slot = _merge_slot(key, slots)
        while merges[slot] != FREE:
            slot = (slot + 1) & (slots - 1)
        merges[slot] = key << _RANK_BITS | rank
    for left in range(256):
        for right in range(256):
            byte_pairs[left << 8 | right] = _rank(merges, byte_ids[left], byte_ids[right])
