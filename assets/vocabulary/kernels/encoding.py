"""Byte-level BPE of whole texts, piece by piece.

Runs of Chinese characters and kana, which are seldom the same twice, are merged from their characters on; any other
piece is looked up, and merged only if it was not seen before.
"""

from __future__ import annotations

from typing import Any

from assets.clean_text.kernels.compiled import compiled
from assets.vocabulary.kernels.classes import UNSPACED_SCRIPT
from assets.vocabulary.kernels.merge_table import NO_RANK
from assets.vocabulary.kernels.piece_merging import merge_bytes
from assets.vocabulary.kernels.piece_table import find, keep, key, write
from assets.vocabulary.kernels.pieces import classify, piece_end
from assets.vocabulary.kernels.run_merging import merge_run

SPARE = 32
"""Room behind the ids that are written: some are written beyond them, whether so many are wanted or not."""


@compiled
def encode_texts(
    data: Any,
    words: Any,
    offsets: Any,
    kinds: Any,
    eights: Any,
    classes: Any,
    pattern: Any,
    byte_ids: Any,
    byte_pairs: Any,
    characters: Any,
    merges: Any,
    seeds: Any,
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
        kinds: uint8 [bytes of the texts + 8]: room for the class bits of each byte.
        eights: int64 [bytes of the texts + 1]: at each place of ``kinds`` the eight bytes from there.
        classes: uint8 [1114112], see ``code_point_classes``.
        pattern: int64 [2]: most Chinese characters, and most digits, in a piece.
        byte_ids, byte_pairs, merged: See ``piece_merging.merge_bytes``.
        characters: int64 [65536], see ``whole_characters.fill_characters``.
        merges, seeds: See ``merge_table``.
        table, kept_bytes, kept_ids, used: See ``piece_table.keep``; nothing else is kept from one call to the next.
        symbols, ranks: uint32 and int64 [longest piece in bytes + 1]: room to work in.
        out: uint32 [bytes of the texts + ``SPARE``]: the ids, one text after the other.
        out_offsets: int64 [texts + 1]: where each text's ids begin in it.
    """
    written, most, texts = 0, pattern[0], len(offsets) - 1
    shift = offsets[0]
    classify(data, shift, offsets[texts], classes, kinds, eights)
    for text in range(texts):
        out_offsets[text] = written
        place, end = offsets[text], offsets[text + 1]
        while place < end:
            if kinds[place - shift] & UNSPACED_SCRIPT:
                stop, count = merge_run(
                    data, kinds, shift, place, end, most, characters, merges, seeds, merged, ranks, out, written
                )
                if count > 0:
                    written += count
                    place = stop
                    continue
            stop = piece_end(data, kinds, eights, shift, place, end, most, pattern[1])
            length = stop - place
            if length <= 2:
                rank = byte_pairs[int(data[place]) << 8 | int(data[stop - 1])] if length == 2 else NO_RANK
                out[written] = byte_ids[data[place]] if rank == NO_RANK else merged[rank]
                out[written + 1] = byte_ids[data[stop - 1]]
                written += length if rank == NO_RANK else 1
                place = stop
                continue
            first, second = key(data, words, place, length)
            row, found = find(data, place, length, first, second, table, kept_bytes)
            if found:
                written = write(length, table, row, kept_ids, out, written)
            else:
                count = merge_bytes(data, place, stop, byte_ids, byte_pairs, merges, seeds, merged, symbols, ranks)
                for step in range(count):
                    out[written + step] = symbols[step]
                written += count
                keep(data, place, length, first, second, row, symbols, count, table, kept_bytes, kept_ids, used)
            place = stop
    out_offsets[texts] = written
