"""The last step of cleaning: copies leave, repeated text is cut, and every input document gets its row in the ledger.

Written into the output folder:

- ``documents-*.parquet``: the clean documents, schema ``DOCUMENTS``
- ``signatures.parquet``: schema ``SIGNATURES``, a row for each of them in their order; of the text before repeated
  text was cut
- ``ledger.parquet``: schema ``LEDGER``, a row for each input document of the raw text stage
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from assets.clean_text.arrays import single_array
from assets.clean_text.cleaning import DECISIONS
from assets.clean_text.errors import CleanTextError
from assets.clean_text.line_rules import EDIT
from assets.clean_text.repeated_text.cut_reader import CutReader
from assets.clean_text.repeated_text.cuts import apply_cuts
from assets.clean_text.rules import EXACT_DUPLICATE, NEAR_DUPLICATE, NOTHING_LEFT
from assets.clean_text.signatures import SIGNATURES
from assets.clean_text.tables import TableWriter, document_files
from assets.raw_text.documents import DocumentWriter

_ADDED: list[pa.Field[Any]] = [pa.field("duplicate_of", pa.string()), pa.field("similarity", pa.float64())]
LEDGER: pa.Schema = pa.schema([*DECISIONS, *_ADDED])
"""``DECISIONS`` with the doc_id of the surviving copy where the rule is ``exact_duplicate`` or ``near_duplicate``, and
for the latter the share of common shingles; else null. ``edits`` also tells what was cut as repeated text."""

_CUT_COLUMNS: list[pa.Field[Any]] = [
    pa.field("doc_id", pa.string()),
    pa.field("cuts", pa.list_(EDIT)),
    pa.field("characters", pa.int64()),
    pa.field("clean_bytes", pa.int64()),
]
_CUT: pa.Schema = pa.schema(_CUT_COLUMNS)

_BATCH_ROWS = 1 << 16
_BATCH_DOCUMENTS = 1 << 12
_SIGNATURES_PER_GROUP = 1 << 12
"""About the documents of one row group of text: whoever reads that reads little else."""


@dataclass(frozen=True)
class CleanTextReport:
    """What became of a dump.

    Attributes:
        documents: Input documents, with those skipped at reading.
        kept: Clean documents.
        dropped: Documents by the rule that dropped them, the most frequent rule first.
        bytes: UTF-8 bytes of the clean documents.
        characters: Characters of the clean documents.
    """

    documents: int
    kept: int
    dropped: dict[str, int]
    bytes: int
    characters: int


def finish_documents(
    filtered: Path, duplicates: Path, out: Path, *, dump: str, memory_limit: str = "512MB"
) -> CleanTextReport:
    """Take the copies and the repeated text out of a dump's filtered documents and write its ledger.

    Args:
        filtered: Folder that ``filter_documents`` wrote.
        duplicates: Folder with ``duplicates-<dump>.parquet``, ``near-duplicates-<dump>.parquet`` and
            ``cuts-<dump>.parquet``.
        out: Empty folder; see the module's description.
        dump: The dump's name.
        memory_limit: Of DuckDB, which joins decisions and copies.

    Raises:
        CleanTextError: If a file is missing, or decisions and documents do not belong together.
    """
    exact, near, cuts = (duplicates / f"{name}-{dump}.parquet" for name in ("duplicates", "near-duplicates", "cuts"))
    for path in (filtered / "decisions.parquet", filtered / "signatures.parquet", exact, near, cuts):
        if not path.is_file():
            raise CleanTextError(f"{path} is missing; run the stage that writes it again")
    with (
        tempfile.TemporaryDirectory(prefix=".ledger-", dir=out) as scratch,
        duckdb.connect(config={"memory_limit": memory_limit, "threads": 2, "temp_directory": scratch}) as connection,
    ):
        connection.execute("SET enable_progress_bar = false")
        for name, path in (("exact", exact), ("near", near)):
            connection.read_parquet(str(path)).create_view(name)
        what_was_cut = Path(scratch) / "cut.parquet"
        written = _write_documents(connection, filtered, cuts, out, what_was_cut)
        connection.read_parquet(str(what_was_cut)).create_view("cut")
        dropped: Counter[str] = Counter()
        size = characters = kept = 0
        with TableWriter(out / "ledger.parquet", LEDGER) as writer:
            for rows in _ledger_rows(connection, filtered / "decisions.parquet"):
                writer.write(rows)
                staying = rows.filter(rows["kept"])
                kept += staying.num_rows
                size += pc.sum(staying["clean_bytes"], min_count=0).as_py()
                characters += pc.sum(staying["characters"], min_count=0).as_py()
                dropped.update(filter(None, rows["rule"].to_pylist()))
        if written != kept:
            raise CleanTextError(
                f"{filtered}: {kept} documents should stay, but {written} were found; run the filter stage again"
            )
    return CleanTextReport(
        documents=writer.rows,
        kept=kept,
        dropped=dict(sorted(dropped.items(), key=lambda item: (-item[1], item[0]))),
        bytes=size,
        characters=characters,
    )


def _ledger_rows(connection: duckdb.DuckDBPyConnection, decisions: Path) -> Iterator[pa.Table]:
    """The decisions in their order, overruled where the document is a copy or nothing of it is left."""
    overruled = ("kept", "rule", "edits", "characters", "clean_bytes")
    columns = ", ".join(f"decisions.{name}" for name in DECISIONS.names if name not in overruled)
    rows = connection.sql(
        f"""
        SELECT {columns},
            coalesce(cut.characters, decisions.characters) AS characters,
            coalesce(cut.clean_bytes, decisions.clean_bytes) AS clean_bytes,
            CASE WHEN cut.cuts IS NULL THEN decisions.edits ELSE list_concat(decisions.edits, cut.cuts) END AS edits,
            CASE WHEN NOT decisions.kept THEN decisions.rule
                WHEN exact.doc_id IS NOT NULL THEN '{EXACT_DUPLICATE}'
                WHEN near.doc_id IS NOT NULL THEN '{NEAR_DUPLICATE}'
                WHEN cut.clean_bytes = 0 THEN '{NOTHING_LEFT}' END AS rule,
            decisions.kept AND exact.doc_id IS NULL AND near.doc_id IS NULL
                AND coalesce(cut.clean_bytes, 1) > 0 AS kept,
            CASE WHEN decisions.kept THEN coalesce(exact.duplicate_of, near.duplicate_of) END AS duplicate_of,
            CASE WHEN decisions.kept AND exact.doc_id IS NULL THEN near.similarity END AS similarity
        FROM read_parquet(?, file_row_number = true) AS decisions
        LEFT JOIN exact USING (doc_id) LEFT JOIN near USING (doc_id) LEFT JOIN cut USING (doc_id)
        ORDER BY decisions.file_row_number
        """,
        params=[str(decisions)],
    )
    for batch in rows.to_arrow_reader(_BATCH_ROWS):
        yield pa.Table.from_batches([batch])


def _write_documents(
    connection: duckdb.DuckDBPyConnection, filtered: Path, cuts: Path, out: Path, what_was_cut: Path
) -> int:
    """Write the documents that stay, without repeated text; returns how many. ``what_was_cut`` tells of the rest."""
    written = 0
    with ExitStack() as stack:
        # Closed with its result, whose end is not read: a connection with an open result answers nothing else.
        reading = stack.enter_context(connection.cursor())
        order = reading.sql(
            "SELECT doc_id, signature, exact.doc_id IS NULL AND near.doc_id IS NULL AS stays "
            "FROM read_parquet(?, file_row_number = true) AS passed "
            "LEFT JOIN exact USING (doc_id) LEFT JOIN near USING (doc_id) ORDER BY passed.file_row_number",
            params=[str(filtered / "signatures.parquet")],
        )
        passing = _Rows(order.to_arrow_reader(_BATCH_ROWS))
        reader = stack.enter_context(CutReader(cuts, filtered)) if pq.read_metadata(cuts).num_rows else None
        writer = stack.enter_context(DocumentWriter(out))
        signatures = stack.enter_context(
            TableWriter(out / "signatures.parquet", SIGNATURES, rows_per_group=_SIGNATURES_PER_GROUP)
        )
        log = stack.enter_context(TableWriter(what_was_cut, _CUT))
        for path in document_files(filtered):
            for batch in pq.ParquetFile(path, pre_buffer=False).iter_batches(_BATCH_DOCUMENTS):
                rows = passing.take(batch.num_rows)
                stays = single_array(rows["stays"])
                if single_array(rows["doc_id"]) != batch.column("doc_id"):
                    raise CleanTextError(
                        f"{path} and the signatures beside it name different documents; run the filter again"
                    )
                table = pa.Table.from_batches([batch])
                if reader is not None:
                    table, cut, left = _without_cuts(table, reader.take(batch.num_rows))
                    log.write(cut)
                    stays = pc.and_(stays, left)
                staying = table.filter(stays)
                written += staying.num_rows
                writer.write(staying)
                signatures.write(rows.filter(stays))
    return written


def _without_cuts(documents: pa.Table, cuts: pa.Table) -> tuple[pa.Table, pa.Table, pa.BooleanArray]:
    """The documents without their cuts, what was cut of which (schema ``_CUT``), and of which that was not all."""
    before, doc_ids = single_array(documents["text"]), single_array(documents["doc_id"])
    texts, _ = apply_cuts(before, doc_ids, cuts)
    place = documents.schema.get_field_index("text")
    cleaned = documents.set_column(place, documents.schema.field("text"), texts)
    sizes = pc.subtract(cuts["byte_end"], cuts["byte_start"])
    by_kind = (
        cuts.select(["doc_id", "kind"])
        .append_column("bytes", sizes)
        .group_by(["doc_id", "kind"], use_threads=False)
        .aggregate([([], "count_all"), ("bytes", "sum")])
    )
    by_document: dict[str, list[dict[str, Any]]] = {}
    for row in by_kind.to_pylist():
        edit = {"rule": row["kind"], "count": row["count_all"], "bytes": row["bytes_sum"]}
        by_document.setdefault(row["doc_id"], []).append(edit)
    touched = pc.is_in(doc_ids, pa.array(list(by_document), pa.string()))
    # A policy may keep documents that are empty already.
    left = pc.or_(pc.invert(touched), pc.not_equal(texts, pa.scalar("")))
    names = doc_ids.filter(touched)
    cut = pa.table(
        [
            names,
            pa.array([by_document[name] for name in names.to_pylist()], _CUT.field("cuts").type),
            pc.cast(pc.utf8_length(texts.filter(touched)), pa.int64()),
            pc.cast(pc.binary_length(texts.filter(touched)), pa.int64()),
        ],
        schema=_CUT,
    )
    return cleaned, cut, left


class _Rows:
    """Takes, some at a time, the documents in their order: doc_id, signature, and whether no copy stays elsewhere."""

    def __init__(self, batches: pa.RecordBatchReader) -> None:
        self._batches = iter(batches)
        self._ready = batches.schema.empty_table()

    def take(self, count: int) -> pa.Table:
        while self._ready.num_rows < count and (batch := next(self._batches, None)) is not None:
            self._ready = pa.concat_tables([self._ready, pa.Table.from_batches([batch])])
        taken, self._ready = self._ready.slice(0, count), self._ready.slice(count)
        return taken.combine_chunks()
