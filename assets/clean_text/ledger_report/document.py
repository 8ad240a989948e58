"""All that is stored about one document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from assets.clean_text.errors import CleanTextError
from assets.clean_text.ledger_report.examples import Example
from assets.clean_text.ledger_report.stored import SIGNALS_FILE, StoredDump, open_ledgers, quoted, rows_of
from assets.clean_text.ledger_report.suspects import suspect_examples
from assets.clean_text.ledger_report.texts import read_excerpts
from training.suspects import Suspect

_MOST_COPIES = 10


@dataclass(frozen=True)
class DocumentAccount:
    """What became of a document and why.

    Attributes:
        row: Its row of the ledger, by column.
        signals: What was measured, by signal; empty if the signals are gone.
        limits: The limits of the run's rules for its language: rule, signal, "at_least" or "at_most", limit.
        originals: Rows of what it is a copy of, and so on to the one that is kept; empty if it is no duplicate. The
            last is missing if its dump is not among those that were searched.
        copies: Up to ten rows of documents that were dropped as its duplicates.
        copy_count: Number of these documents.
        suspects: The steps that trainings have left out and that read it, each with what of it they read.
        excerpt: Beginning of its text as read; empty if the text is gone or was never read.
    """

    row: dict[str, Any]
    signals: dict[str, Any]
    limits: tuple[tuple[str, str, str, float], ...]
    originals: tuple[dict[str, Any], ...]
    copies: tuple[dict[str, Any], ...]
    copy_count: int
    suspects: tuple[Example, ...]
    excerpt: str


def document_account(
    dumps: Sequence[StoredDump],
    doc_id: str,
    *,
    suspects: Mapping[str, Sequence[Suspect]] | None = None,
    characters: int = 1000,
) -> DocumentAccount:
    """Everything about one document.

    Args:
        dumps: Where to look for it and its copies.
        doc_id: Its identity, or the beginning of it.
        suspects: Of trainings, by name.
        characters: Most characters of its text.

    Raises:
        CleanTextError: If there is no such document, or several begin so.
    """
    with open_ledgers(dumps) as connection:
        found = _select(connection, "starts_with(doc_id, ?) ORDER BY doc_id <> ?, doc_id LIMIT 2", [doc_id, doc_id])
        if not doc_id or not found:
            named = ", ".join(dump.name for dump in dumps)
            raise CleanTextError(f"no document '{doc_id}' in the ledgers of {named}; is its dump among them?")
        row = found[0]
        if len(found) > 1 and row["doc_id"] != doc_id:
            raise CleanTextError(
                f"'{doc_id}' is the beginning of several documents, e.g. {row['doc_id']} and {found[1]['doc_id']}; "
                "write more of it"
            )
        originals: list[dict[str, Any]] = []
        while (following := (originals or [row])[-1]["duplicate_of"]) and len(originals) < _MOST_COPIES:
            original = _select(connection, "doc_id = ?", [following])
            if not original:
                break
            originals += original
        copies = _select(connection, f"duplicate_of = ? ORDER BY doc_id LIMIT {_MOST_COPIES}", [row["doc_id"]])
        (count,) = connection.execute(
            "SELECT count(*) FROM ledger WHERE duplicate_of = ?", [row["doc_id"]]
        ).fetchone() or (0,)
        own = {name: [one for one in found if one.doc_id == row["doc_id"]] for name, found in (suspects or {}).items()}
        suspected = suspect_examples(connection, own, per_step=1, characters=characters)
        dump = next(dump for dump in dumps if dump.name == row["dump"])
        signals = _signals(connection, dump, row["doc_id"])
    excerpt = read_excerpts(dump.raw, [row["doc_id"]], characters=characters) if dump.raw else {}
    return DocumentAccount(
        row=row,
        signals=signals,
        limits=_limits(dump, row["language"]),
        originals=tuple(originals),
        copies=tuple(copies),
        copy_count=count,
        suspects=tuple(suspected),
        excerpt=excerpt.get(row["doc_id"], ""),
    )


def _select(connection: duckdb.DuckDBPyConnection, condition: str, values: list[Any]) -> list[dict[str, Any]]:
    return rows_of(connection, f"SELECT * FROM ledger WHERE {condition}", values)


def _signals(connection: duckdb.DuckDBPyConnection, dump: StoredDump, doc_id: str) -> dict[str, Any]:
    if dump.filtered is None:
        return {}
    path = quoted(str(dump.filtered / SIGNALS_FILE))
    measured = rows_of(connection, f"SELECT * FROM read_parquet({path}) WHERE doc_id = ?", [doc_id])
    return {name: value for name, value in (measured[0] if measured else {}).items() if name != "doc_id"}


def _limits(dump: StoredDump, language: str | None) -> tuple[tuple[str, str, str, float], ...]:
    limits = []
    for rule in dump.policy.rules if dump.policy else ():
        threshold = rule.threshold(language)
        if threshold is not None:
            side = "at_least" if rule.at_least is not None else "at_most"
            limits.append((rule.name, rule.signal, side, threshold))
    return tuple(limits)
