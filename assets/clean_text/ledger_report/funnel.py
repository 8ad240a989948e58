"""The way of a corpus through the rules: how many documents of each source and language each step took out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import duckdb

from assets.clean_text.policy import Policy
from assets.clean_text.rules import EXACT_DUPLICATE, NEAR_DUPLICATE, NOTHING_LEFT, UNREADABLE

_LAST = (EXACT_DUPLICATE, NEAR_DUPLICATE, NOTHING_LEFT)


@dataclass(frozen=True)
class Step:
    """What one rule took out, as the first that failed.

    Attributes:
        rule: Name of the rule.
        documents: Documents it dropped.
        bytes: UTF-8 bytes of their texts as read; 0 for what could not be read.
        remaining: Documents that are left after it.
    """

    rule: str
    documents: int
    bytes: int
    remaining: int


@dataclass(frozen=True)
class Funnel:
    """The documents of one source in one language.

    Attributes:
        source: The catalogue's source; None where all are counted together.
        language: Declared language; None where it is unknown or all are counted together.
        documents: Documents read, those included that could not be.
        bytes: UTF-8 bytes of their texts as read.
        steps: Rules that dropped any, in the order in which they are asked.
        kept: Documents kept.
        kept_bytes: UTF-8 bytes of their texts as read.
        clean_bytes: UTF-8 bytes of their texts as cleaned.
    """

    source: str | None
    language: str | None
    documents: int
    bytes: int
    steps: tuple[Step, ...]
    kept: int
    kept_bytes: int
    clean_bytes: int

    def dropped_by(self, rule: str) -> int:
        """Documents that a rule dropped."""
        return sum(step.documents for step in self.steps if step.rule == rule)


def rule_order(connection: duckdb.DuckDBPyConnection, policies: Iterable[Policy]) -> dict[str, int]:
    """The place of every reason in the ledger, in the order in which a document meets them.

    What could not be read comes first, then reasons without a measure (block lists, licences), the rules of the
    policies, other measured reasons (evaluation sets), and last duplicates.
    """
    reasons = connection.execute(
        "SELECT rule, max(value) IS NULL FROM ledger WHERE rule IS NOT NULL GROUP BY rule "
        "UNION SELECT failure.rule, failure.value IS NULL FROM (SELECT unnest(failures) AS failure FROM ledger)"
    ).fetchall()
    ruled = list(dict.fromkeys(rule.name for policy in policies for rule in policy.rules))
    found = {rule for rule, _ in reasons}
    special = {UNREADABLE, *ruled, *_LAST}
    unmeasured = sorted({rule for rule, is_unmeasured in reasons if is_unmeasured} - special)
    measured = sorted(found - special - set(unmeasured))
    first, last = ([rule for rule in rules if rule in found] for rules in ((UNREADABLE,), _LAST))
    return {rule: place for place, rule in enumerate((*first, *unmeasured, *ruled, *measured, *last))}


def funnels(connection: duckdb.DuckDBPyConnection, order: dict[str, int]) -> list[Funnel]:
    """A funnel for each source and language, and before them one for all if there are several.

    Args:
        connection: With the view ``ledger``.
        order: ``rule_order``.
    """
    rows = connection.execute(
        "SELECT source, language, rule, count(*), coalesce(sum(raw_bytes), 0)::BIGINT, "
        "coalesce(sum(clean_bytes), 0)::BIGINT FROM ledger GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    groups = list(dict.fromkeys((source, language) for source, language, *_ in rows))
    result = [
        _funnel(source, language, [row[2:] for row in rows if row[:2] == (source, language)], order)
        for source, language in groups
    ]
    if len(groups) > 1:
        result.insert(0, _funnel(None, None, [row[2:] for row in rows], order))
    return result


def _funnel(
    source: str | None, language: str | None, rows: Sequence[tuple[str | None, int, int, int]], order: dict[str, int]
) -> Funnel:
    documents, size = sum(row[1] for row in rows), sum(row[2] for row in rows)
    remaining = documents
    steps = []
    for rule in sorted({rule for rule, *_ in rows if rule is not None}, key=order.__getitem__):
        dropped = [row for row in rows if row[0] == rule]
        count = sum(row[1] for row in dropped)
        remaining -= count
        steps.append(Step(rule, count, sum(row[2] for row in dropped), remaining))
    kept = [row for row in rows if row[0] is None]
    return Funnel(
        source, language, documents, size, tuple(steps), remaining, sum(r[2] for r in kept), sum(r[3] for r in kept)
    )
