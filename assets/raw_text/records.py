"""Files of records (jsonl, csv, parquet, and other tools' layouts of them): one record, one document."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as types

from assets.raw_text.catalogue import Source
from assets.raw_text.compression import check_limits
from assets.raw_text.errors import RawTextError
from assets.raw_text.layouts import LAYOUTS, layout_columns, layout_metadata
from assets.raw_text.metadata import NO_METADATA, json_object, json_value
from assets.raw_text.splitting import DocumentSplitter, Piece

_PARQUET_ROWS = 1 << 10
_BATCH_BYTES = 1 << 28
# Parquet checks neither that strings are UTF-8 nor that a date is one of Python's, or its time zone known.
_UNREADABLE = (ValueError, OverflowError, LookupError)


class Record(NamedTuple):
    """What a file holds at one place: a document, or the reason why it is none.

    Attributes:
        text: The document's text.
        raw: The bytes its identity is made of, see ``document_id``.
        byte_start: As in ``DOCUMENTS``.
        byte_end: As in ``DOCUMENTS``.
        line: Line (Parquet: row) it begins on, from 1; None where lines mean nothing.
        metadata: JSON object.
        invalid: Why it cannot be read; None for a document.
    """

    text: str
    raw: bytes
    byte_start: int
    byte_end: int
    line: int | None
    metadata: str = NO_METADATA
    invalid: str | None = None


def read_jsonl(splitter: DocumentSplitter, source: Source) -> Iterator[Record]:
    """A record for each line that is not blank.

    Args:
        splitter: Cuts the file at ``LINE``.
        source: Names the fields.
    """
    for piece in splitter.pieces():
        if piece.invalid:
            yield _invalid(piece, piece.invalid)
            continue
        try:
            fields = json.loads(piece.text)
        except (ValueError, RecursionError) as error:
            yield _invalid(piece, f"invalid JSON: {error}")
            continue
        if not isinstance(fields, dict):
            yield _invalid(piece, "is JSON but no object")
            continue
        reason = _unusable(fields.get(source.text_field), fields, source.text_field)
        if reason:
            yield _invalid(piece, reason)
            continue
        yield Record(
            fields[source.text_field],
            piece.raw,
            piece.byte_start,
            piece.byte_end,
            piece.number,
            _metadata(fields, source),
        )


def read_csv(splitter: DocumentSplitter, source: Source, *, where: str) -> Iterator[Record]:
    """A record for each row below the header.

    Args:
        splitter: Cuts the file at ``LINE_WITH_END`` without stripping.
        source: Names the columns and the delimiter.
        where: Names source and file in errors.

    Raises:
        RawTextError: If the header lacks a column that the source names.
    """
    taken: list[Piece] = []

    def lines() -> Iterator[str]:
        for piece in splitter.pieces():
            taken.append(piece)
            yield piece.text

    csv.field_size_limit(source.maximum_document_bytes)
    rows = csv.reader(lines(), delimiter=source.delimiter, strict=True)
    header: list[str] | None = None
    while True:
        taken.clear()
        problem = None
        row: list[str] = []
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            problem = f"invalid CSV: {error}"
        if header is None:
            header = row
            _require_columns(header, source, where, problem or taken[0].invalid)
            continue
        if not row and not problem and not any(piece.invalid for piece in taken):
            continue
        record = _whole(taken, splitter.unit)
        if not problem and len(row) != len(header):
            problem = f"has {len(row)} columns, the header {len(header)}"
        if problem and len(taken) > 1:
            # A quote that is never closed takes in what follows it.
            problem += f"; it goes from line {taken[0].number} to line {taken[-1].number}"
        reason = record.invalid or problem
        fields = dict(zip(header, row, strict=False))
        reason = reason or _unusable(fields.get(source.text_field), fields, source.text_field)
        if reason:
            yield _invalid(record, reason)
        else:
            yield Record(
                fields[source.text_field],
                record.raw,
                record.byte_start,
                record.byte_end,
                record.number,
                _metadata(fields, source),
            )


def read_parquet(path: Path, source: Source, *, where: str) -> Iterator[Record]:
    """A record for each row, read in small batches.

    Args:
        path: The file.
        source: Names the columns.
        where: Names source and file in errors.

    Raises:
        RawTextError: If it is no Parquet file, is damaged, lacks a column that the source names, or has more text than
            its size and the limits allow.
    """
    size = path.stat().st_size
    try:
        with pq.ParquetFile(path, pre_buffer=False) as file:
            schema = file.schema_arrow
            _require_columns(schema.names, source, where, None)
            names = layout_columns(schema.names) if source.format in LAYOUTS else _columns(source)
            kind: Any = schema.field(source.text_field).type
            kind = kind.value_type if types.is_dictionary(kind) else kind
            if not (types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)):
                raise RawTextError(
                    f"{where}: column '{source.text_field}' is {kind}, no string; set text_field to the text's column"
                )
            unpacked = 0
            for row, fields in enumerate(_rows(file, names, source.text_field)):
                record = _parquet_record(fields, row, source)
                unpacked += len(record.raw)
                check_limits(
                    where,
                    unpacked,
                    size,
                    maximum_bytes=source.maximum_unpacked_bytes,
                    maximum_ratio=source.maximum_compression_ratio,
                )
                yield record
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise RawTextError(f"{where} is no Parquet file or is damaged ({error}); fetch or write it again") from None


def _rows(file: pq.ParquetFile, columns: list[str], text_field: str) -> Iterator[dict[str, Any]]:
    for number in range(file.num_row_groups):
        rows = _batch_rows(file.metadata.row_group(number), text_field)
        for batch in file.iter_batches(rows, row_groups=[number], columns=columns, use_threads=False):
            yield from _batch_fields(batch)


def _batch_rows(group: pq.RowGroupMetaData, text_field: str) -> int:
    """Rows to read at once. A dictionary holds a value once for all its rows, which unpack to many times their size."""
    for index in range(group.num_columns):
        column = group.column(index)
        if column.path_in_schema == text_field and any("DICTIONARY" in encoding for encoding in column.encodings):
            return max(1, min(_PARQUET_ROWS, _BATCH_BYTES // max(1, column.total_uncompressed_size)))
    return _PARQUET_ROWS


def _batch_fields(batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    try:
        yield from batch.to_pylist()
    except _UNREADABLE:
        for index in range(batch.num_rows):
            try:
                yield batch.slice(index, 1).to_pylist()[0]
            except UnicodeDecodeError as error:
                yield {"": f"is not UTF-8: {error}"}
            except _UNREADABLE as error:
                yield {"": f"has a value that Python cannot hold: {error}"}


def _parquet_record(fields: dict[str, Any], row: int, source: Source) -> Record:
    if "" in fields and source.text_field not in fields:
        reason: str | None = fields[""]
    else:
        reason = _unusable(fields[source.text_field], fields, source.text_field)
    if reason is None:
        text = fields[source.text_field]
        raw = text.encode()
        if len(raw) <= source.maximum_document_bytes:
            if _id_field(source) in fields:
                raw += b"\0" + json_value(fields[_id_field(source)]).encode("utf-8", "replace")
            return Record(text, raw, row, row + 1, row + 1, _metadata(fields, source))
        reason = f"the document is larger than {source.maximum_document_bytes:,} bytes"
    return Record("", b"", row, row + 1, row + 1, invalid=reason)


def _id_field(source: Source) -> str:
    """The field with a document's name; empty if there is none."""
    return source.id_field or ("id" if source.format in LAYOUTS else "")


def _columns(source: Source) -> list[str]:
    if source.format in LAYOUTS:
        # Their metadata may stand in a column of their own, or in some files alone.
        return [source.text_field]
    return list(dict.fromkeys([source.text_field, *filter(None, [source.id_field]), *source.metadata_fields]))


def _require_columns(names: list[str], source: Source, where: str, problem: str | None) -> None:
    if problem:
        raise RawTextError(f"{where}, line 1: {problem}; correct the header")
    for name in _columns(source):
        if name not in names:
            setting = "text_field" if name == source.text_field else "id_field or metadata_fields"
            raise RawTextError(f"{where} has no column '{name}'; set {setting} to one of: {', '.join(names)}")
        if names.count(name) > 1:
            raise RawTextError(f"{where} has {names.count(name)} columns named '{name}'; rename all but one")


def _unusable(text: Any, fields: Mapping[str, Any], name: str) -> str | None:
    """Why a field's value is no document's text."""
    if name not in fields:
        return f"has no field '{name}' (it has: {', '.join(list(fields)[:10]) or 'none'})"
    if not isinstance(text, str):
        return f"field '{name}' is {'null' if text is None else 'a ' + type(text).__name__}, no string"
    if not text or text.isspace():
        return f"field '{name}' is empty"
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            return f"field '{name}' has half a surrogate pair at character {error.start}"
    return None


def _metadata(fields: Mapping[str, Any], source: Source) -> str:
    chosen: Mapping[str, Any] = fields
    if source.format in LAYOUTS:
        chosen = layout_metadata(fields, source.format, text_field=source.text_field)
    if source.metadata_fields or source.format not in LAYOUTS:
        chosen = {name: chosen[name] for name in source.metadata_fields if name in chosen}
    name = _id_field(source)
    if name in fields:
        chosen = {**chosen, "id": fields[name]}
    return json_object(chosen)


def _whole(lines: list[Piece], unit: int) -> Piece:
    """The lines of one record as one piece, without the last line end, whose characters have ``unit`` bytes each."""
    last = lines[-1]
    ending = unit * (len(last.text) - len(last.text.rstrip("\r\n")))
    raw = b"".join(line.raw for line in lines)
    invalid = next((line.invalid for line in lines if line.invalid), None)
    return Piece("", raw[: len(raw) - ending], lines[0].byte_start, last.byte_end - ending, lines[0].number, invalid)


def _invalid(piece: Piece, reason: str) -> Record:
    return Record("", b"", piece.byte_start, piece.byte_end, piece.number, invalid=reason)
