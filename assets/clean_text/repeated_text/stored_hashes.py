"""The hashes of a dump's documents as files: ``lines.parquet``, ``paragraphs.parquet``, ``windows.parquet``.

Each is written only where its setting is on, and names in its metadata the settings it was made with. Their column
``row`` is the number of the document in ``documents-*.parquet`` beside them, from 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from assets.clean_text.errors import CleanTextError
from assets.clean_text.repeated_text.lines import LINES, hash_lines
from assets.clean_text.repeated_text.settings import HashSettings
from assets.clean_text.repeated_text.windows import WINDOWS, hash_windows
from assets.clean_text.tables import TableWriter

_LEAST = "least"


@dataclass(frozen=True)
class TextHashes:
    """Hashes of some consecutive documents.

    Attributes:
        documents: How many documents they are.
        tables: By the name of the file without its ending; ``row`` counts from the first of these documents.
    """

    documents: int
    tables: Mapping[str, pa.Table]


def hash_texts(texts: pa.StringArray, *, settings: HashSettings) -> TextHashes:
    """What the settings ask for, of some consecutive documents.

    Args:
        texts: No nulls.
        settings: What to hash.
    """
    tables = {}
    if settings.lines:
        tables["lines"] = hash_lines(texts, unit="line", minimum_characters=settings.line_characters)
    if settings.paragraphs:
        tables["paragraphs"] = hash_lines(texts, unit="paragraph", minimum_characters=settings.paragraph_characters)
    if settings.passages:
        tables["windows"] = hash_windows(texts, words=settings.passage_words)
    return TextHashes(len(texts), tables)


def join_hashes(parts: Sequence[TextHashes]) -> TextHashes:
    """The hashes of consecutive documents that were hashed in parts."""
    tables: dict[str, list[pa.Table]] = {}
    documents = 0
    for part in parts:
        for name, table in part.tables.items():
            rows = pc.add(table["row"], pa.scalar(documents, pa.int64()))
            tables.setdefault(name, []).append(table.set_column(0, "row", rows))
        documents += part.documents
    return TextHashes(documents, {name: pa.concat_tables(found) for name, found in tables.items()})


class HashWriter:
    """Writes the hashes of a dump's documents, in the order of the documents, into a folder."""

    def __init__(self, folder: Path, *, settings: HashSettings) -> None:
        self._stack = ExitStack()
        self._rows = 0
        files = {
            "lines": (settings.lines, LINES, settings.line_characters),
            "paragraphs": (settings.paragraphs, LINES, settings.paragraph_characters),
            "windows": (settings.passages, WINDOWS, settings.passage_words),
        }
        self._writers = {
            name: self._stack.enter_context(
                TableWriter(folder / f"{name}.parquet", schema.with_metadata({_LEAST: str(least)}))
            )
            for name, (wanted, schema, least) in files.items()
            if wanted
        }

    def write(self, hashes: TextHashes) -> None:
        """Append the hashes of the documents that come next, also where there are none."""
        for name, writer in self._writers.items():
            table = hashes.tables[name]
            rows = pc.add(table["row"], pa.scalar(self._rows, pa.int64()))
            writer.write(table.set_column(0, "row", rows))
        self._rows += hashes.documents

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)


def shortest_hashed(dumps: Mapping[str, Path], name: str) -> int:
    """The least length in the settings with which the dumps' files of a name were written.

    Args:
        dumps: By dump: the folder that holds ``<name>.parquet``. At least one.
        name: "lines", "paragraphs" or "windows".

    Raises:
        CleanTextError: If a dump has no such file, or one made with another length.
    """
    setting = {"lines": "lines", "paragraphs": "paragraphs", "windows": "passages"}[name]
    lengths = {}
    for dump, folder in dumps.items():
        path = folder / f"{name}.parquet"
        if not path.is_file():
            raise CleanTextError(
                f"{dump}: {folder} holds no {path.name}; hash {setting} and run the filter stage again"
            )
        metadata = pq.read_schema(path).metadata or {}
        lengths[dump] = int(metadata[_LEAST.encode()])
    (first, length), *others = lengths.items()
    for dump, other in others:
        if other != length:
            raise CleanTextError(
                f"{first} and {dump}: {name}.parquet were made for a least length of {length} and {other}; "
                "run the filter stage again for all dumps with the same settings"
            )
    return length
