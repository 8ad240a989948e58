"""What each rule does, alone and together with the others, and what the edits took."""

from __future__ import annotations

from dataclasses import dataclass

import duckdb

REASONS = "list_distinct(list_append(list_transform(failures, lambda failure: failure.rule), rule))"
"""SQL: every reason for which a document of the ledger is dropped; an empty list if it is kept."""


@dataclass(frozen=True)
class RuleEffect:
    """How often a rule speaks, and how often it matters.

    Attributes:
        rule: Name of the rule.
        first: Documents it dropped as the first rule that failed.
        would: Documents it would drop if it were the only rule.
        alone: Documents that no other rule would drop: they are back if this one is switched off.
        alone_bytes: UTF-8 bytes of these as read.
    """

    rule: str
    first: int
    would: int
    alone: int
    alone_bytes: int


@dataclass(frozen=True)
class EditCount:
    """What a line rule or a mask did to all documents, dropped ones included.

    Attributes:
        rule: Name of the rule.
        documents: Documents it changed.
        pieces: Lines or pieces it cut or replaced.
        bytes: UTF-8 bytes that went.
    """

    rule: str
    documents: int
    pieces: int
    bytes: int


def rule_effects(connection: duckdb.DuckDBPyConnection, order: dict[str, int]) -> list[RuleEffect]:
    """Every rule that dropped or would have dropped a document, and the policies' rules that would have dropped none.

    Args:
        connection: With the view ``ledger``.
        order: ``funnel.rule_order``; the most frequent rule comes first, and of equally frequent ones that by order.
    """
    rows = connection.execute(
        f"WITH dropped AS (SELECT rule, raw_bytes, {REASONS} AS reasons FROM ledger WHERE NOT kept), "
        "reasons AS (SELECT unnest(reasons) AS reason, rule, len(reasons) = 1 AS alone, raw_bytes FROM dropped) "
        "SELECT reason, count(*) FILTER (reason = rule), count(*), count(*) FILTER (alone), "
        "coalesce(sum(raw_bytes) FILTER (alone), 0)::BIGINT FROM reasons GROUP BY reason"
    ).fetchall()
    found = {row[0]: RuleEffect(*row) for row in rows}
    return sorted(
        (found.get(rule, RuleEffect(rule, 0, 0, 0, 0)) for rule in order),
        key=lambda effect: (-effect.first, -effect.would, order[effect.rule]),
    )


def edit_counts(connection: duckdb.DuckDBPyConnection) -> list[EditCount]:
    """What the edits took, most bytes first.

    Args:
        connection: With the view ``ledger``.
    """
    rows = connection.execute(
        "SELECT edit.rule, count(*), sum(edit.count)::BIGINT, sum(edit.bytes)::BIGINT "
        "FROM (SELECT unnest(edits) AS edit FROM ledger) GROUP BY ALL ORDER BY 4 DESC, 1"
    ).fetchall()
    return [EditCount(*row) for row in rows]
