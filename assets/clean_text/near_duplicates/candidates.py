"""Pairs of documents that agree in a band, by DuckDB out of core.

The tables it makes:

- ``documents``: every document that is compared, in the order of preference: the row's number is the document's rank
- ``pairs``: different pairs of ranks (kept, other) with kept < other, whose numbers of shingles allow the threshold
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Self

import duckdb
import numpy as np
import pyarrow as pa

from assets.clean_text.kernels.buffers import Array
from assets.clean_text.near_duplicates.groups import Groups, Neighbours
from assets.clean_text.near_duplicates.minhash import band_names
from assets.clean_text.near_duplicates.settings import NearDuplicateSettings

_PAIRS_A_BATCH = 1 << 18


def collect_documents(
    connection: duckdb.DuckDBPyConnection,
    dumps: Mapping[str, Path],
    settings: NearDuplicateSettings,
    *,
    exact: Path | None,
) -> None:
    """Create ``documents`` without exact copies and texts without a word.

    Preferred is the dump that stands first, then the longer text, then the better one (null last), then the lower id.

    Args:
        connection: Without these tables.
        dumps: By dump, in the order of the catalogue: the folder of its ``minhash.parquet``.
        settings: Those of the signatures.
        exact: Folder of ``duplicates-<dump>.parquet``; one for each dump, or None for no exact copies.
    """
    bands = ", ".join(band_names(settings))
    columns = ", ".join(f"{name} UBIGINT" for name in band_names(settings))
    connection.execute(
        f"CREATE TABLE documents (dump INTEGER, row_number BIGINT, doc_id UUID, shingles BIGINT, {columns})"
    )
    for number, (dump, folder) in enumerate(dumps.items()):
        copies = exact / f"duplicates-{dump}.parquet" if exact else None
        others = "ANTI JOIN (SELECT doc_id FROM read_parquet($copies)) USING (doc_id)" if copies else ""
        connection.execute(
            f"INSERT INTO documents SELECT $dump, file_row_number, doc_id::UUID, shingles, {bands} "
            f"FROM read_parquet($path, file_row_number = true) {others} WHERE shingles > 0 "
            "ORDER BY bytes DESC, quality DESC NULLS LAST, doc_id::UUID",
            {"dump": number, "path": str(folder / "minhash.parquet")} | ({"copies": str(copies)} if copies else {}),
        )


def find_pairs(connection: duckdb.DuckDBPyConnection, settings: NearDuplicateSettings) -> None:
    """Create ``pairs`` from ``documents``.

    In a group that agrees in a band each document is compared with all preferred ones, if these are no more than
    ``comparisons``; else with the first half as many, one of which is kept if all are similar, and with its neighbours
    by number of shingles, which it is similar to if they are not. So a pair can be missed in a large group whose
    documents are of several kinds; it has the other bands to be found in.
    """
    connection.execute('CREATE TABLE found (kept BIGINT, "other" BIGINT)')
    batch_rows = max(1, _PAIRS_A_BATCH // settings.comparisons)
    with connection.cursor() as reading, _Found(connection) as found:
        for band in band_names(settings):
            groups = Groups(comparisons=settings.comparisons, threshold=settings.threshold)
            large: list[Array] = []
            rows = reading.sql(f"SELECT {band} AS hash, rowid AS rank, shingles FROM documents ORDER BY hash, rank")
            for batch in rows.to_arrow_reader(batch_rows):
                pairs, exceeding = groups.add(*(column.to_numpy() for column in batch.columns))
                found.add(pairs)
                large.append(exceeding)
            if any(map(len, large)):
                reading.register("large", pa.table({"hash": np.concatenate(large)}))
                neighbours = Neighbours(width=settings.comparisons // 2, threshold=settings.threshold)
                rows = reading.sql(
                    f"SELECT {band} AS hash, documents.rowid AS rank, shingles FROM documents SEMI JOIN large "
                    f"ON {band} = large.hash ORDER BY hash, shingles, rank"
                )
                for batch in rows.to_arrow_reader(batch_rows):
                    found.add(neighbours.add(*(column.to_numpy() for column in batch.columns)))
                reading.unregister("large")
    connection.execute("CREATE TABLE pairs AS SELECT DISTINCT * FROM found")
    connection.execute("DROP TABLE found")


class _Found:
    """Inserts pairs of ranks into the table ``found``, many at a time."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection
        self._waiting: list[Array] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._flush()

    def add(self, pairs: Array) -> None:
        """Insert pairs, int64 (n, 2), some time."""
        self._waiting.append(pairs)
        if sum(map(len, self._waiting)) >= _PAIRS_A_BATCH:
            self._flush()

    def _flush(self) -> None:
        pairs = np.concatenate(self._waiting or [np.empty((0, 2), np.int64)])
        self._waiting = []
        self._connection.register("batch", pa.table({"kept": pairs[:, 0].copy(), "other": pairs[:, 1].copy()}))
        self._connection.execute("INSERT INTO found FROM batch")
        self._connection.unregister("batch")
