"""The text that benchmarks run on: any file or folder, or what the demo's catalogue names."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from assets.home import downloads_folder
from assets.raw_text.catalogue import Source, load_catalogue
from assets.raw_text.compression import strip_compression
from assets.raw_text.fetch import locate
from assets.raw_text.reader import read_source

_FORMATS = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".md": "markdown",
    ".markdown": "markdown",
    ".txt": "txt",
    ".text": "txt",
}
_CATALOGUE = Path(__file__).parent.parent / "sources.yaml"
_CHINESE_SHARE = 0.2


def read_texts(path: Path | None) -> pa.Table:
    """All documents of a file or folder, in memory, in one chunk a column.

    Args:
        path: A file or folder of txt, markdown, jsonl or parquet (with the field or column "text"), compressed or not.
            A file of plain text is a document for each block between blank lines; in a folder each such file is one.
            None: the sources of ``sources.yaml``, fetched if they are not on this machine.

    Returns:
        Columns doc_id, text, language: "zh" where a fifth of the characters are Chinese, else "en"; for the demo's
        sources as the catalogue says.

    Raises:
        RawTextError: If there is nothing to read.
    """
    if path is None:
        catalogue = load_catalogue(_CATALOGUE)
        return _read(catalogue.sources, catalogue.folder)
    table = _read(_sources(path.absolute()), Path())
    chinese = pc.divide(
        pc.cast(pc.count_substring_regex(table["text"], pattern=r"\p{Han}"), pa.float64()),
        pc.cast(pc.max_element_wise(pc.utf8_length(table["text"]), 1), pa.float64()),
    )
    languages = pc.if_else(pc.greater(chinese, pa.scalar(_CHINESE_SHARE)), "zh", "en")
    return table.set_column(2, "language", languages).combine_chunks()


def _sources(path: Path) -> list[Source]:
    if path.is_dir():
        formats = {_format(file) for file in path.rglob("*") if file.is_file()} - {None}
    else:
        formats = {_format(path) or "txt"}
    by = "file" if path.is_dir() else "blank_line"
    return [
        Source.parse(
            {
                "name": f"input-{format}",
                "uri": str(path),
                "format": format,
                "language": "und",
                "on_invalid": "skip",
                "documents": {"by": by if format in ("txt", "markdown") else "file"},
            },
            origin=str(path),
        )
        for format in sorted(filter(None, formats)) or ["txt"]
    ]


def _format(path: Path) -> str | None:
    return _FORMATS.get(Path(strip_compression(path.name.lower())).suffix)


def _read(sources: Iterable[Source], folder: Path) -> pa.Table:
    tables: list[pa.Table] = []
    with tempfile.TemporaryDirectory() as scratch:
        for source in sources:
            out = Path(scratch) / source.name
            out.mkdir()
            read_source(source, locate(source, folder=folder, downloads=downloads_folder()), out=out)
            tables += [
                pq.read_table(file, columns=["doc_id", "text", "language"])
                for file in sorted(out.glob("documents-*.parquet"))
            ]
    return pa.concat_tables(tables).combine_chunks()
