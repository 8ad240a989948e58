"""Near-duplicates within and across dumps, found out of core from stored signatures and the candidates' texts.

Of two similar documents the one stays that is in the dump that stands first in the catalogue; in one dump the longer
one; then the better one, if quality is known; then the one with the lower id. The outcome depends on the catalogue's
order and not on the order in which dumps were signed: a new dump is compared with all others by stored signatures.

A document goes only for its own exact similarity to one that stays; see ``verification``.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from assets.clean_text.errors import CleanTextError
from assets.clean_text.near_duplicates.candidate_shingles import store_shingles
from assets.clean_text.near_duplicates.candidates import collect_documents, find_pairs
from assets.clean_text.near_duplicates.minhash import SIGNED_WITH, signed_with
from assets.clean_text.near_duplicates.settings import NearDuplicateSettings
from assets.clean_text.near_duplicates.verification import remove_similar
from assets.clean_text.tables import TableWriter

_COLUMNS: list[pa.Field[Any]] = [
    pa.field("doc_id", pa.string()),
    pa.field("duplicate_of", pa.string()),
    pa.field("similarity", pa.float64()),
]
NEAR_DUPLICATES: pa.Schema = pa.schema(_COLUMNS)
"""Schema of ``near-duplicates-<dump>.parquet``: a row for each document that goes, by doc_id, with the one that stays
and the share of common shingles (Jaccard similarity)."""

_BATCH_ROWS = 1 << 16


@dataclass(frozen=True)
class NearDuplicatesReport:
    """What ``find_near_duplicates`` found.

    Attributes:
        documents: Documents compared, by dump: those that have a word and are no exact copies.
        near_duplicates: Documents that go, by dump.
        candidates: Pairs that agree in a band.
        compared: Pairs of them whose texts were compared; the others had lost one to a preferred document.
        largest: Most documents that go for one that stays.
    """

    documents: dict[str, int]
    near_duplicates: dict[str, int]
    candidates: int
    compared: int
    largest: int


def find_near_duplicates(
    dumps: Mapping[str, Path],
    out: Path,
    *,
    settings: NearDuplicateSettings,
    exact: Path | None = None,
    memory_limit: str = "512MB",
    threads: int = 2,
    temporary: Path | None = None,
) -> NearDuplicatesReport:
    """Compare the documents of all dumps and write ``near-duplicates-<dump>.parquet`` for each, also where it is empty.

    Disk in ``temporary``: the signatures once, and 8 bytes for each shingle of documents that agree in a band. Memory
    beside DuckDB's: one row group of documents and one bit a document.

    Args:
        dumps: By dump, in the order of the catalogue: the folder that holds its ``minhash.parquet`` and
            ``documents-*.parquet``, in the same order.
        out: Folder for the files.
        settings: Those the signatures were made with, and the threshold.
        exact: Folder of ``duplicates-<dump>.parquet``; the documents named there are left out.
        memory_limit: Of DuckDB, e.g. "512MB"; what is beyond goes to disk.
        threads: Of DuckDB; the result does not depend on it.
        temporary: Where to put what does not fit; a new folder in ``out`` by default. Removed at the end.

    Raises:
        CleanTextError: If a file is missing, signatures were made with other settings or for other documents, or memory
            or disk do not suffice.
    """
    for dump, folder in dumps.items():
        _check(dump, folder, settings, exact)
    with (
        tempfile.TemporaryDirectory(prefix=".near-duplicates-", dir=temporary or out) as scratch,
        duckdb.connect(str(Path(scratch) / "minhash.duckdb")) as connection,
    ):
        connection.execute("SET memory_limit = ?", [memory_limit])
        connection.execute("SET threads = ?", [threads])
        connection.execute("SET temp_directory = ?", [scratch])
        try:
            collect_documents(connection, dumps, settings, exact=exact)
            find_pairs(connection, settings)
            store_shingles(connection, dumps, settings, Path(scratch) / "shingles.bin")
            compared = remove_similar(connection, Path(scratch) / "shingles.bin", threshold=settings.threshold)
            near_duplicates = {
                dump: _write(connection, number, out / f"near-duplicates-{dump}.parquet")
                for number, dump in enumerate(dumps)
            }
            documents = {
                dump: _number(connection, f"SELECT count(*) FROM documents WHERE dump = {number}")
                for number, dump in enumerate(dumps)
            }
            return NearDuplicatesReport(
                documents,
                near_duplicates,
                candidates=_number(connection, "SELECT count(*) FROM pairs"),
                compared=compared,
                largest=_number(
                    connection,
                    "SELECT coalesce(max(copies), 0) FROM (SELECT count(*) AS copies FROM removed GROUP BY kept)",
                ),
            )
        except (duckdb.OutOfMemoryException, duckdb.IOException, OSError) as error:
            raise CleanTextError(
                f"finding near-duplicates failed within {memory_limit} of memory and temporary files in {scratch}: "
                f"{error}; allow more memory or free disk space"
            ) from error


def _check(dump: str, folder: Path, settings: NearDuplicateSettings, exact: Path | None) -> None:
    path = folder / "minhash.parquet"
    if not path.is_file():
        raise CleanTextError(f"{dump}: {folder} holds no minhash.parquet; run the stage that writes it again")
    if exact and not (exact / f"duplicates-{dump}.parquet").is_file():
        raise CleanTextError(f"{dump}: {exact} holds no duplicates-{dump}.parquet; find exact duplicates first")
    signed = (pq.read_schema(path).metadata or {}).get(SIGNED_WITH, b"unknown settings")
    if signed != signed_with(settings):
        raise CleanTextError(
            f"{dump}: {path} was made with {signed.decode()}, not with {signed_with(settings).decode()}; "
            "run the stage that writes it again, or set what it was made with"
        )


def _number(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    [(value,)] = connection.sql(query).fetchall()
    return int(value)


def _write(connection: duckdb.DuckDBPyConnection, dump: int, path: Path) -> int:
    rows = connection.sql(
        "SELECT replace(gone.doc_id::VARCHAR, '-', '') AS doc_id, "
        "replace(stays.doc_id::VARCHAR, '-', '') AS duplicate_of, similarity "
        "FROM removed JOIN documents gone ON gone.rowid = removed.rank JOIN documents stays ON stays.rowid = kept "
        "WHERE gone.dump = $dump ORDER BY gone.doc_id",
        params={"dump": dump},
    )
    with TableWriter(path, NEAR_DUPLICATES) as writer:
        for batch in rows.to_arrow_reader(_BATCH_ROWS):
            writer.write(pa.Table.from_batches([batch]))
    return writer.rows
