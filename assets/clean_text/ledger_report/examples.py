"""Documents to look at: some that each rule dropped, and some that it nearly dropped. The same ones every time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import duckdb

from assets.clean_text.ledger_report.effects import REASONS
from assets.clean_text.ledger_report.stored import SIGNALS_FILE, StoredDump, quoted
from assets.clean_text.ledger_report.texts import EXCERPT_CHARACTERS, read_excerpts
from assets.clean_text.rules import Rule

NEAR = 0.25
"""A kept document is near a limit if its value is within this share of it."""

_PLACE = "doc_id, dump, source, language, path, byte_start, byte_end"


@dataclass(frozen=True)
class Example:
    """A document with what a rule measured.

    Attributes:
        rule: The rule it is an example of.
        doc_id: Its identity.
        dump, source, language: Where it is from.
        path: File in the source.
        byte_start, byte_end: Place in that file; None if unknown.
        value, threshold: What the rule measured and its limit; None if it measures nothing.
        others: Other reasons for which it is dropped.
        duplicate_of: The copy that is kept instead, if it is a duplicate.
        excerpt: Beginning of its text as read; for what could not be read, why.
    """

    rule: str
    doc_id: str
    dump: str
    source: str | None
    language: str | None
    path: str
    byte_start: int | None
    byte_end: int | None
    value: float | None
    threshold: float | None
    others: tuple[str, ...] = ()
    duplicate_of: str | None = None
    excerpt: str = ""


def dropped_documents(
    connection: duckdb.DuckDBPyConnection, order: dict[str, int], *, per_rule: int, seed: int = 0
) -> list[Example]:
    """Examples of what each rule dropped: those with the lowest hash of doc_id and seed, without their texts.

    Documents that it dropped as the first rule come before those that an earlier rule had dropped already.

    Args:
        connection: With the view ``ledger``.
        order: ``funnel.rule_order``; the examples come in this order.
        per_rule: Most examples of a rule.
        seed: Another seed chooses other documents.
    """
    rows = connection.execute(
        f"WITH reasons AS (SELECT *, unnest({REASONS}) AS reason, {REASONS} AS reasons FROM ledger WHERE NOT kept), "
        f"chosen AS (SELECT reason, unnest(min_by({{row: {{{_packed()}}}}}, row(reason <> rule, md5(doc_id || $seed)), "
        "$count)) AS example FROM reasons GROUP BY reason) SELECT reason, example.row FROM chosen",
        {"seed": str(seed), "count": per_rule},
    ).fetchall()
    found = sorted((_dropped(reason, row) for reason, row in rows), key=lambda example: order[example.rule])
    return [example for example in found]


def _packed() -> str:
    return ", ".join(f"{name}: {name}" for name in _PLACE.split(", "))
