from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.raw_text.errors import RawTextError
from assets.raw_text.layouts import layout_columns, layout_metadata
from training.settings import SettingsError

Read = Callable[..., Any]
DATATROVE = {"format": "datatrove"}
DOLMA = {"format": "dolma"}
DOCUMENTS: list[dict[str, Any]] = [
    {"text": "The boats lay side by side.", "id": "a/0", "metadata": {"url": "https://a.org/", "language": "en"}},
    {
        "text": "渔船一只挨着一只。",
        "id": "a/1",
        "metadata": {"date": "2026-01-02", "language_score": 0.5, "tags": ["船"]},
    },
]


def metadata(reading: Any) -> list[dict[str, Any]]:
    return [json.loads(row["metadata"]) for row in reading.documents]


def written_by_datatrove(folder: Path, writer: str, **options: Any) -> dict[str, bytes]:
    """The two documents in files that datatrove wrote."""
    writers = pytest.importorskip("datatrove.pipeline.writers")
    data = pytest.importorskip("datatrove.data")
    if writer == "JsonlWriter":
        pytest.importorskip("orjson")
    with getattr(writers, writer)(str(folder), **options) as output:
        for number, fields in enumerate(DOCUMENTS):
            media = [data.Media(id="m", type=0, url="https://a.org/m.png")] if number else []
            output.write(data.Document(**fields, media=media))
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("writer", "options"),
    [
        ("ParquetWriter", {}),
        ("ParquetWriter", {"expand_metadata": True}),
        ("ParquetWriter", {"compression": "zstd", "batch_size": 1}),
        ("JsonlWriter", {}),
        ("JsonlWriter", {"expand_metadata": True, "compression": "zstd"}),
        ("JsonlWriter", {"compression": None}),
    ],
)
def test_what_datatrove_writes(read: Read, tmp_path: Path, writer: str, options: dict[str, Any]) -> None:
    if writer == "ParquetWriter":
        # Its schema is the first document's, unless it is given.
        inner = [("url", "string"), ("language", "string"), ("date", "string"), ("language_score", "double")]
        fields = [pa.field(name, kind) for name, kind in inner] + [pa.field("tags", pa.list_(pa.string()))]
        own = [pa.field("text", "string"), pa.field("id", "string")]
        expanded = fields if options.get("expand_metadata") else [pa.field("metadata", pa.struct(fields))]
        options = options | {"schema": pa.schema(own + expanded)}
    reading = read(written_by_datatrove(tmp_path, writer, **options), **DATATROVE)
    assert reading.texts == [document["text"] for document in DOCUMENTS]
    assert metadata(reading) == [document["metadata"] | {"id": document["id"]} for document in DOCUMENTS]


def test_metadata_as_a_json_string(read: Read) -> None:
    columns = {"text": ["a", "b"], "id": ["1", "2"], "metadata": ['{"url":"u"}', "no JSON"], "media": [None, None]}
    packed = io.BytesIO()
    pq.write_table(pa.table(columns), packed)
    reading = read({"a.parquet": packed.getvalue()}, **DATATROVE)
    assert metadata(reading) == [{"id": "1", "url": "u"}, {"id": "2", "metadata": "no JSON"}]


def test_what_dolma_writes(read: Read) -> None:
    documents = [
        {
            "id": "cc/1",
            "text": "渔船一只挨着一只。",
            "source": "common-crawl",
            "added": "2026-02-01T00:00:00.000Z",
            "created": "2025-01-02T03:04:05.000Z",
            "metadata": {"url": "https://a.org/", "license": "CC BY"},
            "attributes": {"tagger__lang__en": [[0, 9, 0.9]]},
        },
        {"id": "cc/2", "text": "one", "source": "common-crawl", "metadata": {"date": "2020"}, "created": "2025"},
        {"id": "cc/3", "text": "two", "source": "common-crawl"},
    ]
    data = gzip.compress("".join(json.dumps(document) + "\n" for document in documents).encode(), mtime=0)
    reading = read({"0000.jsonl.gz": data}, **DOLMA, licence="unknown")
    assert reading.texts == ["渔船一只挨着一只。", "one", "two"]
    first, second, third = metadata(reading)
    assert first == {
        "id": "cc/1",
        "source": "common-crawl",
        "added": "2026-02-01T00:00:00.000Z",
        "created": "2025-01-02T03:04:05.000Z",
        "date": "2025-01-02T03:04:05.000Z",
        "url": "https://a.org/",
        "license": "CC BY",
    }
    assert (second["date"], third) == ("2020", {"id": "cc/3", "source": "common-crawl"})
    assert reading.documents[0]["licence"] == "unknown"


def test_fewer_metadata_or_another_text(read: Read) -> None:
    line = {"content": "a", "text": "kept as metadata", "key": 7, "metadata": {"url": "u", "large": "x" * 99}}
    data = json.dumps(line).encode()
    reading = read(
        {"a.jsonl": data}, **DATATROVE, text_field="content", id_field="key", metadata_fields=["url", "text"]
    )
    assert reading.texts == ["a"] and metadata(reading) == [{"id": 7, "url": "u", "text": "kept as metadata"}]


def test_invalid_records_are_named(read: Read) -> None:
    with pytest.raises(RawTextError, match="line 1: has no field 'text'"):
        read({"a.jsonl": b'{"id": "1"}'}, **DOLMA)
    packed = io.BytesIO()
    pq.write_table(pa.table({"content": ["a"], "id": ["1"]}), packed)
    with pytest.raises(RawTextError, match="has no column 'text'"):
        read({"a.parquet": packed.getvalue()}, **DATATROVE)


def test_a_layout_of_text_files_is_refused(source: Callable[..., Any]) -> None:
    with pytest.raises(SettingsError, match="'documents' is for txt and markdown; each record of datatrove"):
        source(**DATATROVE, documents={"by": "line"})


def test_pictures_and_scores_are_left_out() -> None:
    assert layout_columns(["text", "id", "media", "url", "attributes"]) == ["text", "id", "url"]
    fields = {"text": "t", "id": 1, "url": None, "media": [1], "metadata": {"n": float("nan"), "id": 2}}
    assert set(layout_metadata(fields, "datatrove")) == {"id", "n"}
    assert layout_metadata(fields, "datatrove")["id"] == 1
