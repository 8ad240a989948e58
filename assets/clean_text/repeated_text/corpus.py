"""The documents of all dumps in DuckDB, by rank: the dump's place in the catalogue above the document's place in it.

Where the same text stands in several documents, it stays in the one of the lowest rank.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from assets.clean_text.arrays import single_array
from assets.clean_text.characters import Array
from assets.clean_text.tables import document_files

ROW_BITS = 40


@dataclass(frozen=True)
class RowGroup:
    """Consecutive documents.

    Attributes:
        path: A ``documents-*.parquet``.
        index: The row group in it.
        rank: Rank of its first document.
        rows: How many documents it holds.
    """

    path: str
    index: int
    rank: int
    rows: int

    def texts(self) -> pa.StringArray:
        """The documents' texts."""
        texts: pa.StringArray = single_array(
            pq.ParquetFile(self.path).read_row_group(self.index, columns=["text"])["text"]
        )
        return texts


def row_groups(dumps: Mapping[str, Path]) -> Iterator[RowGroup]:
    """All row groups of all dumps, by rank.

    Raises:
        CleanTextError: If a dump has no documents file.
    """
    for priority, folder in enumerate(dumps.values()):
        rank = priority << ROW_BITS
        for path in document_files(folder):
            metadata = pq.read_metadata(path)
            for index in range(metadata.num_row_groups):
                rows = metadata.row_group(index).num_rows
                yield RowGroup(str(path), index, rank, rows)
                rank += rows


def load_documents(
    connection: duckdb.DuckDBPyConnection, dumps: Mapping[str, Path], dropped: Mapping[str, Sequence[Path]]
) -> None:
    """Create the table ``documents``: rank, id and source of each document that does not go anyway.

    Args:
        connection: Where to.
        dumps: By dump, in the order of the catalogue: the folder with its ``documents-*.parquet``.
        dropped: By dump: Parquet files whose column ``doc_id`` names documents that go.
    """
    connection.execute("CREATE TABLE documents (rank BIGINT, doc_id UUID, source USMALLINT)")
    connection.execute("CREATE TABLE gone (doc_id UUID)")
    for files in dropped.values():
        for path in files:
            connection.execute("INSERT INTO gone SELECT doc_id::UUID FROM read_parquet(?)", [str(path)])
    sources: dict[str, int] = {}
    for priority, folder in enumerate(dumps.values()):
        rank = priority << ROW_BITS
        for path in document_files(folder):
            metadata = pq.read_metadata(path)
            first = connection.execute("SELECT source FROM read_parquet(?) LIMIT 1", [str(path)]).fetchone()
            source = sources.setdefault(first[0] if first else "", len(sources))
            connection.execute(
                "INSERT INTO documents SELECT ? + file_row_number, doc_id::UUID, ? "
                "FROM (SELECT doc_id, file_row_number FROM read_parquet(?, file_row_number = true)) "
                "WHERE doc_id::UUID NOT IN (FROM gone)",
                [rank, source, str(path)],
            )
            rank += metadata.num_rows
    connection.execute("DROP TABLE gone")


def parquet(path: Path, *, numbered: bool = False) -> str:
    """A file as a table in SQL, with a column ``file_row_number`` if asked for."""
    quoted = str(path).replace("'", "''")
    return f"read_parquet('{quoted}', file_row_number = {str(numbered).lower()})"


def view_hashes(connection: duckdb.DuckDBPyConnection, dumps: Mapping[str, Path], name: str) -> None:
    """Create the view ``<name>``: all dumps' ``<name>.parquet`` with the rank and source of the documents.

    Rows of documents that go anyway are left out.
    """
    parts = " UNION ALL ".join(
        f"SELECT {priority << ROW_BITS} + row AS rank, * EXCLUDE (row) FROM {parquet(folder / f'{name}.parquet')}"
        for priority, folder in enumerate(dumps.values())
    )
    connection.execute(f"CREATE VIEW {name} AS SELECT * FROM ({parts}) JOIN documents USING (rank)")


class RankedRows:
    """Rows in the order of their rank, taken a document range at a time."""

    def __init__(self, reader: pa.RecordBatchReader) -> None:
        self._reader = reader
        self._ready = reader.schema.empty_table()

    def below(self, rank: int) -> pa.Table:
        """The next rows up to this rank."""
        while not self._ready.num_rows or self._ready["rank"][-1].as_py() < rank:
            batch = next(self._reader, None)
            if batch is None:
                break
            self._ready = pa.concat_tables([self._ready, pa.Table.from_batches([batch])])
        ranks: Array = self._ready["rank"].to_numpy()
        count = int(ranks.searchsorted(rank))
        taken, self._ready = self._ready.slice(0, count), self._ready.slice(count)
        return taken
