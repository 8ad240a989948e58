"""Pairs of documents that agree in a band, by DuckDB out of core.

The tables it makes:

- ``documents``: every document that is compared, in the order of preference: the row's number is the document's rank
- ``pairs``: different pairs of ranks (kept, other) with kept < other, whose numbers of shingles allow the threshold
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import duckdb

from assets.clean_text.near_duplicates.minhash import band_names
from assets.clean_text.near_duplicates.settings import NearDuplicateSettings


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
    for band in band_names(settings):
        connection.execute(
            f"CREATE OR REPLACE TABLE members AS "
            f"WITH shared AS (SELECT {band} FROM documents GROUP BY {band} HAVING count(*) > 1) "
            f"SELECT {band} AS hash, documents.rowid AS rank, shingles FROM documents SEMI JOIN shared USING ({band})"
        )
        connection.execute(
            "CREATE OR REPLACE TABLE members AS SELECT *, "
            "row_number() OVER (PARTITION BY hash ORDER BY rank) AS place, "
            "row_number() OVER (PARTITION BY hash ORDER BY shingles, rank) AS place_by_size, "
            "count(*) OVER (PARTITION BY hash) AS size FROM members"
        )
        connection.execute(
            "INSERT INTO found SELECT a.rank, b.rank FROM members a JOIN members b USING (hash) "
            "WHERE a.place <= $most AND a.place < b.place AND (a.place <= $half OR b.place <= $most + 1) "
            "AND least(a.shingles, b.shingles) >= $threshold * greatest(a.shingles, b.shingles)",
            {"most": settings.comparisons, "half": settings.comparisons // 2, "threshold": settings.threshold},
        )
        connection.execute(
            "INSERT INTO found SELECT least(a.rank, b.rank), greatest(a.rank, b.rank) "
            "FROM (SELECT *, unnest(range(1, $half + 1)) AS distance FROM members WHERE size > $most + 1) a "
            "JOIN members b ON a.hash = b.hash AND a.place_by_size + a.distance = b.place_by_size "
            "WHERE a.shingles >= $threshold * b.shingles",
            {"most": settings.comparisons, "half": settings.comparisons // 2, "threshold": settings.threshold},
        )
    connection.execute("DROP TABLE IF EXISTS members")
    connection.execute("CREATE TABLE pairs AS SELECT DISTINCT * FROM found")
    connection.execute("DROP TABLE found")
