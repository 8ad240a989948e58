"""Documents: what every stage of text passes on, and the Parquet files they lie in.

Columns of ``documents-*.parquet`` (schema ``DOCUMENTS``):

- ``doc_id``: 32 hex digits, see ``document_id``: of the dump's name and the document's content, not of its place. A
  source whose files are compressed otherwise, renamed, put in another order, packed, split or joined has the same set
  of identities. Documents of one content in one dump are told apart by their number, see ``copy_id``
- ``text``: the document's text
- ``source``, ``dump``: the catalogue's value for the source column, and the entry's name
- ``path``: the member file in its folder or archive, without the ending of a compression
- ``byte_start``, ``byte_end``: where it lies in that file, decompressed, in bytes before decoding. For txt and markdown
  these bytes decode to exactly ``text``; for html they are the whole file; for warc the record from its first line to
  the next record; for wikipedia the ``<page>`` element; for jsonl and csv the record's line or lines without the last
  line end. Others have no such bytes: for a Parquet file ``byte_start`` is the row's number from 0 and ``byte_end`` one
  more, for epub and pdf they count the files of the spine and the pages in the same way
- ``licence``, ``language``: from the catalogue
- ``metadata``: a JSON object with sorted keys, ``{}`` if there is none
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

_FIELDS: list[pa.Field[Any]] = [
    pa.field("doc_id", pa.string()),
    pa.field("text", pa.string()),
    pa.field("source", pa.string()),
    pa.field("dump", pa.string()),
    pa.field("path", pa.string()),
    pa.field("byte_start", pa.int64()),
    pa.field("byte_end", pa.int64()),
    pa.field("licence", pa.string()),
    pa.field("language", pa.string()),
    pa.field("metadata", pa.string()),
]
DOCUMENTS: pa.Schema = pa.schema(_FIELDS)

ROW_GROUP_BYTES = 16 << 20
FILE_BYTES = 256 << 20

# A row costs memory beside its text: a source of tiny documents must not fill a row group with millions of them.
_ROW_OVERHEAD = 128
_REPETITIVE = ["source", "dump", "path", "licence", "language", "metadata"]


class Hash(Protocol):
    """What of a ``hashlib`` object is used here."""

    def update(self, data: bytes, /) -> None:
        """Add bytes."""

    def copy(self) -> Hash:
        """The same state in a new object."""

    def hexdigest(self) -> str:
        """The hash in hex."""


def document_hash(dump: str) -> Hash:
    """Begin the identities of a dump; ``document_id`` continues it."""
    return hashlib.blake2b(f"{dump}\0".encode(), digest_size=16)


def document_id(begun: Hash, raw: bytes) -> str:
    """Identity of a document: 32 hex digits of BLAKE2b over the dump's name, a zero byte and its raw content.

    The same content has the same identity on any machine, in any file and in any order of reading.

    Args:
        begun: ``document_hash`` of the dump.
        raw: What the source delivered: of txt, markdown, html, jsonl and csv the file's bytes from ``byte_start`` to
            ``byte_end`` (of csv without the header, whose names may be written into several files); of warc the
            address, the date and the body without its HTTP encodings, with a zero byte between; of wikipedia the
            page's id, the revision's id and the wikitext, with a zero byte between; of epub the XHTML files; of pdf
            the SHA-256 of the file; of Parquet the text in UTF-8 and, if there is an ``id_field``, a zero byte and its
            value as JSON.
    """
    state = begun.copy()
    state.update(raw)
    return state.hexdigest()


def copy_id(doc_id: str, number: int) -> str:
    """Identity of a document whose content stood in the dump before: BLAKE2b over the 16 bytes of an identity and 8.

    Args:
        doc_id: ``document_id`` of the content.
        number: How many documents of that content come before it, from 1; hashed as 8 little-endian bytes.
    """
    return hashlib.blake2b(bytes.fromhex(doc_id) + number.to_bytes(8, "little"), digest_size=16).hexdigest()


def document_writer(path: Path) -> pq.ParquetWriter:
    """Open one ``documents-*.parquet`` for writing, with the settings of all."""
    return pq.ParquetWriter(
        path,
        DOCUMENTS,
        compression="zstd",
        use_dictionary=_REPETITIVE,  # type: ignore[arg-type]  # the stubs know no list
        write_statistics=[name for name in DOCUMENTS.names if name != "text"],
    )


class DocumentWriter:
    """Writes documents to ``documents-00000.parquet``, ``documents-00001.parquet``, ... (zstd) in a folder.

    Where row groups and files end depends on the rows alone, not on the tables they arrive in. At least one file is
    written, without rows if there is none. Memory: one row group and one table.
    """

    def __init__(self, folder: Path, *, row_group_bytes: int = ROW_GROUP_BYTES, file_bytes: int = FILE_BYTES) -> None:
        """Begin in an empty folder.

        Args:
            folder: Where the files go.
            row_group_bytes: Bytes of text and a small overhead a row at which a row group ends.
            file_bytes: The same for files.
        """
        self.rows = 0
        self._folder = folder
        self._row_group_bytes = row_group_bytes
        self._groups_per_file = max(1, file_bytes // row_group_bytes)
        self._waiting: list[pa.Table] = []
        self._waiting_bytes = 0
        self._files = 0
        self._groups = 0
        self._writer: pq.ParquetWriter | None = None

    def write(self, table: pa.Table) -> None:
        """Append rows; the columns are those of ``DOCUMENTS``, in any order."""
        table = table.select(DOCUMENTS.names).cast(DOCUMENTS)
        self.rows += table.num_rows
        lengths = pc.binary_length(table["text"]).to_numpy().astype(np.int64) + _ROW_OVERHEAD
        ends = np.cumsum(lengths)
        start = 0
        used = 0
        while start < table.num_rows:
            # A group ends with the first row that reaches the limit.
            last = int(np.searchsorted(ends, used + self._row_group_bytes - self._waiting_bytes))
            stop = min(last + 1, table.num_rows)
            self._waiting.append(table.slice(start, stop - start))
            self._waiting_bytes += int(ends[stop - 1]) - used
            used, start = int(ends[stop - 1]), stop
            if self._waiting_bytes >= self._row_group_bytes:
                self._flush()

    def close(self) -> None:
        """Write what is left and finish the last file."""
        if self._waiting or not self._files:
            self._flush()
        self._close_file()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        elif self._writer is not None:
            self._writer.close()

    def _flush(self) -> None:
        if self._writer is None:
            self._writer = document_writer(self._folder / f"documents-{self._files:05d}.parquet")
            self._files += 1
        if self._waiting:
            table = pa.concat_tables(self._waiting).combine_chunks()
            self._writer.write_table(table, row_group_size=max(1, table.num_rows))
        self._waiting, self._waiting_bytes = [], 0
        self._groups += 1
        if self._groups == self._groups_per_file:
            self._close_file()

    def _close_file(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._writer = None
        self._groups = 0
