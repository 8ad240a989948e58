"""The items of evaluation sets as they lie in files: txt, jsonl, csv, tsv, Parquet; compressed or not."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from assets.clean_text.errors import CleanTextError
from assets.raw_text.compression import UnpackedStream, compression, strip_compression
from assets.raw_text.errors import RawTextError

_MAXIMUM_BYTES = 8 << 30
_MAXIMUM_RATIO = 1000.0
_ROWS = 1 << 10
_DELIMITERS = {".csv": ",", ".tsv": "\t"}


def read_items(path: Path, fields: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Each item's place (its line or row from 1; csv: its row below the header) and its text.

    Args:
        path: ``.txt`` (an item a line), ``.jsonl``, ``.csv``, ``.tsv`` (an item a record), each also with ``.gz``,
            ``.bz2``, ``.xz`` or ``.zst`` behind it, or ``.parquet``.
        fields: Of a record: names of the fields that are an item together, a dot between the names of nested ones.
            Lists are taken whole, null and missing parts of nested fields are empty.

    Raises:
        CleanTextError: If the file is missing, damaged or of another kind, or a record has no such field.
    """
    ending = Path(strip_compression(path.name)).suffix.lower()
    try:
        if ending == ".parquet":
            yield from _records(_parquet_rows(path, fields), path, fields)
        elif ending in (".jsonl", ".ndjson"):
            yield from _records(_json_rows(path), path, fields)
        elif ending in _DELIMITERS:
            rows = csv.DictReader(_lines(path), delimiter=_DELIMITERS[ending], strict=True)
            yield from _records(enumerate(rows, start=1), path, fields)
        elif ending == ".txt":
            yield from ((number, line.strip()) for number, line in enumerate(_lines(path), start=1) if line.strip())
        else:
            raise CleanTextError(
                f"evaluation set {path}: its name ends in none of .txt, .jsonl, .csv, .tsv, .parquet; convert it"
            )
    except FileNotFoundError:
        raise CleanTextError(f"evaluation set {path} is not there; correct its 'path'") from None
    except RawTextError as error:
        raise CleanTextError(str(error)) from None
    except (OSError, pa.ArrowException, csv.Error, UnicodeError) as error:
        raise CleanTextError(f"evaluation set {path} cannot be read ({error}); fetch or write it again") from None


def _lines(path: Path) -> Iterator[str]:
    with path.open("rb") as packed:
        unpacked = UnpackedStream(
            packed,
            compression(path.name),
            where=f"evaluation set {path}",
            maximum_bytes=_MAXIMUM_BYTES,
            maximum_ratio=_MAXIMUM_RATIO,
        )
        # A carriage return alone, as old Macs wrote it, would be a line end of a text file, but not of a JSON string.
        yield from io.TextIOWrapper(io.BufferedReader(_Readable(unpacked)), encoding="utf-8-sig", newline="\n")


class _Readable(io.RawIOBase):
    """A stream as Python's own text reader wants it."""

    def __init__(self, stream: UnpackedStream) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _json_rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise CleanTextError(f"evaluation set {path}, line {number}: invalid JSON: {error}; correct it") from None
        if not isinstance(row, dict):
            raise CleanTextError(f"evaluation set {path}, line {number} is JSON but no object; write one a line")
        yield number, row


def _parquet_rows(path: Path, fields: Sequence[str]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    with pq.ParquetFile(path, pre_buffer=False) as file:
        names = file.schema_arrow.names
        wanted = list(dict.fromkeys(field if field in names else field.partition(".")[0] for field in fields))
        number = 0
        for batch in file.iter_batches(_ROWS, columns=[name for name in wanted if name in names], use_threads=False):
            for row in batch.to_pylist() if batch.num_columns else [{}] * batch.num_rows:
                number += 1
                yield number, {**dict.fromkeys(names), **row} if batch.num_columns else dict.fromkeys(names)


def _records(
    rows: Iterable[tuple[int, Mapping[str, Any]]], path: Path, fields: Sequence[str]
) -> Iterator[tuple[int, str]]:
    for number, row in rows:
        parts: list[str] = []
        for field in fields:
            name, _, rest = (field, "", "") if field in row else field.partition(".")
            if name not in row:
                known = ", ".join(str(key) for key in list(row)[:20]) or "none"
                raise CleanTextError(
                    f"evaluation set {path}, record {number} has no field '{field}' (it has: {known}); correct 'fields'"
                )
            parts.extend(_strings(_inside(row[name], rest)))
        yield number, "\n".join(parts)


def _inside(value: Any, path: str) -> Any:
    if not path or value is None:
        return value
    if isinstance(value, list):
        return [_inside(part, path) for part in value]
    name, _, rest = path.partition(".")
    return _inside(cast("dict[str, Any]", value).get(name), rest) if isinstance(value, dict) else None


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for part in value:
            yield from _strings(part)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield str(value)
