"""The shingles of candidates, from their texts: each row group that holds one is read once, the texts go no further.

In memory are one row group and some MB of shingles; the rest lies in a scratch file, 8 bytes a shingle.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from assets.clean_text.arrays import single_array
from assets.clean_text.errors import CleanTextError
from assets.clean_text.kernels.buffers import Array
from assets.clean_text.near_duplicates.settings import NearDuplicateSettings
from assets.clean_text.near_duplicates.shingles import shingles
from assets.clean_text.tables import document_files

_ROWS = 1 << 14
_TEXT_BYTES = 4 << 20


@dataclass(frozen=True)
class _RowGroup:
    """A row group and the rows of the dump that it holds, ``first`` to ``end``."""

    path: Path
    index: int
    first: int
    end: int


def store_shingles(
    connection: duckdb.DuckDBPyConnection, dumps: Mapping[str, Path], settings: NearDuplicateSettings, path: Path
) -> None:
    """Write the shingles of all documents of ``pairs`` to a file, and where they are to the table ``sets``.

    Args:
        connection: With the tables of ``candidates``.
        dumps: As there; the folders hold ``documents-*.parquet``.
        settings: Those of the signatures.
        path: The file: uint64, little-endian.

    Raises:
        CleanTextError: If documents and signatures do not belong together.
    """
    connection.execute(
        "CREATE TABLE candidates AS SELECT documents.rowid AS rank, dump, row_number, doc_id, shingles FROM documents "
        'WHERE documents.rowid IN (SELECT kept FROM pairs UNION SELECT "other" FROM pairs) ORDER BY dump, row_number'
    )
    connection.execute('CREATE TABLE sets (rank BIGINT, "start" BIGINT, count BIGINT)')
    written = 0
    with path.open("wb") as file:
        for number, (dump, folder) in enumerate(dumps.items()):
            for group in _row_groups(dump, folder):
                candidates = connection.sql(
                    "SELECT rank, row_number - $first AS place, replace(doc_id::VARCHAR, '-', '') AS doc_id, shingles "
                    "FROM candidates WHERE dump = $dump AND row_number >= $first AND row_number < $end "
                    "ORDER BY row_number",
                    params={"dump": number, "first": group.first, "end": group.end},
                ).to_arrow_table()
                for hashes, sets in _read(group, candidates, settings):
                    starts = pa.array(written + sets["start"].to_numpy())
                    connection.register("batch", sets.set_column(1, "start", starts))
                    connection.execute("INSERT INTO sets FROM batch")
                    connection.unregister("batch")
                    hashes.astype("<u8", copy=False).tofile(file)
                    written += len(hashes)


def _row_groups(dump: str, folder: Path) -> Iterator[_RowGroup]:
    signed = pq.ParquetFile(folder / "minhash.parquet").metadata.num_rows
    files = [(path, pq.ParquetFile(path).metadata) for path in document_files(folder)]
    documents = sum(metadata.num_rows for _, metadata in files)
    if documents != signed:
        raise CleanTextError(
            f"{dump}: {folder} holds {documents} documents and {signed} signatures; "
            "run the stage that writes them again"
        )
    first = 0
    for path, metadata in files:
        for index in range(metadata.num_row_groups):
            end = first + metadata.row_group(index).num_rows
            yield _RowGroup(path, index, first, end)
            first = end


def _read(group: _RowGroup, candidates: pa.Table, settings: NearDuplicateSettings) -> Iterator[tuple[Array, pa.Table]]:
    """The shingles of a row group's candidates, some MB of text at a time, with (rank, start, count) of each."""
    if not candidates.num_rows:
        return
    table = pq.ParquetFile(group.path).read_row_group(group.index, columns=["doc_id", "text"])
    places = candidates["place"]
    if not table["doc_id"].take(places).equals(candidates["doc_id"]):
        raise _strangers(group)
    texts = table["text"]
    batches = np.cumsum(pc.binary_length(texts.take(places)).to_numpy(), dtype=np.int64) // _TEXT_BYTES
    bounds = [0, *(np.flatnonzero(np.diff(batches)) + 1).tolist(), len(places)]
    for begin, end in pairwise(bounds):
        rows = candidates.slice(begin, end - begin)
        hashes, starts = shingles(single_array(texts.take(rows["place"])), settings)
        counts = pa.array(np.diff(starts))
        if not pc.all(pc.equal(rows["shingles"], counts), min_count=0).as_py():
            raise _strangers(group)
        yield hashes, pa.table({"rank": rows["rank"], "start": starts[:-1], "count": counts})


def _strangers(group: _RowGroup) -> CleanTextError:
    return CleanTextError(
        f"{group.path} holds other documents than minhash.parquet beside it; run the stage that writes them again"
    )
