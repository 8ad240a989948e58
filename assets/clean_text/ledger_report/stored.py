"""The stored outputs of cleaned dumps, opened together for questions in SQL."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq

from assets.clean_text.errors import CleanTextError
from assets.clean_text.policy import Policy

LEDGER_FILE = "ledger.parquet"
SIGNALS_FILE = "signals-00000.parquet"

COLUMNS = (
    *("doc_id", "dump", "source", "path", "byte_start", "byte_end", "language", "kept", "rule", "value", "threshold"),
    *("failures", "edits", "detail", "characters", "raw_bytes", "clean_bytes", "duplicate_of", "similarity"),
)
"""Columns of the ledger that its readers ask for."""


@dataclass(frozen=True)
class StoredDump:
    """Where the outputs of one dump lie.

    Attributes:
        name: The dump's name.
        clean: Folder of the stage ``clean_text``, with the ledger.
        filtered: Folder of the stage ``filtered_text`` it was made from, with the signals; None if it is gone.
        raw: Folder of the stage ``raw_text`` that was made from, with the texts as read; None if it is gone.
        policy: The policy by which the dump was filtered; None if ``filtered`` is None.
    """

    name: str
    clean: Path
    filtered: Path | None = None
    raw: Path | None = None
    policy: Policy | None = None


def policy_of_run(inputs: Mapping[str, Any]) -> Policy:
    """The policy that a dump was filtered by, with the thresholds it was changed to.

    Args:
        inputs: Of the manifest of ``filtered_text``, which holds the whole policy: its file may have changed since.

    Raises:
        CleanTextError: If an earlier version wrote the manifest.
    """
    if not isinstance(inputs.get("policy"), Mapping):
        raise CleanTextError("the manifest of filtered_text names no policy; materialize filtered_text again")
    return Policy.parse(inputs["policy"], origin="the policy in the manifest of filtered_text")


@contextmanager
def open_ledgers(
    dumps: Sequence[StoredDump], *, language: str | None = None, memory_limit: str = "512MB"
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a connection with the view ``ledger``: all rows of these dumps, with the columns ``COLUMNS``.

    Rows without a language, which could not be read, have that of their dump where it has only one.

    Args:
        dumps: At least one.
        language: Only rows in this language; "zh" is "zh-Hant" too.
        memory_limit: Of DuckDB; what is beyond goes to disk, and is removed at the end.

    Raises:
        CleanTextError: If a ledger is missing or of an earlier version, or memory or disk do not suffice.
    """
    ledgers = [dump.clean / LEDGER_FILE for dump in dumps]
    for path in ledgers:
        _check_columns(path)
    with (
        tempfile.TemporaryDirectory(prefix="corpusline-ledger-") as scratch,
        duckdb.connect(
            config={"memory_limit": memory_limit, "temp_directory": scratch, "preserve_insertion_order": False}
        ) as connection,
    ):
        # A view takes no parameters, so the names are written into it.
        rows = f"read_parquet([{', '.join(quoted(str(path)) for path in ledgers)}])"
        only = connection.execute(
            f"SELECT dump, min(language) FROM {rows} GROUP BY dump HAVING min(language) = max(language)"
        ).fetchall()
        cases = "".join(f" WHEN {quoted(dump)} THEN {quoted(code)}" for dump, code in only)
        declared = f"coalesce(language, CASE dump{cases} END)" if cases else "language"
        chosen = "true"
        if language:
            chosen = f"language = {quoted(language)} OR starts_with(language, {quoted(f'{language}-')})"
        connection.execute(
            f"CREATE TEMP VIEW ledger AS SELECT * FROM (SELECT {', '.join(COLUMNS)} FROM "
            f"(SELECT * REPLACE ({declared} AS language) FROM {rows})) WHERE {chosen}"
        )
        try:
            yield connection
        except (duckdb.OutOfMemoryException, duckdb.IOException) as error:
            raise CleanTextError(
                f"reading the ledger failed within {memory_limit} of memory and temporary files in {scratch}: {error}; "
                "allow more memory or free disk space"
            ) from error


def rows_of(
    connection: duckdb.DuckDBPyConnection, query: str, values: Sequence[Any] | Mapping[str, Any] = ()
) -> list[dict[str, Any]]:
    """The rows of a query by column; for a few."""
    result = connection.execute(query, values)
    names = [column[0] for column in result.description or ()]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def quoted(value: str) -> str:
    """A text as SQL has it."""
    return "'" + value.replace("'", "''") + "'"


def _check_columns(path: Path) -> None:
    if not path.is_file():
        raise CleanTextError(f"{path} is missing; materialize clean_text again")
    missing = [name for name in COLUMNS if name not in pq.read_schema(path).names]
    if missing:
        raise CleanTextError(
            f"{path} has no column '{missing[0]}': an earlier version wrote it; materialize filtered_text, duplicates "
            "and clean_text again"
        )
