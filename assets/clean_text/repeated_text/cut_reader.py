"""The cuts of a dump in the order of its documents, a few at a time."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from assets.clean_text.errors import CleanTextError
from assets.clean_text.repeated_text.corpus import RankedRows, parquet
from assets.clean_text.repeated_text.cuts import CUTS
from assets.clean_text.tables import document_files

_BATCH_ROWS = 1 << 14


class CutReader:
    """Reads ``cuts-<dump>.parquet``, which is ordered by doc_id, beside the documents, which are not."""

    def __init__(
        self, cuts: Path, documents: Path, *, memory_limit: str = "512MB", temporary: Path | None = None
    ) -> None:
        """Put the cuts in order, out of core.

        Args:
            cuts: The dump's ``cuts-<dump>.parquet``.
            documents: Folder with the ``documents-*.parquet`` it was made for.
            memory_limit: Of DuckDB.
            temporary: Where to put what does not fit.

        Raises:
            CleanTextError: If the file is missing or names a document that is not there.
        """
        if not cuts.is_file():
            raise CleanTextError(f"{cuts} is missing; run the stage that finds repeated text again")
        self._next = 0
        rows, parts = 0, []
        for path in document_files(documents):
            parts.append(f"SELECT {rows} + file_row_number AS rank, doc_id FROM {parquet(path, numbered=True)}")
            rows += pq.read_metadata(path).num_rows
        with ExitStack() as stack:
            scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix=".cuts-", dir=temporary))
            config = {"memory_limit": memory_limit, "threads": 2, "temp_directory": scratch}
            connection = stack.enter_context(duckdb.connect(config=config))
            connection.execute("SET enable_progress_bar = false")
            connection.execute(f"CREATE VIEW documents AS {' UNION ALL '.join(parts)}")
            cut = f"SELECT * FROM {parquet(cuts)}"
            stranger = connection.execute(f"SELECT doc_id FROM ({cut}) ANTI JOIN documents USING (doc_id)").fetchone()
            if stranger:
                raise CleanTextError(
                    f"{cuts} names the document {stranger[0]}, which is not in {documents}; "
                    "run the stage that finds repeated text again"
                )
            ordered = connection.sql(f"SELECT * FROM ({cut}) JOIN documents USING (doc_id) ORDER BY rank, byte_start")
            self._rows = RankedRows(ordered.to_arrow_reader(_BATCH_ROWS))
            self._stack = stack.pop_all()

    def take(self, documents: int) -> pa.Table:
        """The cuts of the documents that come next, so many; schema ``CUTS``, by document and byte_start."""
        self._next += documents
        return self._rows.below(self._next).select(CUTS.names)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
