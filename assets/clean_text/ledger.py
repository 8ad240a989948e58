"""The last step of cleaning: duplicates leave, and every input document gets its row in the ledger.

Written into the output folder:

- ``documents-*.parquet``: the clean documents, schema ``DOCUMENTS``
- ``ledger.parquet``: schema ``LEDGER``, a row for each input document of the raw text stage
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from assets.clean_text.arrays import single_array
from assets.clean_text.errors import CleanTextError
from assets.clean_text.filtering import DECISIONS
from assets.clean_text.rules import EXACT_DUPLICATE
from assets.clean_text.tables import TableWriter, document_files
from assets.raw_text.documents import DocumentWriter

LEDGER: pa.Schema = DECISIONS.append(pa.field("duplicate_of", pa.string()))
"""``DECISIONS`` with the doc_id of the surviving copy where the rule is ``exact_duplicate``, null elsewhere."""

_BATCH_ROWS = 1 << 16
_BATCH_DOCUMENTS = 1 << 12


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


def finish_documents(filtered: Path, duplicates: Path, out: Path, *, memory_limit: str = "512MB") -> CleanTextReport:
    """Take the duplicates out of a dump's filtered documents and write its ledger.

    Args:
        filtered: Folder that ``filter_documents`` wrote.
        duplicates: The dump's ``duplicates-<dump>.parquet``.
        out: Empty folder; see the module's description.
        memory_limit: Of DuckDB, which joins decisions and duplicates.

    Raises:
        CleanTextError: If a file is missing, or decisions and documents do not belong together.
    """
    for path in (filtered / "decisions.parquet", duplicates):
        if not path.is_file():
            raise CleanTextError(f"{path} is missing; run the stage that writes it again")
    dropped: Counter[str] = Counter()
    size = characters = kept = 0
    with TableWriter(out / "ledger.parquet", LEDGER) as writer:
        for rows in _ledger_rows(filtered / "decisions.parquet", duplicates, out, memory_limit):
            writer.write(rows)
            staying = rows.filter(rows["kept"])
            kept += staying.num_rows
            size += pc.sum(staying["clean_bytes"], min_count=0).as_py()
            characters += pc.sum(staying["characters"], min_count=0).as_py()
            dropped.update(filter(None, rows["rule"].to_pylist()))
    written = _write_documents(filtered, out)
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


def _ledger_rows(decisions: Path, duplicates: Path, scratch: Path, memory_limit: str) -> Iterator[pa.Table]:
    """The decisions in their order, overruled where the document is a copy."""
    names = [name for name in DECISIONS.names if name not in ("kept", "rule")]
    columns = ", ".join(f"decisions.{name}" for name in names)
    with (
        tempfile.TemporaryDirectory(prefix=".ledger-", dir=scratch) as temporary,
        duckdb.connect(config={"memory_limit": memory_limit, "threads": 2, "temp_directory": temporary}) as connection,
    ):
        rows = connection.sql(
            f"SELECT {columns}, decisions.kept AND copies.doc_id IS NULL AS kept, "
            "CASE WHEN decisions.kept AND copies.doc_id IS NOT NULL THEN ? ELSE decisions.rule END AS rule, "
            "CASE WHEN decisions.kept THEN copies.duplicate_of END AS duplicate_of "
            "FROM read_parquet(?, file_row_number = true) AS decisions "
            "LEFT JOIN read_parquet(?) AS copies USING (doc_id) "
            "ORDER BY decisions.file_row_number",
            params=[EXACT_DUPLICATE, str(decisions), str(duplicates)],
        )
        for batch in rows.to_arrow_reader(_BATCH_ROWS):
            yield pa.Table.from_batches([batch])


def _write_documents(filtered: Path, out: Path) -> int:
    """Write the documents that the ledger keeps, walking through both side by side; returns how many."""
    written = 0
    passing = _Rows(out / "ledger.parquet")
    with DocumentWriter(out) as writer:
        for path in document_files(filtered):
            for batch in pq.ParquetFile(path).iter_batches(_BATCH_DOCUMENTS):
                doc_ids, kept = passing.take(batch.num_rows)
                if doc_ids != batch.column("doc_id"):
                    raise CleanTextError(
                        f"{path} and the decisions beside it name different documents; run the filter again"
                    )
                staying = batch.filter(kept)
                written += staying.num_rows
                writer.write(pa.Table.from_batches([staying]))
    return written


class _Rows:
    """Reads, a few at a time, the ledger's rows that passed the rules: doc_id and whether they are kept."""

    def __init__(self, ledger: Path) -> None:
        self._batches = pq.ParquetFile(ledger).iter_batches(columns=["doc_id", "kept", "rule"])
        self._ready = pa.table({"doc_id": pa.array([], pa.string()), "kept": pa.array([], pa.bool_())})

    def take(self, count: int) -> tuple[pa.StringArray, pa.BooleanArray]:
        while self._ready.num_rows < count and (batch := next(self._batches, None)) is not None:
            rows = pa.Table.from_batches([batch])
            passed = pc.or_(rows["kept"], pc.is_in(rows["rule"], pa.array([EXACT_DUPLICATE])))
            self._ready = pa.concat_tables([self._ready, rows.filter(passed).select(["doc_id", "kept"])])
        taken, self._ready = self._ready.slice(0, count).combine_chunks(), self._ready.slice(count)
        return single_array(taken["doc_id"]), single_array(taken["kept"])
