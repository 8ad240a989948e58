"""Which candidates go: those similar enough, by their exact Jaccard similarity, to a preferred document that stays.

Pairs are taken in the order of preference. So a document's fate is settled before less preferred ones are compared with
it, one that goes is compared with none of them, and nothing goes for its similarity to what has gone: of A ~ B ~ C with
A unlike C only B goes. In memory are one bit a document and a batch of pairs; the shingles are mapped from their file.
"""

from __future__ import annotations

from pathlib import Path

import duckdb
import numba
import numpy as np
import pyarrow as pa

from assets.clean_text.near_duplicates.shingles import table_size

_PAIRS_A_BATCH = 1 << 14
_EMPTY, _ONE = np.uint64(0), np.uint64(1)


def remove_similar(connection: duckdb.DuckDBPyConnection, path: Path, *, threshold: float) -> int:
    """Create the table ``removed``: rank of each document that goes, of the first kept one like it, their similarity.

    Args:
        connection: With the tables ``documents``, ``pairs`` and ``sets``.
        path: The file that ``sets`` points into.
        threshold: Least similarity.

    Returns:
        Pairs of which the similarity was computed.
    """
    connection.execute("CREATE TABLE removed (rank BIGINT, kept BIGINT, similarity DOUBLE)")
    if not path.stat().st_size:
        return 0
    hashes = np.asarray(np.memmap(path, dtype="<u8", mode="r"))
    [(documents,)] = connection.sql("SELECT count(*) FROM documents").fetchall()
    gone = np.zeros(documents // 8 + 1, np.uint8)
    compared = 0
    with connection.cursor() as reading:
        pairs = reading.sql(
            'SELECT kept, "other", a."start" AS kept_start, a.count AS kept_count, b."start" AS other_start, '
            'b.count AS other_count FROM pairs JOIN sets a ON a.rank = kept JOIN sets b ON b.rank = "other" '
            'ORDER BY kept, "other"'
        )
        for batch in pairs.to_arrow_reader(_PAIRS_A_BATCH):
            columns = [column.to_numpy() for column in batch.columns]
            kept, other, _, kept_counts, *_ = columns
            slots = np.empty(table_size(int(kept_counts.max())), np.uint64)
            similarities = np.empty(len(kept))
            compared += _similarities(hashes, tuple(columns), gone, slots, threshold, similarities)
            going = np.flatnonzero(similarities >= threshold)
            removed = pa.table({"rank": other[going], "kept": kept[going], "similarity": similarities[going]})
            connection.register("batch", removed)
            connection.execute("INSERT INTO removed FROM batch")
            connection.unregister("batch")
    return compared


@numba.njit(cache=True, nogil=True)
def _similarities(hashes, pairs, gone, slots, threshold, similarities):  # type: ignore[no-untyped-def]
    """The similarity of each pair, -1 where it is below the threshold or one of the two is gone; marks the other gone.

    Returns the number of pairs compared.
    """
    kept, other, kept_start, kept_count, other_start, other_count = pairs
    compared = 0
    tabled = np.int64(-1)
    mask = _EMPTY
    for pair in range(len(kept)):
        similarities[pair] = -1.0
        if gone[kept[pair] >> 3] >> (kept[pair] & 7) & 1 or gone[other[pair] >> 3] >> (other[pair] & 7) & 1:
            continue
        if kept[pair] != tabled:
            tabled = kept[pair]
            mask = _tabulate(hashes, kept_start[pair], kept_count[pair], slots)
        compared += 1
        sizes = kept_count[pair] + other_count[pair]
        # A common part of c is a similarity of c / (sizes - c); one shingle of tolerance, as the last word is exact.
        tolerated = other_count[pair] - np.int64(threshold / (1.0 + threshold) * sizes) + 1
        missing = 0
        for at in range(other_start[pair], other_start[pair] + other_count[pair]):
            slot = hashes[at] & mask
            while slots[slot] != _EMPTY and slots[slot] != hashes[at]:
                slot = (slot + _ONE) & mask
            if slots[slot] == _EMPTY:
                missing += 1
                if missing > tolerated:
                    break
        common = other_count[pair] - missing
        similarity = common / (sizes - common)
        if similarity >= threshold and missing <= tolerated:
            similarities[pair] = similarity
            gone[other[pair] >> 3] |= np.uint8(1 << (other[pair] & 7))
    return compared


@numba.njit(cache=True, nogil=True)
def _tabulate(hashes, start, count, slots):  # type: ignore[no-untyped-def]
    """Fill the open-addressing table with a set; returns the mask of its slots."""
    size = 2
    while size < 2 * count:
        size *= 2
    slots[:size] = _EMPTY
    mask = np.uint64(size - 1)
    for at in range(start, start + count):
        slot = hashes[at] & mask
        while slots[slot] != _EMPTY:
            slot = (slot + _ONE) & mask
        slots[slot] = hashes[at]
    return mask
