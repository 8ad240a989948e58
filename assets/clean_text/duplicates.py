"""Exact duplicates within and across dumps, found out of core from signatures alone.

Of all documents with one signature the surviving copy is the one in the dump that stands first in the catalogue, and
there the one that stands first in the dump. So the outcome depends on the catalogue's order, and not on the order in
which dumps were processed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from assets.clean_text.errors import CleanTextError
from assets.clean_text.tables import TableWriter

DUPLICATES: pa.Schema = pa.schema([("doc_id", pa.string()), ("duplicate_of", pa.string())])
"""Schema of ``duplicates-<dump>.parquet``: a row for each copy that goes, by doc_id, with the copy that stays."""

_ROW_BITS = 40
_BATCH_ROWS = 1 << 16


@dataclass(frozen=True)
class DuplicatesReport:
    """What ``find_duplicates`` found.

    Attributes:
        documents: Signatures by dump.
        duplicates: Copies that go, by dump.
    """

    documents: dict[str, int]
    duplicates: dict[str, int]


def find_duplicates(
    signatures: Mapping[str, Path],
    out: Path,
    *,
    memory_limit: str = "512MB",
    threads: int = 2,
    temporary: Path | None = None,
) -> DuplicatesReport:
    """Compare the signatures of all dumps and write ``duplicates-<dump>.parquet`` for each, also where it is empty.

    Args:
        signatures: By dump, in the order of the catalogue: the folder that holds its ``signatures.parquet``.
        out: Empty folder.
        memory_limit: Of DuckDB, e.g. "512MB"; what is beyond goes to disk.
        threads: Of DuckDB; the result does not depend on it.
        temporary: Where to put what does not fit; a new folder in ``out`` by default. Removed at the end.

    Raises:
        CleanTextError: If a dump has no ``signatures.parquet``, or memory or disk do not suffice.
    """
    for dump, folder in signatures.items():
        if not (folder / "signatures.parquet").is_file():
            raise CleanTextError(f"{dump}: {folder} holds no signatures.parquet; run the stage that writes it again")
    with (
        tempfile.TemporaryDirectory(prefix=".duplicates-", dir=temporary or out) as scratch,
        duckdb.connect(str(Path(scratch) / "signatures.duckdb")) as connection,
    ):
        connection.execute("SET memory_limit = ?", [memory_limit])
        connection.execute("SET threads = ?", [threads])
        connection.execute("SET temp_directory = ?", [scratch])
        try:
            _find_copies(connection, signatures)
            duplicates = {
                dump: _write(connection, priority, out / f"duplicates-{dump}.parquet")
                for priority, dump in enumerate(signatures)
            }
        except (duckdb.OutOfMemoryException, duckdb.IOException) as error:
            raise CleanTextError(
                f"finding duplicates failed within {memory_limit} of memory and temporary files in {scratch}: {error}; "
                "allow more memory or free disk space"
            ) from error
    documents = {
        dump: pq.ParquetFile(folder / "signatures.parquet").metadata.num_rows for dump, folder in signatures.items()
    }
    return DuplicatesReport(documents, duplicates)


def _find_copies(connection: duckdb.DuckDBPyConnection, signatures: Mapping[str, Path]) -> None:
    """Create the table ``copies``: rank and id of each document that goes, id of the one that stays.

    The rank is the dump's place in the catalogue above the document's place in the dump: the lowest stays. Ids and
    signatures are held as 16-byte numbers.
    """
    connection.execute("CREATE TABLE documents (rank BIGINT, doc_id UUID, signature UUID)")
    for priority, folder in enumerate(signatures.values()):
        connection.execute(
            "INSERT INTO documents SELECT ? + file_row_number, doc_id::UUID, signature::UUID "
            "FROM read_parquet(?, file_row_number = true)",
            [priority << _ROW_BITS, str(folder / "signatures.parquet")],
        )
    connection.execute(
        "CREATE TABLE lowest AS SELECT signature, min(rank) AS rank FROM documents GROUP BY signature "
        "HAVING count(*) > 1"
    )
    connection.execute(
        "CREATE TABLE survivors AS SELECT documents.doc_id, lowest.* FROM lowest JOIN documents USING (rank)"
    )
    connection.execute(
        "CREATE TABLE copies AS SELECT documents.rank, documents.doc_id, survivors.doc_id AS duplicate_of "
        "FROM documents JOIN survivors USING (signature) WHERE documents.rank <> survivors.rank "
        "ORDER BY documents.rank"
    )


def _write(connection: duckdb.DuckDBPyConnection, priority: int, path: Path) -> int:
    rows = connection.sql(
        "SELECT replace(doc_id::VARCHAR, '-', '') AS doc_id, replace(duplicate_of::VARCHAR, '-', '') AS duplicate_of "
        "FROM copies WHERE rank >= ? AND rank < ? ORDER BY copies.doc_id",
        params=[priority << _ROW_BITS, (priority + 1) << _ROW_BITS],
    )
    with TableWriter(path, DUPLICATES) as writer:
        for batch in rows.to_arrow_reader(_BATCH_ROWS):
            writer.write(pa.Table.from_batches([batch]))
    return writer.rows
