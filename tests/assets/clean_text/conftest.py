"""Small raw text folders for the tests of this room."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.raw_text.documents import DOCUMENTS

Row = dict[str, Any]
_SKIPPED: list[pa.Field[Any]] = [
    pa.field("path", pa.string()),
    pa.field("line", pa.int64()),
    pa.field("byte_start", pa.int64()),
    pa.field("reason", pa.string()),
]


@pytest.fixture
def doc_id() -> Callable[[str, int], str]:
    """The id of a dump's document by its number."""
    return _doc_id


@pytest.fixture
def write_raw_text() -> Callable[..., Path]:
    """Writes a folder as the raw text stage does, each text a document of its own file."""
    return _write_raw_text


@pytest.fixture
def read_rows() -> Callable[[Path, str], list[Row]]:
    """Reads all rows of a folder's files of one stem, in order."""
    return _read_rows


def _doc_id(dump: str, index: int) -> str:
    return hashlib.sha256(f"{dump}/{index}".encode()).hexdigest()[:32]


def _write_raw_text(
    folder: Path,
    texts: Sequence[str],
    *,
    dump: str = "dump",
    language: str = "en",
    skipped: Sequence[Row] = (),
    rows_per_group: int = 3,
    files: int = 1,
    metadata: Sequence[str] = (),
) -> Path:
    folder.mkdir(parents=True)
    rows = [
        {
            "doc_id": _doc_id(dump, index),
            "text": text,
            "source": dump,
            "dump": dump,
            "path": f"{index:05}.txt",
            "byte_start": 0,
            "byte_end": len(text.encode()),
            "licence": "CC0-1.0",
            "language": language,
            "metadata": metadata[index] if metadata else "{}",
        }
        for index, text in enumerate(texts)
    ]
    per_file = -(-len(rows) // files) or 1
    for number in range(files):
        part = pa.Table.from_pylist(rows[number * per_file : (number + 1) * per_file], schema=DOCUMENTS)
        pq.write_table(part, folder / f"documents-{number:05}.parquet", row_group_size=rows_per_group)
    if skipped:
        pq.write_table(pa.Table.from_pylist(list(skipped), schema=pa.schema(_SKIPPED)), folder / "skipped.parquet")
    return folder


def _read_rows(folder: Path, stem: str) -> list[Row]:
    return [row for path in sorted(folder.glob(f"{stem}*.parquet")) for row in pq.read_table(path).to_pylist()]
