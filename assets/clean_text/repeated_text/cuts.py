"""Cuts: bytes that go from a text, and the text without them."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assets.clean_text.arrays import single_array
from assets.clean_text.characters import Array
from assets.clean_text.errors import CleanTextError
from assets.clean_text.repeated_text.lines import space_size
from assets.clean_text.tokens import text_bytes

_FIELDS: list[pa.Field[Any]] = [
    pa.field("doc_id", pa.string()),
    pa.field("kind", pa.string()),
    pa.field("byte_start", pa.int64()),
    pa.field("byte_end", pa.int64()),
    pa.field("copy_of", pa.string()),
]

CUTS: pa.Schema = pa.schema(_FIELDS)
"""Schema of ``cuts-<dump>.parquet``: a row for each cut, by doc_id and byte_start; those of a document do not overlap.

``kind`` is ``repeated_line``, ``repeated_paragraph`` or ``repeated_text`` (a passage); ``byte_start`` and ``byte_end``
count in the UTF-8 of the filtered text; ``copy_of`` is the document where the same text stays, null where it stays in
none (boilerplate)."""

_LINE_FEED = ord("\n")


def apply_cuts(texts: pa.StringArray, doc_ids: pa.StringArray, cuts: pa.Table) -> tuple[pa.StringArray, pa.Array[Any]]:
    """Texts without what is cut, and how many bytes each has lost (int64).

    What stands on both sides is joined by the strongest break that stood there: as many line feeds in a row as before,
    within or after the cut; else the white space before or after it; else nothing. The line that follows keeps its
    indentation. Nothing is left of a text that is cut from one end to the other, nor breaks at the ends of others.

    Args:
        texts: n texts without nulls.
        doc_ids: Their ids, each different.
        cuts: Schema ``CUTS``, in any order; cuts may overlap, and those of other documents are passed over.

    Raises:
        CleanTextError: If a cut ends beyond its text or within a character, so that it was made for another text.
    """
    owners = pc.index_in(cuts["doc_id"], doc_ids)
    chosen = cuts.set_column(0, "row", owners).filter(pc.is_valid(owners))
    chosen = chosen.sort_by([("row", "ascending"), ("byte_start", "ascending")])
    rows, starts, ends = (
        single_array(chosen[name]).to_numpy().astype(np.int64) for name in ("row", "byte_start", "byte_end")
    )
    data, offsets = text_bytes(texts)
    wrong = _first_wrong(data, offsets, rows, starts, ends)
    if wrong >= 0:
        raise CleanTextError(
            f"document {doc_ids[rows[wrong]].as_py()}: the cut from byte {starts[wrong]} to {ends[wrong]} does not fit "
            "its text; run the stage that finds repeated text again"
        )
    content, new_offsets = _without(data, offsets, rows, starts, ends)
    buffers = [None, pa.py_buffer(new_offsets.astype(np.int32).data), pa.py_buffer(content.data)]
    shortened: pa.StringArray = pa.Array.from_buffers(pa.string(), len(texts), buffers)  # type: ignore[assignment]
    return shortened, pa.array(np.diff(offsets) - np.diff(new_offsets))


@numba.njit(cache=True, nogil=True)
def _first_wrong(data: Array, offsets: Array, rows: Array, starts: Array, ends: Array) -> int:
    """The first cut that does not begin and end between characters of its text, -1 if all do."""
    for cut in range(len(rows)):
        begin, end = offsets[rows[cut]], offsets[rows[cut] + 1]
        if not 0 <= starts[cut] < ends[cut] <= end - begin:
            return cut
        for position in (begin + starts[cut], begin + ends[cut]):
            if position < end and data[position] & 0xC0 == 0x80:
                return cut
    return -1


@numba.njit(cache=True, nogil=True)
def _without(data: Array, offsets: Array, rows: Array, starts: Array, ends: Array) -> tuple[Array, Array]:
    result = np.empty(offsets[-1] - offsets[0], np.uint8)
    new_offsets = np.zeros(len(offsets), np.int64)
    used = cut = 0
    for row in range(len(offsets) - 1):
        base, end = offsets[row], offsets[row + 1]
        position, first = base, used
        while cut < len(rows) and rows[cut] == row:
            left, right = base + starts[cut], base + ends[cut]
            cut += 1
            after = _skip_space(data, right, end)
            # Cuts that overlap, or have only white space between them, are one.
            while cut < len(rows) and rows[cut] == row and base + starts[cut] <= after:
                right = max(right, base + ends[cut])
                after = _skip_space(data, right, end)
                cut += 1
            before = _skip_space_back(data, position, left)
            used = _copy(data, position, before, result, used)
            position = after
            if after == end:
                break
            opens = used == first
            feeds = 0 if opens else _most_line_feeds(data, before, after)
            result[used : used + feeds] = _LINE_FEED
            used += feeds
            begin, stop = _space_between(data, before, left, right, after, opens, feeds > 0)
            used = _copy(data, begin, stop, result, used)
        used = _copy(data, position, end, result, used)
        new_offsets[row + 1] = used
    return result[:used], new_offsets


@numba.njit(cache=True, nogil=True)
def _space_between(
    data: Array, before: int, left: int, right: int, after: int, opens_text: bool, opens_line: bool
) -> tuple[int, int]:
    """Of the white space before and after a cut, what stays: a line's indentation, or what parts two words."""
    if opens_text or opens_line:
        for position in range(after - 1, right - 1, -1):
            if data[position] == _LINE_FEED:
                return position + 1, after
        for position in range(left - 1, before - 1, -1):
            if data[position] == _LINE_FEED:
                return position + 1, left
        return (before, left) if opens_text else (left, left)
    return (before, left) if before < left else (right, after)


@numba.njit(cache=True, nogil=True)
def _most_line_feeds(data: Array, begin: int, end: int) -> int:
    """Line feeds in the longest row of white space."""
    most = feeds = 0
    position = begin
    while position < end:
        size = space_size(data, position, end)
        if not size:
            feeds, size = 0, 1
        elif data[position] == _LINE_FEED:
            feeds += 1
            most = max(most, feeds)
        position += size
    return most


@numba.njit(cache=True, nogil=True)
def _copy(data: Array, begin: int, end: int, result: Array, used: int) -> int:
    result[used : used + end - begin] = data[begin:end]
    return used + end - begin


@numba.njit(cache=True, nogil=True)
def _skip_space(data: Array, position: int, end: int) -> int:
    while position < end:
        size = space_size(data, position, end)
        if not size:
            break
        position += size
    return position


@numba.njit(cache=True, nogil=True)
def _skip_space_back(data: Array, begin: int, position: int) -> int:
    while position > begin:
        size = 1
        while size < 3 and position - size > begin and data[position - size] & 0xC0 == 0x80:
            size += 1
        if space_size(data, position - size, position) != size:
            break
        position -= size
    return position
