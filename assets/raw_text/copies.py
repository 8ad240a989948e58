"""Tells copies apart: documents of one content in one dump get a number each, found out of core from ``doc_id`` alone.

The first copy keeps the identity its content gives, the others get ``copy_id``. Which copy is the first depends on the
order of reading, but copies have the same content: the set of identities depends on the contents alone.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from assets.raw_text.documents import copy_id, document_writer
from assets.raw_text.errors import RawTextError

_BATCH_ROWS = 1 << 16

Numbers = npt.NDArray[np.int64]


def number_copies(folder: Path, *, where: str, memory_limit: str = "512MB", threads: int = 2) -> int:
    """Replace the ``doc_id`` of every repetition in the ``documents-*.parquet`` of a folder; how many there were.

    A file with a repetition is written anew, row group by row group; the others are not touched. The bytes written
    depend on the rows alone.

    Args:
        folder: What ``DocumentWriter`` wrote; temporary files lie there too.
        where: Names the source in errors.
        memory_limit: Of DuckDB, e.g. "512MB"; what is beyond goes to disk. 512 MB were enough for 30 million documents,
            all equal or all different.
        threads: Of DuckDB; the result does not depend on it.

    Raises:
        RawTextError: If memory or disk do not suffice.
    """
    files = sorted(folder.glob("documents-*.parquet"))
    with (
        tempfile.TemporaryDirectory(prefix=".copies-", dir=folder) as scratch,
        duckdb.connect(str(Path(scratch) / "identities.duckdb")) as connection,
    ):
        connection.execute("SET memory_limit = ?", [memory_limit])
        connection.execute("SET threads = ?", [threads])
        connection.execute("SET temp_directory = ?", [scratch])
        connection.execute("SET preserve_insertion_order = false")
        try:
            repetitions, borders = _find_repetitions(connection, files)
            if repetitions:
                for file, first, end in zip(files, borders, borders[1:], strict=False):
                    _renumber(file, _numbers(connection, first, end), Path(scratch) / file.name)
        except (duckdb.OutOfMemoryException, duckdb.IOException) as error:
            raise RawTextError(
                f"{where}: telling copies apart failed within {memory_limit} of memory and temporary files in "
                f"{scratch}: {error}; free disk space, or set CORPUSLINE_HOME to a larger disk"
            ) from None
    return repetitions


def _find_repetitions(connection: duckdb.DuckDBPyConnection, files: list[Path]) -> tuple[int, list[int]]:
    """Create the table ``repetitions`` (row, number from 1); its rows, and each file's first row with the total last.

    Identities are held as 16-byte numbers, rows are counted through all files.
    """
    connection.execute("CREATE TABLE identities (row_number BIGINT, doc_id UUID)")
    borders = [0]
    for file in files:
        connection.execute(
            "INSERT INTO identities SELECT ? + file_row_number, doc_id::UUID "
            "FROM read_parquet(?, file_row_number = true)",
            [borders[-1], str(file)],
        )
        borders.append(borders[-1] + pq.read_metadata(file).num_rows)
    connection.execute("CREATE TABLE repeated AS SELECT doc_id FROM identities GROUP BY doc_id HAVING count(*) > 1")
    connection.execute(
        "CREATE TABLE repetitions AS SELECT row_number, number FROM (SELECT row_number, "
        "row_number() OVER (PARTITION BY doc_id ORDER BY row_number) - 1 AS number "
        "FROM identities SEMI JOIN repeated USING (doc_id)) WHERE number > 0"
    )
    ((found,),) = connection.sql("SELECT count(*) FROM repetitions").fetchall()
    return int(found), borders


def _numbers(connection: duckdb.DuckDBPyConnection, first: int, end: int) -> Iterator[tuple[Numbers, Numbers]]:
    """Rows within the file that begins with row ``first``, ascending, and their numbers; in batches."""
    rows = connection.sql(
        "SELECT row_number - $first AS row_number, number FROM repetitions "
        "WHERE row_number >= $first AND row_number < $end ORDER BY 1",
        params={"first": first, "end": end},
    )
    for batch in rows.to_arrow_reader(_BATCH_ROWS):
        yield batch.column(0).to_numpy(), batch.column(1).to_numpy()


def _renumber(path: Path, numbers: Iterator[tuple[Numbers, Numbers]], scratch: Path) -> None:
    """Write a file anew with the identities of its repetitions replaced, if it has any."""
    rows, copies = next(numbers, (np.empty(0, np.int64), np.empty(0, np.int64)))
    if not rows.size:
        return
    with pq.ParquetFile(path) as file, document_writer(scratch) as writer:
        start = 0
        for group in range(file.metadata.num_row_groups):
            table = file.read_row_group(group)
            end = start + table.num_rows
            doc_ids = table["doc_id"].to_pylist()
            while rows.size and rows[0] < end:
                used = int(np.searchsorted(rows, end))
                for row, copy in zip(rows[:used].tolist(), copies[:used].tolist(), strict=True):
                    doc_ids[row - start] = copy_id(doc_ids[row - start], copy)
                rows, copies = rows[used:], copies[used:]
                if not rows.size:
                    rows, copies = next(numbers, (rows, copies))
            table = table.set_column(0, table.schema.field(0), pa.array(doc_ids, pa.string()))
            writer.write_table(table, row_group_size=max(1, table.num_rows))
            start = end
    scratch.replace(path)
