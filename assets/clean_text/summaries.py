"""Small tables about a cleaned dump, for a run's page: how many documents went by which rule, and some of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import duckdb

from assets.clean_text.tables import document_files

_EXCERPT_CHARACTERS = 300


@dataclass(frozen=True)
class RuleCount:
    """What a rule did to a dump; ``rule`` is None for the documents that are kept.

    Attributes:
        rule: Name of the rule.
        documents: Number of documents.
        share: Of all the dump's documents.
        bytes: UTF-8 bytes of their normalised texts.
    """

    rule: str | None
    documents: int
    share: float
    bytes: int


@dataclass(frozen=True)
class DroppedExample:
    """A dropped document with what was measured; ``excerpt`` is the beginning of its raw text."""

    rule: str
    doc_id: str
    path: str
    byte_start: int | None
    value: float | None
    threshold: float | None
    duplicate_of: str | None
    excerpt: str


def funnel(clean_text: Path) -> list[RuleCount]:
    """How many documents of a dump each rule dropped, the most frequent first, and then how many are kept."""
    with duckdb.connect() as connection:
        rows = connection.execute(
            "SELECT rule, count(*), count(*) / sum(count(*)) OVER (), coalesce(sum(clean_bytes), 0)::BIGINT "
            "FROM read_parquet(?) GROUP BY rule ORDER BY rule IS NULL, count(*) DESC, rule",
            [str(clean_text / "ledger.parquet")],
        ).fetchall()
    return [RuleCount(*row) for row in rows]


def dropped_examples(raw_text: Path, clean_text: Path, *, per_rule: int = 3) -> list[DroppedExample]:
    """Some documents that each rule dropped, always the same ones: those with the lowest ids, which are hashes.

    Args:
        raw_text: Folder of the raw text stage, for the texts.
        clean_text: Folder that ``finish_documents`` wrote.
        per_rule: Most examples of a rule.
    """
    with duckdb.connect() as connection:
        rows = connection.execute(
            "WITH chosen AS (SELECT * FROM read_parquet(?) WHERE NOT kept "
            "QUALIFY row_number() OVER (PARTITION BY rule ORDER BY doc_id) <= ?) "
            "SELECT rule, doc_id, path, byte_start, value, threshold, duplicate_of, "
            "coalesce(left(text, ?), detail, '') "
            "FROM chosen LEFT JOIN (SELECT doc_id, text FROM read_parquet(?)) USING (doc_id) ORDER BY rule, doc_id",
            [
                str(clean_text / "ledger.parquet"),
                per_rule,
                _EXCERPT_CHARACTERS,
                [str(path) for path in document_files(raw_text)],
            ],
        ).fetchall()
    return [DroppedExample(*row) for row in rows]
