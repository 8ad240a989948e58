"""The row groups of a raw text folder: what one process cleans at a time."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from assets.clean_text.errors import CleanTextError
from assets.clean_text.tables import document_files

BATCH_BYTES = 8 << 20
_BATCH_ROWS = 1 << 16


@dataclass(frozen=True)
class RowGroup:
    """One row group of a ``documents-*.parquet``.

    Attributes:
        path: The file.
        index: The row group's number in it.
        bytes: Its size uncompressed, nearly all of it text.
        rows: Documents in it.
    """

    path: str
    index: int
    bytes: int
    rows: int

    def __str__(self) -> str:
        return f"{self.path}, row group {self.index}"

    def read(self, columns: list[str] | None = None) -> pa.Table:
        """Its rows; schema ``DOCUMENTS``, or those columns of it.

        Raises:
            CleanTextError: If it cannot be read.
        """
        try:
            return pq.ParquetFile(self.path).read_row_group(self.index, columns=columns)
        except (OSError, pa.ArrowException) as error:
            raise unreadable(str(self), error) from error


def row_groups(folder: Path) -> list[RowGroup]:
    """All row groups of a folder, in the order of the documents.

    Raises:
        CleanTextError: If the folder has no documents file, or one that is no Parquet file.
    """
    found = []
    for path in document_files(folder):
        try:
            metadata = pq.read_metadata(path)
        except (OSError, pa.ArrowException) as error:
            raise unreadable(str(path), error) from error
        groups = map(metadata.row_group, range(metadata.num_row_groups))
        found += [
            RowGroup(str(path), number, each.total_byte_size, each.num_rows) for number, each in enumerate(groups)
        ]
    return found


def content_digest(table: pa.Table) -> str:
    """Hash of a table's columns and rows, as 32 hex digits; the file it is from has no part in it."""
    state = hashlib.blake2b(digest_size=16)
    plain = table.replace_schema_metadata(None).combine_chunks()
    with pa.ipc.new_stream(pa.PythonFile(_HashedFile(state), mode="w"), plain.schema) as stream:
        stream.write_table(plain)
    return state.hexdigest()


def batches(table: pa.Table, *, batch_bytes: int = BATCH_BYTES) -> Iterator[pa.Table]:
    """Consecutive rows with ``batch_bytes`` of text, or a single longer text; at least one table."""
    ends = np.cumsum(pc.binary_length(table["text"]).to_numpy())
    begin = 0
    while begin < table.num_rows or not begin:
        before = ends[begin - 1] if begin else 0
        fitting = int(np.searchsorted(ends, before + batch_bytes, side="right"))
        end = min(max(fitting, begin + 1), begin + _BATCH_ROWS)
        yield table.slice(begin, end - begin).combine_chunks()
        begin = end


def unreadable(what: str, error: Exception) -> CleanTextError:
    """The error for what cannot be read."""
    reason = " ".join(str(error).split())  # Arrow's messages have several lines
    return CleanTextError(f"{what} cannot be read ({reason}); run the raw text stage again")


class _HashedFile(io.RawIOBase):
    """A file to write to that keeps nothing but a hash."""

    def __init__(self, state: hashlib.blake2b) -> None:
        self._state = state

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._state.update(data)
        return memoryview(data).nbytes
