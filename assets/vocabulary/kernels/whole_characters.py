"""Which characters byte-level BPE may take as whole ones from the beginning, without another result.

A merge is *within* a character if both of its tokens are bytes of one that is not complete with the left one; *whole*
if both are whole characters; *across* if the left one is whole or the end of a character and the right one whole or the
beginning of one, but not both whole. In a piece where no merge across is possible every symbol is a part of a character
or some whole ones. Merges within one character then have no part in those within another, and only they complete it.
Say every whole merge with a character has a higher rank than all merges that complete it. Then the next whole merge is
the same whether all characters are complete or not: if it were one with a character that is not yet complete, it would
have a lower rank than the one that is chosen, which has a lower rank than the merge that the character waits for, which
has a lower rank than the first. (By induction over the whole merges; pairs of the same rank are the same pair.)

Only characters of three bytes are looked at here: nearly all Chinese characters and kana.
"""

from __future__ import annotations

from typing import Any

from assets.clean_text.kernels.compiled import compiled
from assets.vocabulary.kernels.merge_table import NO_RANK, rank_of
from assets.vocabulary.kernels.run_merging import AS_LEFT, AS_RIGHT, GROUPS, REFUSED

CHARACTERS = 1 << 16
_FIRST_OF_THREE_BYTES = 0x800
_WHOLE, _BEGINNING, _END, _MIXED = 0, 1, 2, 3


@compiled
def fill_characters(
    names: Any,
    offsets: Any,
    pairs: Any,
    byte_ids: Any,
    merges: Any,
    seeds: Any,
    merged: Any,
    first_whole: Any,
    characters: Any,
) -> None:
    """Write the entry of each character, or ``REFUSED``.

    An entry is its id and two bits for each group of merges across: whether the character may have part in one of them
    as the left one and as the right one. Where two neighbours share no group there is no merge across.

    Args:
        names: uint8: the bytes of the left and the right token of each merge, one after the other.
        offsets: int64 [2 * merges + 1]: where each begins.
        pairs: int64 [merges, 2]: their ids.
        byte_ids, merges, seeds, merged: See ``piece_merging.merge_bytes``.
        first_whole: int32 [ids], all ``NO_RANK``: the lowest rank of a whole merge with a token is written.
        characters: int64 [65536], written.
    """
    for rank in range(len(pairs) - 1, -1, -1):
        left = _form(names, offsets[2 * rank], offsets[2 * rank + 1])
        right = _form(names, offsets[2 * rank + 1], offsets[2 * rank + 2])
        if left == _WHOLE and right == _WHOLE:
            first_whole[pairs[rank, 0]] = rank
            first_whole[pairs[rank, 1]] = rank
    for code in range(CHARACTERS):
        characters[code] = REFUSED
        if code >= _FIRST_OF_THREE_BYTES and not 0xD800 <= code < 0xE000:
            characters[code] = _id(code, byte_ids, merges, seeds, merged, first_whole)
    for rank in range(len(pairs)):
        begin, middle, end = offsets[2 * rank], offsets[2 * rank + 1], offsets[2 * rank + 2]
        left, right = _form(names, begin, middle), _form(names, middle, end)
        if (left == _WHOLE and right == _BEGINNING) or (left == _END and right in (_WHOLE, _BEGINNING)):
            _mark(names, begin, middle, end, left, right, characters)


@compiled
def _id(code: int, byte_ids: Any, merges: Any, seeds: Any, merged: Any, first_whole: Any) -> Any:
    """Id of a character that is a token of its own before it is part of any whole merge, else ``REFUSED``."""
    first = int(byte_ids[0xE0 | code >> 12])
    second = int(byte_ids[0x80 | code >> 6 & 0x3F])
    third = int(byte_ids[0x80 | code & 0x3F])
    left, right = rank_of(merges, seeds, first, second), rank_of(merges, seeds, second, third)
    rank = min(left, right)
    if rank == NO_RANK:
        return REFUSED
    if left <= right:
        first, second = int(merged[left]), third
    else:
        second = int(merged[right])
    last = rank_of(merges, seeds, first, second)
    if last == NO_RANK or max(rank, last) >= first_whole[merged[last]]:
        return REFUSED
    return int(merged[last])


@compiled
def _form(names: Any, begin: int, end: int) -> Any:
    """Whether bytes are whole characters, the beginning of one, the end of one, or anything else."""
    place = begin
    while place < end and names[place] & 0xC0 == 0x80:
        place += 1
    if place == end:
        return _END
    if place > begin:
        return _MIXED
    while place < end:
        lead = names[place]
        following = place + (1 if lead < 0x80 else 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4)
        for step in range(place + 1, min(following, end)):
            if names[step] & 0xC0 != 0x80:
                return _MIXED
        if following > end:
            return _BEGINNING if place == begin else _MIXED
        if following < end and names[following] & 0xC0 == 0x80:
            return _MIXED
        place = following
    return _WHOLE


@compiled
def _mark(names: Any, begin: int, middle: int, end: int, left: int, right: int, characters: Any) -> None:
    """Mark the characters that may meet in a merge across, whose tokens are ``begin:middle`` and ``middle:end``."""
    size, first = min(3, end - middle), 0
    if names[middle] & 0xF0 != 0xE0 or (middle - begin > 2 and left == _END):
        return
    if left == _WHOLE and (middle - begin < 3 or names[middle - 3] & 0xF0 != 0xE0):
        return
    for step in range(size):
        first = first << 6 | int(names[middle + step] & (0x0F if step == 0 else 0x3F))
    missing = 6 * (3 - size)
    group = (first * 31 + size) % GROUPS
    for code in range(first << missing, (first + 1) << missing):
        if characters[code] != REFUSED:
            characters[code] |= 1 << (AS_RIGHT + group)
    known, last = 3 if left == _WHOLE else middle - begin, 0
    for step in range(middle - known, middle):
        last = last << 6 | int(names[step] & 0x3F)
    apart = 1 << (6 * known)
    for code in range(last & (CHARACTERS - 1), CHARACTERS, apart):
        if characters[code] != REFUSED:
            characters[code] |= 1 << (AS_LEFT + group)
