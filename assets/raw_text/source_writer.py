"""What reading a source writes: its documents, a row for each file, and a row for each place that was skipped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from assets.raw_text.catalogue import Source
from assets.raw_text.documents import DOCUMENTS, DocumentWriter, document_hash, document_id
from assets.raw_text.errors import RawTextError
from assets.raw_text.metadata import json_object
from assets.raw_text.records import Record

_FILE_FIELDS: list[pa.Field[Any]] = [
    pa.field("path", pa.string()),
    pa.field("size", pa.int64()),
    pa.field("encoding", pa.string()),
    pa.field("documents", pa.int64()),
    pa.field("skipped", pa.int64()),
    pa.field("left_out", pa.string()),
]
FILES: pa.Schema = pa.schema(_FILE_FIELDS)
"""Path, decompressed bytes, encoding (``ascii`` if no other byte occurs, null for Parquet and WARC), documents,
skipped rows, and what was left out because it is no text by its kind: a JSON object of counts by kind with sorted keys
(of WARC: the record's type, HTTP status or media type), ``{}`` for other formats."""

_SKIPPED_FIELDS: list[pa.Field[Any]] = [
    pa.field("path", pa.string()),
    pa.field("line", pa.int64()),
    pa.field("byte_start", pa.int64()),
    pa.field("reason", pa.string()),
]
SKIPPED: pa.Schema = pa.schema(_SKIPPED_FIELDS)
"""Path, line from 1 (row for Parquet; null where lines mean nothing), first byte as in ``DOCUMENTS``, and why."""

_BATCH_BYTES = 4 << 20
_BATCH_ROWS = 1 << 14


@dataclass(frozen=True)
class RawTextReport:
    """What a source held.

    Attributes:
        documents: Documents written.
        bytes: Bytes of their texts in UTF-8.
        characters: Characters of their texts.
        files: Member files read.
        skipped: Rows of ``skipped.parquet``.
        left_out: Records that are no text by their kind, see ``FILES``.
        encodings: Files by encoding; Parquet and WARC files have none.
    """

    documents: int
    bytes: int
    characters: int
    files: int
    skipped: int
    left_out: int
    encodings: dict[str, int]

    @property
    def counts(self) -> dict[str, int]:
        """The numbers for a manifest."""
        return {
            "documents": self.documents,
            "bytes": self.bytes,
            "characters": self.characters,
            "files": self.files,
            "skipped": self.skipped,
            "left_out": self.left_out,
        }


class SourceWriter:
    """The three kinds of files in the output folder."""

    def __init__(self, source: Source, folder: Path) -> None:
        self.source = source
        self.folder = folder
        self.documents = self.files = self.skipped = self.left_out = self.bytes = self.characters = 0
        self.encodings: Counter[str] = Counter()
        self._paths: set[str] = set()
        self._documents = DocumentWriter(folder)
        self._files = _Rows(folder / "files.parquet", FILES)
        self._skipped = _Rows(folder / "skipped.parquet", SKIPPED)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._documents.__exit__(kind, error, trace)
        self._files.close()
        self._skipped.close()

    def file(self, path: str) -> MemberWriter:
        """Begin a member file."""
        if path in self._paths:
            raise RawTextError(
                f"source '{self.source.name}' has two files that are both {path} without the ending of their "
                "compression; name one under 'exclude'"
            )
        self._paths.add(path)
        return MemberWriter(self, path)

    def write(self, table: pa.Table) -> None:
        """Append documents."""
        self._documents.write(table)

    def skip(self, path: str, line: int | None, byte_start: int, reason: str) -> None:
        """Append a skipped row."""
        self.skipped += 1
        self._skipped.append((path, line, byte_start, reason))

    def finish(self, member: MemberWriter) -> None:
        """Append a member file."""
        self.files += 1
        self.documents += member.documents
        if member.encoding:
            self.encodings[member.encoding] += 1
        self.left_out += member.left_out.total()
        kinds = json_object(member.left_out)
        self._files.append((member.path, member.size, member.encoding, member.documents, member.skipped, kinds))

    def report(self) -> RawTextReport:
        """What was written."""
        return RawTextReport(
            documents=self.documents,
            bytes=self.bytes,
            characters=self.characters,
            files=self.files,
            skipped=self.skipped,
            left_out=self.left_out,
            encodings=dict(sorted(self.encodings.items())),
        )


class MemberWriter:
    """The documents of one member file on their way to the output."""

    def __init__(self, output: SourceWriter, path: str) -> None:
        self.path = path
        self.size = 0
        self.encoding: str | None = None
        self.documents = self.skipped = 0
        self.left_out: Counter[str] = Counter()
        self._output = output
        self._hash = document_hash(output.source.name)
        self._batch = _Batch()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._flush()
            if not (self.documents or self.skipped or self.left_out):
                self.refuse("is empty" if not self.size else "holds no text")
            self._output.finish(self)

    def add(self, records: Iterator[Record]) -> None:
        """Append documents; what is none is skipped or refused."""
        batch = self._batch
        for record in records:
            if record.invalid:
                self.refuse(record.invalid, record.line, record.byte_start)
                continue
            batch.doc_ids.append(document_id(self._hash, record.raw))
            batch.texts.append(record.text)
            batch.starts.append(record.byte_start)
            batch.ends.append(record.byte_end)
            batch.metadata.append(record.metadata)
            # What a PDF is identified by is shorter than its text.
            batch.bytes += len(record.raw) + len(record.text)
            if batch.bytes >= _BATCH_BYTES or len(batch.texts) >= _BATCH_ROWS:
                self._flush()
                batch = self._batch

    def refuse(self, reason: str, line: int | None = None, byte_start: int = 0) -> None:
        """Skip a place, or fail if the source does not allow that."""
        source = self._output.source
        if source.on_invalid == "fail":
            place = f", line {line}" if line is not None else f", byte {byte_start}" if byte_start else ""
            raise RawTextError(
                f"source '{source.name}', file {self.path}{place}: {reason}; "
                "correct or exclude it, or set on_invalid: skip to leave such places out with a row that says so"
            )
        self.skipped += 1
        self._output.skip(self.path, line, byte_start, reason)

    def _flush(self) -> None:
        batch, self._batch = self._batch, _Batch()
        rows = len(batch.texts)
        if not rows:
            return
        source = self._output.source
        texts = pa.array(batch.texts, pa.string())
        self.documents += rows
        self._output.bytes += pc.sum(pc.binary_length(texts)).as_py()
        self._output.characters += sum(map(len, batch.texts))
        constant = {
            "source": source.source_name,
            "dump": source.name,
            "path": self.path,
            "licence": source.licence,
            "language": source.language,
        }
        columns: dict[str, Any] = {name: pa.repeat(value, rows) for name, value in constant.items()}
        columns |= {
            "doc_id": batch.doc_ids,
            "text": texts,
            "byte_start": batch.starts,
            "byte_end": batch.ends,
            "metadata": batch.metadata,
        }
        self._output.write(pa.table(columns).select(DOCUMENTS.names))


@dataclass
class _Batch:
    """Columns of documents that wait to be written."""

    doc_ids: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    metadata: list[str] = field(default_factory=list)
    bytes: int = 0


class _Rows:
    """Writes one Parquet file (zstd) row by row, in row groups of 65,536."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._schema = schema
        self._waiting: list[tuple[Any, ...]] = []
        self._writer = pq.ParquetWriter(path, schema, compression="zstd")

    def append(self, row: tuple[Any, ...]) -> None:
        """Append a row, its values in the schema's order."""
        self._waiting.append(row)
        if len(self._waiting) >= 1 << 16:
            self._flush()

    def close(self) -> None:
        """Finish the file."""
        if self._waiting:
            self._flush()
        self._writer.close()

    def _flush(self) -> None:
        columns = [
            pa.array(list(values), column.type)
            for values, column in zip(zip(*self._waiting, strict=True), self._schema, strict=True)
        ]
        self._writer.write_table(pa.Table.from_arrays(columns, schema=self._schema))
        self._waiting = []
