"""Small tables about a cleaned dump, for a run's page: how many documents went by which rule, and some of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from assets.clean_text.ledger_report.examples import Example
from assets.clean_text.ledger_report.examples import dropped_examples as examples_of_rules
from assets.clean_text.ledger_report.funnel import Funnel, funnels, rule_order
from assets.clean_text.ledger_report.stored import LEDGER_FILE, StoredDump, open_ledgers
from assets.clean_text.policy import Policy


@dataclass(frozen=True)
class RuleCount:
    """What a rule did to a dump; ``rule`` is None for the documents that are kept.

    Attributes:
        rule: Name of the rule.
        documents: Number of documents.
        share: Of all the dump's documents.
        bytes: UTF-8 bytes of their cleaned texts.
    """

    rule: str | None
    documents: int
    share: float
    bytes: int


def funnel(clean_text: Path) -> list[RuleCount]:
    """How many documents of a dump each rule dropped, the most frequent first, and then how many are kept."""
    with duckdb.connect() as connection:
        rows = connection.execute(
            "SELECT rule, count(*), count(*) / sum(count(*)) OVER (), coalesce(sum(clean_bytes), 0)::BIGINT "
            "FROM read_parquet(?) GROUP BY rule ORDER BY rule IS NULL, count(*) DESC, rule",
            [str(clean_text / LEDGER_FILE)],
        ).fetchall()
    return [RuleCount(*row) for row in rows]


def dropped_examples(raw_text: Path, clean_text: Path, *, per_rule: int = 3) -> list[Example]:
    """Some documents that each rule dropped, always the same ones.

    Args:
        raw_text: Folder of the raw text stage, for the texts.
        clean_text: Folder that ``finish_documents`` wrote.
        per_rule: Most examples of a rule.
    """
    names = pq.read_table(clean_text / LEDGER_FILE, columns=["dump"])["dump"].unique().to_pylist()
    dumps = [StoredDump(name=str(name), clean=clean_text, raw=raw_text) for name in names]
    if not dumps:
        return []
    with open_ledgers(dumps[:1]) as connection:
        return examples_of_rules(connection, dumps, order=rule_order(connection, ()), per_rule=per_rule)


def funnel_markdown(clean_text: Path, *, policy: Policy | None = None) -> str:
    """A Markdown table of the way through the rules, a column for each source and language.

    Args:
        clean_text: Folder that ``finish_documents`` wrote.
        policy: Of the run, for the order of the rules; without it they stand in alphabetical order.
    """
    with open_ledgers([StoredDump(name="", clean=clean_text)]) as connection:
        order = rule_order(connection, [policy] if policy else ())
        return _markdown(funnels(connection, order), order)


def _markdown(columns: Sequence[Funnel], order: dict[str, int]) -> str:
    headings = [
        "all" if len(columns) > 1 and not place else f"{column.source or '?'}, {column.language or '?'}"
        for place, column in enumerate(columns)
    ]
    rules = sorted({step.rule for column in columns for step in column.steps}, key=order.__getitem__)
    rows = [
        ("**read**", [f"{column.documents:,}" for column in columns]),
        *((rule, [_share(column.dropped_by(rule), column.documents) for column in columns]) for rule in rules),
        ("**kept**", [_share(column.kept, column.documents) for column in columns]),
        ("**bytes read**", [f"{column.bytes:,}" for column in columns]),
        ("**clean bytes**", [f"{column.clean_bytes:,}" for column in columns]),
    ]
    lines = [["", *(heading.replace("|", "\\|") for heading in headings)], ["---", *["---:"] * len(columns)]]
    lines += [[name, *cells] for name, cells in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _share(count: int, total: int) -> str:
    return f"{count:,} ({count / total:.1%})" if count else "0"
