"""Counting the different pieces of texts in tables of a fixed size.

``table`` has a row a slot: 0 where it is free, else the piece's number plus 1. A piece's bytes begin at ``starts`` in
``kept`` and are ``lengths`` long.
"""

from __future__ import annotations

from typing import Any

from assets.clean_text.kernels.compiled import compiled
from assets.vocabulary.kernels.pieces import classify, piece_end

# FNV-1a's numbers for 64 bits (Fowler, Noll, Vo), as signed ones: products wrap around.
_BASIS, _PRIME = -3750763034362895579, 1099511628211


@compiled
def count_texts(
    data: Any,
    offsets: Any,
    first: int,
    classes: Any,
    kinds: Any,
    eights: Any,
    pattern: Any,
    table: Any,
    starts: Any,
    lengths: Any,
    counts: Any,
    kept: Any,
    used: Any,
) -> Any:
    """Count the pieces of texts, until all are done or the tables may be full; returns the next text.

    Args:
        data: uint8, the bytes of the texts.
        offsets: int64 [texts + 1]: where each begins.
        first: The text to begin with.
        classes: uint8 [1114112], see ``code_point_classes``.
        kinds: uint8 [bytes of the longest text + 8]: room for class bits.
        eights: int64: at each place of ``kinds`` the eight bytes from there.
        pattern: int64 [2]: most Chinese characters, and most digits, in a piece.
        table: int64 [slots, a power of two].
        starts: int64 [pieces + 1].
        lengths: int32 [pieces].
        counts: int64 [pieces].
        kept: uint8: bytes of the pieces.
        used: int64 [2]: pieces, and bytes of ``kept``.
    """
    for text in range(first, len(offsets) - 1):
        start, end = offsets[text], offsets[text + 1]
        # A text has at most as many new pieces, and bytes of them, as it has bytes.
        if used[0] + (end - start) > len(lengths) or used[1] + (end - start) > len(kept):
            return text
        classify(data, start, end, classes, kinds, eights)
        place = start
        while place < end:
            stop = piece_end(data, kinds, eights, start, place, end, pattern[0], pattern[1])
            count_piece(data, place, stop, 1, table, starts, lengths, counts, kept, used)
            place = stop
    return len(offsets) - 1


@compiled
def count_pieces(
    data: Any, offsets: Any, more: Any, table: Any, starts: Any, lengths: Any, counts: Any, kept: Any, used: Any
) -> None:
    """Add counts int64 of pieces that are cut already; see ``count_texts``. There has to be room for all."""
    for piece in range(len(offsets) - 1):
        count_piece(data, offsets[piece], offsets[piece + 1], more[piece], table, starts, lengths, counts, kept, used)


@compiled
def count_piece(
    data: Any,
    place: int,
    stop: int,
    more: int,
    table: Any,
    starts: Any,
    lengths: Any,
    counts: Any,
    kept: Any,
    used: Any,
) -> None:
    """Add to the count of the bytes from ``place`` to ``stop``."""
    mixed = _BASIS
    for byte in range(place, stop):
        mixed = (mixed ^ data[byte]) * _PRIME
    slot = (mixed ^ (mixed >> 29)) & (len(table) - 1)
    length = stop - place
    while table[slot]:
        piece = table[slot] - 1
        if lengths[piece] == length:
            same, kept_at = True, starts[piece]
            for byte in range(length):
                if kept[kept_at + byte] != data[place + byte]:
                    same = False
                    break
            if same:
                counts[piece] += more
                return
        slot = (slot + 1) & (len(table) - 1)
    piece = used[0]
    table[slot] = piece + 1
    starts[piece], lengths[piece], counts[piece] = used[1], length, more
    for byte in range(length):
        kept[used[1] + byte] = data[place + byte]
    used[0] += 1
    used[1] += length
