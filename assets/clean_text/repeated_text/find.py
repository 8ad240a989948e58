"""The global step on repeated text: from the stored hashes of all dumps to what goes from each document."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from assets.clean_text.errors import CleanTextError
from assets.clean_text.process_pool import available_cores
from assets.clean_text.repeated_text.corpus import ROW_BITS, load_documents, view_hashes
from assets.clean_text.repeated_text.cuts import CUTS
from assets.clean_text.repeated_text.passages import cut_repeated_passages
from assets.clean_text.repeated_text.repeated_lines import cut_lines
from assets.clean_text.repeated_text.settings import CutSettings
from assets.clean_text.repeated_text.stored_hashes import shortest_hashed
from assets.clean_text.tables import TableWriter

_BATCH_ROWS = 1 << 16


@dataclass(frozen=True)
class Cut:
    """What was cut of one kind.

    Attributes:
        cuts: How many cuts.
        documents: Documents that have one.
        bytes: UTF-8 bytes that go.
    """

    cuts: int
    documents: int
    bytes: int


@dataclass(frozen=True)
class RepeatedTextReport:
    """What ``find_repeated_text`` found.

    Attributes:
        cuts: By dump and kind; kinds without a cut are left out.
    """

    cuts: dict[str, dict[str, Cut]]


def find_repeated_text(
    dumps: Mapping[str, Path],
    out: Path,
    *,
    dropped: Mapping[str, Sequence[Path]],
    settings: CutSettings,
    memory_limit: str = "512MB",
    threads: int = 2,
    workers: int | None = None,
    temporary: Path | None = None,
) -> RepeatedTextReport:
    """Compare the stored hashes of all dumps and write ``cuts-<dump>.parquet`` for each, also where it is empty.

    A dump that is added at the end of the catalogue changes nothing for those before it, but for boilerplate of a
    source that it belongs to.

    A second run over the texts after their cuts finds nothing more, but where the two sides of a cut happen to make a
    passage that another document has too.

    Args:
        dumps: By dump, in the order of the catalogue: the folder with its ``documents-*.parquet`` and stored hashes.
        out: Empty folder.
        dropped: By dump: files with a column ``doc_id`` of documents that go anyway, as ``duplicates-<dump>.parquet``.
            They count nowhere, and nothing is cut from them. (Else the lines of a document with many copies would
            pass for boilerplate.)
        settings: What goes.
        memory_limit: Of DuckDB, e.g. "512MB"; what is beyond goes to disk.
        threads: Of DuckDB; the result does not depend on it.
        workers: Processes that read texts to find passages; by default one a core. Nor on this.
        temporary: Where to put what does not fit; a new folder in ``out`` by default. Removed at the end.

    Raises:
        CleanTextError: If a dump's documents or hashes are missing or were made with other settings than another's, or
            memory or disk do not suffice.
    """
    names = [name for name, on in _wanted(settings).items() if on]
    lengths = {name: shortest_hashed(dumps, name) for name in names} if dumps else {}
    with (
        tempfile.TemporaryDirectory(prefix=".repeated-text-", dir=temporary or out) as scratch,
        duckdb.connect(str(Path(scratch) / "repeated.duckdb")) as connection,
    ):
        connection.execute("SET enable_progress_bar = false")
        connection.execute("SET memory_limit = ?", [memory_limit])
        connection.execute("SET threads = ?", [threads])
        connection.execute("SET temp_directory = ?", [scratch])
        connection.execute(
            "CREATE TABLE cuts (rank BIGINT, kind VARCHAR, byte_start BIGINT, byte_end BIGINT, copy BIGINT)"
        )
        try:
            load_documents(connection, dumps, dropped)
            for name in lengths:
                view_hashes(connection, dumps, name)
            if "lines" in lengths:
                cut_lines(connection, "lines", mode=settings.lines, documents=settings.line_documents)
            if "paragraphs" in lengths:
                cut_lines(connection, "paragraphs", mode=settings.paragraphs, documents=settings.paragraph_documents)
            if "windows" in lengths:
                cut_repeated_passages(
                    connection,
                    dumps,
                    Path(scratch),
                    words=lengths["windows"],
                    whole_sentences=settings.whole_sentences,
                    workers=available_cores() if workers is None else workers,
                )
            return RepeatedTextReport(
                {
                    dump: _write(connection, priority, out / f"cuts-{dump}.parquet")
                    for priority, dump in enumerate(dumps)
                }
            )
        except (duckdb.OutOfMemoryException, duckdb.IOException) as error:
            raise CleanTextError(
                f"finding repeated text failed within {memory_limit} of memory and temporary files in {scratch}: "
                f"{error}; allow more memory or free disk space"
            ) from error


def _wanted(settings: CutSettings) -> dict[str, bool]:
    return {
        "lines": settings.lines != "keep",
        "paragraphs": settings.paragraphs != "keep",
        "windows": settings.passages,
    }


def _write(connection: duckdb.DuckDBPyConnection, priority: int, path: Path) -> dict[str, Cut]:
    """Write a dump's cuts; what two of them cover belongs to the one that begins first, or else is longer."""
    connection.execute(
        "CREATE OR REPLACE TABLE disjoint AS SELECT rank, kind, greatest(byte_start, covered) AS byte_start, byte_end, "
        "copy FROM (SELECT *, coalesce(max(byte_end) OVER (PARTITION BY rank ORDER BY byte_start, byte_end DESC, kind "
        "ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS covered FROM cuts WHERE rank >= ? AND rank < ?) "
        "WHERE covered < byte_end",
        [priority << ROW_BITS, (priority + 1) << ROW_BITS],
    )
    rows = connection.sql(
        "SELECT replace(documents.doc_id::VARCHAR, '-', '') AS doc_id, kind, byte_start, byte_end, "
        "replace(copies.doc_id::VARCHAR, '-', '') AS copy_of FROM disjoint JOIN documents USING (rank) "
        "LEFT JOIN documents AS copies ON copies.rank = disjoint.copy ORDER BY documents.doc_id, byte_start"
    )
    with TableWriter(path, CUTS) as writer:
        for batch in rows.to_arrow_reader(_BATCH_ROWS):
            writer.write(pa.Table.from_batches([batch]))
    counts = connection.execute(
        "SELECT kind, count(*), count(DISTINCT rank), sum(byte_end - byte_start)::BIGINT FROM disjoint "
        "GROUP BY kind ORDER BY kind"
    ).fetchall()
    return {kind: Cut(*numbers) for kind, *numbers in counts}
