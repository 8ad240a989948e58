"""From the repeated windows of a document to the bytes that go."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pyarrow as pa

from assets.clean_text.characters import Array
from assets.clean_text.repeated_text.sentences import after_extensions, sentence_break, sentence_table
from assets.clean_text.repeated_text.token_positions import WORD, Tokens, read_tokens
from assets.clean_text.tokens import text_bytes, token_table

_FIELDS: list[pa.Field[Any]] = [
    pa.field("row", pa.int64()),
    pa.field("byte_start", pa.int64()),
    pa.field("byte_end", pa.int64()),
    pa.field("copy", pa.int64()),
]

PASSAGE_CUTS: pa.Schema = pa.schema(_FIELDS)
"""What ``cut_passages`` returns: number of the document, bytes in its UTF-8, and the document where they stay."""


def cut_passages(
    texts: pa.StringArray, rows: Array, tokens: Array, copies: Array, *, words: int, whole_sentences: bool
) -> pa.Table:
    """The byte ranges that repeated windows cover, schema ``PASSAGE_CUTS``, in order and without overlap.

    Windows that overlap or follow each other make one passage. With ``whole_sentences``, a passage that begins within a
    sentence begins with the next one, and it ends with the last one that it holds to its end; an edge without such a
    place less than ``words`` words inside stays where it is. A passage is handed out in parts where the
    copy of its windows changes.

    Args:
        texts: n texts without nulls; ``row`` is the place in this array.
        rows: int64, ascending: the document of each repeated window.
        tokens: int64, ascending for each document: the window's first token.
        copies: int64: the document that has the same window, passed on.
        words: Length of the windows.
        whole_sentences: Leave sentences whole of which only a part is repeated.
    """
    data, offsets = text_bytes(texts)
    columns = _cut_passages(
        data, offsets, token_table(), sentence_table(), rows, tokens, copies, words * WORD, whole_sentences
    )
    return pa.table(list(columns), schema=PASSAGE_CUTS)


@numba.njit(cache=True, nogil=True)
def _cut_passages(
    data: Array,
    offsets: Array,
    token_kinds: Array,
    sentence_kinds: Array,
    rows: Array,
    windows: Array,
    copies: Array,
    weight: int,
    whole_sentences: bool,
) -> tuple[Array, Array, Array, Array]:
    room = len(rows)
    cut_rows, cut_copies = np.empty(room, np.int64), np.empty(room, np.int64)
    cut_starts, cut_ends = np.empty(room, np.int64), np.empty(room, np.int64)
    used = place = 0
    while place < len(rows):
        row = rows[place]
        begin, end = offsets[row], offsets[row + 1]
        tokens = read_tokens(data, begin, end, token_kinds)
        while place < len(rows) and rows[place] == row:
            part, first, stop = place, windows[place], windows[place]
            while place < len(rows) and rows[place] == row and windows[place] <= stop:
                stop = _window_stop(tokens, windows[place], weight)
                place += 1
            position = after_extensions(data, tokens.starts[first], end, sentence_kinds)
            last = after_extensions(data, tokens.ends[stop - 1], end, sentence_kinds)
            if whole_sentences:
                position = _sentence_start(data, begin, end, sentence_kinds, tokens, first, stop, weight, position)
                last = _sentence_end(data, end, sentence_kinds, tokens, first, stop, weight, last)
            # In parts, one for each document that has what follows.
            while part < place and position < last:
                copy = copies[part]
                while part < place and copies[part] == copy:
                    stop = _window_stop(tokens, windows[part], weight)
                    part += 1
                part_end = min(tokens.starts[stop], last) if part < place and stop < len(tokens.starts) else last
                if position < part_end:
                    cut_rows[used], cut_copies[used] = row, copy
                    cut_starts[used], cut_ends[used] = position - begin, part_end - begin
                    used += 1
                    position = part_end
    return cut_rows[:used], cut_starts[:used], cut_ends[:used], cut_copies[:used]


@numba.njit(cache=True, nogil=True)
def _window_stop(tokens: Tokens, first: int, weight: int) -> Any:
    """The token after the shortest window of a weight."""
    return np.searchsorted(tokens.weights, tokens.weights[first] + weight)


@numba.njit(cache=True, nogil=True)
def _sentence_start(
    data: Array, begin: int, end: int, kinds: Array, tokens: Tokens, first: int, stop: int, weight: int, otherwise: int
) -> Any:
    """Where the first sentence begins in a passage of the tokens ``first`` to ``stop``, if near enough to its edge."""
    for token in range(first, stop):
        if tokens.weights[token] - tokens.weights[first] >= weight:
            break
        if token == 0:
            return begin
        _, begins = sentence_break(data, tokens.ends[token - 1], tokens.starts[token], end, kinds)
        if begins >= 0:
            return begins
    return otherwise


@numba.njit(cache=True, nogil=True)
def _sentence_end(
    data: Array, end: int, kinds: Array, tokens: Tokens, first: int, stop: int, weight: int, otherwise: int
) -> Any:
    """Where the last sentence ends, likewise."""
    for token in range(stop, first, -1):
        if tokens.weights[stop] - tokens.weights[token] >= weight:
            break
        if token == len(tokens.starts):
            return end
        ends, _ = sentence_break(data, tokens.ends[token - 1], tokens.starts[token], end, kinds)
        if ends >= 0:
            return ends
    return otherwise
