"""Repeated passages: from the selected windows of all documents to the bytes that go, by two readings of few texts.

1. Documents that share a selected window with another are found in DuckDB; there is no list of pairs.
2. The texts of these are read, and every full window around a shared one is hashed.
3. A window that a document of a lower rank has too is a repeat; again there are no pairs.
4. The texts of documents with repeats are read once more, to find the bytes.

What goes is every window of ``words`` words that stands in a document of a lower rank: nothing depends on the sample.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from assets.clean_text.arrays import single_array
from assets.clean_text.process_pool import map_in_order
from assets.clean_text.repeated_text.corpus import RankedRows, RowGroup, parquet, row_groups
from assets.clean_text.repeated_text.passage_cuts import PASSAGE_CUTS, cut_passages
from assets.clean_text.repeated_text.windows import PASSAGES, hash_passages
from assets.clean_text.tables import TableWriter

_BATCH_ROWS = 1 << 16


@dataclass(frozen=True)
class _Task:
    """Documents to read, and rows about some of them; ``row`` is the place in the row group."""

    row_group: RowGroup
    rows: pa.Table


def cut_repeated_passages(
    connection: duckdb.DuckDBPyConnection,
    dumps: Mapping[str, Path],
    scratch: Path,
    *,
    words: int,
    whole_sentences: bool,
    workers: int,
) -> None:
    """Insert into the table ``cuts`` what goes of the passages of the view ``windows`` (see ``corpus.view_hashes``).

    Args:
        connection: With the table ``cuts`` (rank, kind, byte_start, byte_end, copy).
        dumps: By dump, in the order of the catalogue: the folder with its documents.
        scratch: Folder for files that are needed for a while.
        words: Length of the windows with which the hashes were made.
        whole_sentences: See ``cut_passages``.
        workers: Processes that read texts.
    """
    shared = (
        "WITH shared AS (SELECT hash FROM windows GROUP BY hash HAVING count(*) > 1) "
        "SELECT rank, hash FROM windows SEMI JOIN shared USING (hash) ORDER BY rank, hash"
    )
    passages = scratch / "passages.parquet"
    hash_shared = partial(_hash_passages, words=words)
    with TableWriter(passages, PASSAGES) as writer:
        for table in map_in_order(hash_shared, _tasks(connection, dumps, shared), workers=workers):
            writer.write(table)
    connection.execute(
        'CREATE TABLE repeated AS SELECT hash, "check", min(row) AS copy FROM read_parquet(?) '
        'GROUP BY hash, "check" HAVING min(row) < max(row)',
        [str(passages)],
    )
    repeats = (
        f"SELECT row AS rank, token, copy FROM {parquet(passages)} "
        'JOIN repeated USING (hash, "check") WHERE row > copy ORDER BY rank, token'
    )
    cuts = scratch / "passage-cuts.parquet"
    cut_shared = partial(_cut_passages, words=words, whole_sentences=whole_sentences)
    with TableWriter(cuts, PASSAGE_CUTS) as writer:
        for table in map_in_order(cut_shared, _tasks(connection, dumps, repeats), workers=workers):
            writer.write(table)
    connection.execute(
        "INSERT INTO cuts SELECT row, 'repeated_text', byte_start, byte_end, copy FROM read_parquet(?)", [str(cuts)]
    )
    connection.execute("DROP TABLE repeated")
    passages.unlink()
    cuts.unlink()


def _tasks(connection: duckdb.DuckDBPyConnection, dumps: Mapping[str, Path], query: str) -> Iterator[_Task]:
    """The row groups that a query by rank has rows for, with these rows."""
    with connection.cursor() as cursor:
        ranked = RankedRows(cursor.sql(query).to_arrow_reader(_BATCH_ROWS))
        for row_group in row_groups(dumps):
            rows = ranked.below(row_group.rank + row_group.rows)
            if rows.num_rows:
                numbers = pc.subtract(rows["rank"], pa.scalar(row_group.rank, pa.int64()))
                yield _Task(row_group, rows.set_column(0, "row", numbers))


def _hash_passages(task: _Task, *, words: int) -> pa.Table:
    rows, shared = (single_array(task.rows[name]).to_numpy() for name in ("row", "hash"))
    return _ranked(hash_passages(task.row_group.texts(), rows, shared, words=words), task)


def _cut_passages(task: _Task, *, words: int, whole_sentences: bool) -> pa.Table:
    rows, tokens, copies = (single_array(task.rows[name]).to_numpy() for name in ("row", "token", "copy"))
    texts = task.row_group.texts()
    return _ranked(cut_passages(texts, rows, tokens, copies, words=words, whole_sentences=whole_sentences), task)


def _ranked(table: pa.Table, task: _Task) -> pa.Table:
    """The same with ranks in place of numbers within the row group."""
    return table.set_column(0, "row", pc.add(table["row"], pa.scalar(task.row_group.rank, pa.int64())))
