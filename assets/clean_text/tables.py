"""Parquet files whose bytes depend on their rows alone, not on the batches in which the rows arrive."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq

from assets.clean_text.errors import CleanTextError

ROWS_PER_GROUP = 1 << 16


class TableWriter:
    """Writes one Parquet file (zstd) in row groups of ``ROWS_PER_GROUP`` rows; holds no more than that in memory."""

    def __init__(self, path: Path, schema: pa.Schema, *, rows_per_group: int = ROWS_PER_GROUP) -> None:
        self.rows = 0
        self._schema = schema
        self._rows_per_group = rows_per_group
        self._waiting: list[pa.Table] = []
        self._writer = pq.ParquetWriter(path, schema, compression="zstd")

    def write(self, table: pa.Table) -> None:
        """Append rows; the table's columns are those of the schema, in any order."""
        self.rows += table.num_rows
        self._waiting.append(table.select(self._schema.names).cast(self._schema))
        while sum(part.num_rows for part in self._waiting) >= self._rows_per_group:
            self._flush(self._rows_per_group)

    def close(self) -> None:
        """Write what is left and finish the file."""
        if any(part.num_rows for part in self._waiting):
            self._flush(self._rows_per_group)
        self._writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._writer.close()

    def _flush(self, rows: int) -> None:
        table = pa.concat_tables(self._waiting)
        self._writer.write_table(table.slice(0, rows).combine_chunks(), row_group_size=rows)
        self._waiting = [table.slice(rows)]


def document_files(folder: Path) -> list[Path]:
    """The ``documents-*.parquet`` of a folder, in order.

    Raises:
        CleanTextError: If there is none.
    """
    files = sorted(folder.glob("documents-*.parquet"))
    if not files:
        raise CleanTextError(f"{folder} holds no documents-*.parquet; run the stage that writes them again")
    return files
