"""Hashes by which repeated passages are found: a sample of short windows for all documents, all long windows for few.

A passage of W words weighs 2 W (see ``token_positions.WORD``). Two documents that share one share every window of half
its weight in it, and at least W // 2 + 1 of these in a row. Of any W // 2 + 1 windows in a row winnowing selects the
one with the lowest hash (Schleimer, Wilkerson and Aiken 2003, "Winnowing: Local Algorithms for Document
Fingerprinting"), the same in both documents. So a passage of at least W words is never missed, though only about 4 of W
windows are stored.

For documents that share a selected window, ``hash_passages`` hashes every window of the full weight around it with 128
bits: among ten billion windows, the chance of one wrong pair is below 10^-18.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pyarrow as pa

from assets.clean_text.characters import Array
from assets.clean_text.repeated_text.token_positions import WORD, read_tokens, window_hashes, window_stops
from assets.clean_text.tokens import mix, text_bytes, token_table

_WINDOW_FIELDS: list[pa.Field[Any]] = [pa.field("row", pa.int64()), pa.field("hash", pa.uint64())]

WINDOWS: pa.Schema = pa.schema(_WINDOW_FIELDS)
"""Schema of ``windows.parquet``: number of the document and hash of a selected window, each once, by row and hash."""

_PASSAGE_FIELDS: list[pa.Field[Any]] = [
    pa.field("row", pa.int64()),
    pa.field("token", pa.int64()),
    pa.field("hash", pa.uint64()),
    pa.field("check", pa.uint64()),
]

PASSAGES: pa.Schema = pa.schema(_PASSAGE_FIELDS)
"""What ``hash_passages`` returns: number of the document, number of the window's first token in it, the two hashes."""

_BASE = np.uint64(0x9E3779B97F4A7C15)
_CHECK_BASE = np.uint64(0xD6E8FEB86659FD93)


def hash_windows(texts: pa.StringArray, *, words: int) -> pa.Table:
    """The selected windows of some documents, schema ``WINDOWS``.

    Args:
        texts: n texts without nulls; ``row`` is the place in this array.
        words: W, the shortest passage that shall be found.
    """
    data, offsets = text_bytes(texts)
    rows, hashes = _select_windows(data, offsets, token_table(), words)
    return pa.table([rows, hashes], schema=WINDOWS)


def hash_passages(texts: pa.StringArray, rows: Array, shared: Array, *, words: int) -> pa.Table:
    """All windows of ``words`` words around windows that other documents have too, schema ``PASSAGES``.

    Args:
        texts: n texts without nulls; ``row`` is the place in this array.
        rows: int64, ascending: documents with shared windows, once for each.
        shared: uint64: hashes of these windows, as ``hash_windows`` gives them, ascending for each document.
        words: W, as in ``hash_windows``.
    """
    data, offsets = text_bytes(texts)
    return pa.table(list(_hash_passages(data, offsets, token_table(), rows, shared, words)), schema=PASSAGES)


@numba.njit(cache=True, nogil=True)
def _select_windows(data: Array, offsets: Array, table: Array, words: int) -> tuple[Array, Array]:
    in_a_row = words // 2 + 1
    room = 1024
    rows, hashes = np.empty(room, np.int64), np.empty(room, np.uint64)
    used = 0
    for row in range(len(offsets) - 1):
        tokens = read_tokens(data, offsets[row], offsets[row + 1], table)
        if tokens.weights[-1] < words * WORD:
            continue
        stops = window_stops(tokens.weights, words * WORD // 2)
        selected = _winnow(window_hashes(tokens.hashes, stops, _BASE), in_a_row)
        selected.sort()
        if used + len(selected) > room:
            room = 2 * (used + len(selected))
            rows, hashes = _grown(rows, used, room), _grown(hashes, used, room)
        for place in range(len(selected)):
            if place == 0 or selected[place] != selected[place - 1]:
                rows[used], hashes[used] = row, selected[place]
                used += 1
    return rows[:used], hashes[:used]


@numba.njit(cache=True, nogil=True)
def _winnow(hashes: Array, in_a_row: int) -> Array:
    """The lowest of any so many hashes in a row; of equal ones the first, until it is out of reach."""
    selected = np.empty(len(hashes), np.uint64)
    count, lowest = 0, -1
    for last in range(in_a_row - 1, len(hashes)):
        first = last - in_a_row + 1
        if lowest < first:
            lowest = first
            for place in range(first + 1, last + 1):
                if hashes[place] < hashes[lowest]:
                    lowest = place
        elif hashes[last] < hashes[lowest]:
            lowest = last
        else:
            continue
        selected[count] = hashes[lowest]
        count += 1
    return selected[:count]


@numba.njit(cache=True, nogil=True)
def _hash_passages(
    data: Array, offsets: Array, table: Array, rows: Array, shared: Array, words: int
) -> tuple[Array, Array, Array, Array]:
    room, used, begin = 1024, 0, 0
    documents, places = np.empty(room, np.int64), np.empty(room, np.int64)
    hashes, checks = np.empty(room, np.uint64), np.empty(room, np.uint64)
    while begin < len(rows):
        row, stop = rows[begin], begin
        while stop < len(rows) and rows[stop] == row:
            stop += 1
        tokens = read_tokens(data, offsets[row], offsets[row + 1], table)
        stops = window_stops(tokens.weights, words * WORD)
        short_stops = window_stops(tokens.weights, words * WORD // 2)
        short = window_hashes(tokens.hashes, short_stops, _BASE)
        long = window_hashes(tokens.hashes, stops, _BASE)
        for token in range(len(tokens.hashes)):
            tokens.hashes[token] = mix(~tokens.hashes[token])
        check = window_hashes(tokens.hashes, stops, _CHECK_BASE)
        if used + len(stops) > room:
            room = 2 * (used + len(stops))
            documents, places = _grown(documents, used, room), _grown(places, used, room)
            hashes, checks = _grown(hashes, used, room), _grown(checks, used, room)
        inner = 0  # The first shared window at or after the place.
        for place in range(len(stops)):
            while inner < len(short) and (inner < place or not _holds(shared[begin:stop], short[inner])):
                inner += 1
            if inner < len(short) and short_stops[inner] <= stops[place]:
                documents[used], places[used], hashes[used], checks[used] = row, place, long[place], check[place]
                used += 1
        begin = stop
    return documents[:used], places[:used], hashes[:used], checks[:used]


@numba.njit(cache=True, nogil=True)
def _holds(ascending: Array, value: np.uint64) -> bool:
    place = np.searchsorted(ascending, value)
    return bool(place < len(ascending) and ascending[place] == value)


@numba.njit(cache=True, nogil=True)
def _grown(values: Array, used: int, room: int) -> Array:
    grown = np.empty(room, values.dtype)
    grown[:used] = values[:used]
    return grown
