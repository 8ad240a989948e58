"""Texts to train on: files and folders of txt, jsonl, csv and Parquet, read as the raw text stage reads them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from assets.clean_text.errors import CleanTextError
from assets.clean_text.normalisation import normalise_batch
from assets.raw_text.catalogue import RECORD_FORMATS, DocumentSettings, Source
from assets.raw_text.compression import strip_compression
from assets.raw_text.errors import RawTextError
from assets.raw_text.fetch import locate
from assets.raw_text.reader import read_source

Split = Literal["file", "line", "blank_line"]
Format = Literal["txt", "markdown", "jsonl", "parquet", "csv"]

_FORMATS: dict[str, Format] = {
    **dict.fromkeys((".jsonl", ".ndjson", ".json"), "jsonl"),
    **dict.fromkeys((".csv", ".tsv"), "csv"),
    ".parquet": "parquet",
    ".md": "markdown",
}
_BATCH = 1 << 10


def read_texts(paths: Sequence[Path], *, split: Split = "file", text_field: str = "text") -> Iterator[pa.StringArray]:
    """Normalised texts, as documents are when they are scored; some at a time, in the order of paths and names.

    Args:
        paths: Files (what ends in no known way is txt) or folders; of a stage's output the ``documents-*.parquet``, of
            any other folder all txt, markdown, jsonl, csv and Parquet files. Compressed ones too.
        split: What is a document of a txt or markdown file.
        text_field: Field or column of the text in the other formats.

    Raises:
        CleanTextError: If a path is missing or holds no text, or a file is damaged.
    """
    for path in paths:
        found = False
        for texts in _read(path, split, text_field):
            found = found or len(texts) > 0
            yield normalise_batch(texts, blank_lines=1)
        if not found:
            raise CleanTextError(f"{path} holds no text; name files of txt, jsonl, csv or Parquet with text in them")


def _read(path: Path, split: Split, text_field: str) -> Iterator[pa.StringArray]:
    documents = sorted(path.glob("documents-*.parquet"))
    if documents:
        for file in documents:
            yield from _column(file, "text")
        return
    if not path.exists():
        raise CleanTextError(f"there is no file or folder {path}; correct the path")
    for format_ in _formats(path):
        values = {
            "name": "text",
            "uri": str(path.absolute()),
            "format": format_,
            "language": "und",
            "on_invalid": "skip",
        }
        if format_ in RECORD_FORMATS:
            values["text_field"] = text_field
            values["delimiter"] = "\t" if Path(strip_compression(path.name)).suffix.lower() == ".tsv" else ","
        source = Source.parse(
            values if format_ in RECORD_FORMATS else {**values, "documents": DocumentSettings(by=split)},
            origin=str(path),
        )
        with TemporaryDirectory() as folder:
            try:
                read_source(source, locate(source, folder=Path(), downloads=Path(folder)), out=Path(folder))
            except RawTextError as error:
                raise CleanTextError(f"{path}: {error}") from None
            for file in sorted(Path(folder).glob("documents-*.parquet")):
                yield from _column(file, "text")


def _formats(path: Path) -> list[Format]:
    """The formats of a file or of a folder's files, by their endings."""
    if path.is_file():
        return [_FORMATS.get(Path(strip_compression(path.name)).suffix.lower(), "txt")]
    endings = {Path(strip_compression(file.name)).suffix.lower() for file in path.rglob("*") if file.is_file()}
    known = _FORMATS | {".txt": "txt", ".text": "txt"}
    return sorted({known[ending] for ending in endings if ending in known})


def _column(file: Path, name: str) -> Iterator[pa.StringArray]:
    try:
        with pq.ParquetFile(file, pre_buffer=False) as table:
            for batch in table.iter_batches(_BATCH, columns=[name]):
                texts: Any = batch.column(0).cast(pa.string()).drop_null()
                yield texts
    except (pa.ArrowException, OSError, KeyError) as error:
        raise CleanTextError(f"{file} cannot be read ({error}); run the stage that wrote it again") from None
