"""Documents to look at: some that each rule dropped, and some that it nearly dropped. The same ones every time."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq

from assets.clean_text.ledger_report.effects import REASONS
from assets.clean_text.ledger_report.stored import SIGNALS_FILE, StoredDump, quoted, rows_of
from assets.clean_text.ledger_report.texts import EXCERPT_CHARACTERS, read_excerpts
from assets.clean_text.policy import Policy
from assets.clean_text.rules import Rule

NEAR = 0.25
"""A kept document is near a limit if its value is within this share of it."""


@dataclass(frozen=True)
class Example:
    """A document with what a rule measured.

    Attributes:
        rule: The rule it is an example of.
        doc_id: Its identity.
        dump, source, language: Where it is from.
        path: File in the source.
        byte_start, byte_end: Place in that file; None if unknown.
        signal: What the rule measures; None if nothing, or if the policy is gone.
        value, threshold: What was measured and the limit; None if the rule measures nothing.
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
    signal: str | None = None
    others: tuple[str, ...] = ()
    duplicate_of: str | None = None
    excerpt: str = ""


def dropped_examples(
    connection: duckdb.DuckDBPyConnection,
    dumps: Sequence[StoredDump],
    *,
    order: Mapping[str, int],
    per_rule: int,
    seed: int = 0,
    characters: int = EXCERPT_CHARACTERS,
) -> list[Example]:
    """Examples of what each rule dropped: the documents with the lowest hash of doc_id and seed.

    Those that it dropped as the first rule come before those that an earlier rule had dropped already.

    Args:
        connection: With the view ``ledger``.
        dumps: For the texts.
        order: ``rule_order``, or a part of it; examples come in this order and only for these rules.
        per_rule: Most examples of a rule.
        seed: Another seed chooses other documents.
        characters: Most characters of an excerpt.
    """
    chosen = connection.execute(
        f"WITH reasons AS (SELECT doc_id, rule, unnest({REASONS}) AS reason FROM ledger WHERE NOT kept) "
        "SELECT reason, min_by(doc_id, row(reason <> rule, md5(doc_id || $seed)), $count) FROM reasons "
        "WHERE list_contains($rules, reason) GROUP BY reason",
        {"seed": str(seed), "count": per_rule, "rules": list(order)},
    ).fetchall()
    chosen.sort(key=lambda row: order[row[0]])
    rows = rows_by_id(connection, {doc_id for _, doc_ids in chosen for doc_id in doc_ids})
    found = [_dropped(rule, rows[doc_id]) for rule, doc_ids in chosen for doc_id in doc_ids]
    policies = {dump.name: dump.policy for dump in dumps if dump.policy}
    return with_excerpts(with_signals(found, policies), dumps, characters=characters)


def near_examples(
    connection: duckdb.DuckDBPyConnection,
    dumps: Sequence[StoredDump],
    *,
    order: Mapping[str, int],
    per_rule: int,
    seed: int = 0,
    characters: int = EXCERPT_CHARACTERS,
) -> list[Example]:
    """Kept documents that a rule nearly dropped: those whose value is nearest to the limit, and not beyond ``NEAR``.

    How near is measured as a share of the limit; rules whose limit is 0 have no examples. Arguments as
    ``dropped_examples``; dumps whose signals are gone have no examples.
    """
    found: list[tuple[int, float, str, Example]] = []
    for dump in dumps:
        if dump.policy is None or dump.filtered is None:
            continue
        path = dump.filtered / SIGNALS_FILE
        measured = set(pq.read_schema(path).names)
        rules = [rule for rule in dump.policy.rules if rule.is_on and rule.name in order and rule.signal in measured]
        for rule, near in zip(rules, _nearest(connection, dump.name, path, rules, per_rule, seed), strict=True):
            rows = rows_by_id(connection, [document["doc_id"] for document in near or ()])
            for document in near or ():
                row = rows[document["doc_id"]] | {"value": document["value"], "threshold": document["threshold"]}
                hashed = hashlib.md5(f"{row['doc_id']}{seed}".encode(), usedforsecurity=False).hexdigest()
                found.append((order[rule.name], document["distance"], hashed, example_of(rule.name, row)))
    found.sort(key=lambda candidate: candidate[:3])
    taken: Counter[str] = Counter()
    examples = []
    for *_, example in found:
        taken[example.rule] += 1
        if taken[example.rule] <= per_rule:
            examples.append(example)
    policies = {dump.name: dump.policy for dump in dumps if dump.policy}
    return with_excerpts(with_signals(examples, policies), dumps, characters=characters)


def with_signals(examples: Sequence[Example], policies: Mapping[str, Policy]) -> list[Example]:
    """The examples with the signals that their rules measure in the policy of their dump."""
    measured = {(dump, rule.name): rule.signal for dump, policy in policies.items() for rule in policy.rules}
    return [replace(example, signal=measured.get((example.dump, example.rule))) for example in examples]


def with_excerpts(
    examples: Sequence[Example], dumps: Sequence[StoredDump], *, characters: int = EXCERPT_CHARACTERS
) -> list[Example]:
    """The examples with the beginnings of their texts, where the texts are still there."""
    excerpts: dict[str, str] = {}
    for dump in dumps:
        if dump.raw is not None:
            wanted = {example.doc_id for example in examples if example.dump == dump.name}
            excerpts |= read_excerpts(dump.raw, wanted, characters=characters)
    return [replace(example, excerpt=excerpts.get(example.doc_id, example.excerpt)) for example in examples]


def _nearest(
    connection: duckdb.DuckDBPyConnection, dump: str, signals: Path, rules: Sequence[Rule], count: int, seed: int
) -> Sequence[list[dict[str, Any]] | None]:
    """For each rule its nearest kept documents: doc_id, value, threshold, distance. One pass over the signals."""
    if not rules:
        return []
    relation = f"read_parquet({quoted(str(signals))})"
    languages = [row[0] for row in connection.execute(f"SELECT DISTINCT declared_language FROM {relation}").fetchall()]
    distances = ", ".join(
        f'"{rule.signal}"::DOUBLE AS value_{place}, {_limit(rule, languages)} AS limit_{place}, '
        f"{'value' if rule.at_least is not None else 'limit'}_{place} - "
        f"{'limit' if rule.at_least is not None else 'value'}_{place} AS slack_{place}, "
        f"CASE WHEN slack_{place} >= 0 AND limit_{place} <> 0 THEN slack_{place} / abs(limit_{place}) END "
        f"AS distance_{place}"
        for place, rule in enumerate(rules)
    )
    nearest = ", ".join(
        f"min_by({{doc_id: doc_id, value: value_{place}, threshold: limit_{place}, distance: distance_{place}}}, "
        f"row(distance_{place}, md5(doc_id || $seed)), $count) FILTER (distance_{place} <= $near)"
        for place in range(len(rules))
    )
    row = connection.execute(
        f"WITH measured AS (SELECT doc_id, {distances} FROM {relation} SEMI JOIN "
        "(SELECT doc_id FROM ledger WHERE kept AND dump = $dump) USING (doc_id)) "
        f"SELECT {nearest} FROM measured",
        {"dump": dump, "seed": str(seed), "count": count, "near": NEAR},
    ).fetchone()
    return row or []


def _limit(rule: Rule, languages: Sequence[str | None]) -> str:
    """SQL: the rule's limit for a row's language, null if it has none."""
    cases = "".join(
        f" WHEN {quoted(language)} THEN {_number(rule.threshold(language))}" for language in languages if language
    )
    others = _number(rule.threshold(None))
    return f"CASE declared_language{cases} ELSE {others} END" if cases else others


def _number(limit: float | None) -> str:
    return "NULL::DOUBLE" if limit is None else f"{float(limit)!r}::DOUBLE"


def rows_by_id(connection: duckdb.DuckDBPyConnection, doc_ids: Collection[str]) -> dict[str, dict[str, Any]]:
    """Rows of the ledger by doc_id."""
    if not doc_ids:
        return {}
    rows = rows_of(connection, "SELECT * FROM ledger WHERE doc_id IN (SELECT unnest(?))", [sorted(doc_ids)])
    return {row["doc_id"]: row for row in rows}


def _dropped(rule: str, row: Mapping[str, Any]) -> Example:
    failures = {failure["rule"]: failure for failure in row["failures"] or ()}
    measured = failures.get(rule, {"value": row["value"], "threshold": row["threshold"]})
    if row["similarity"] is not None and rule == row["rule"]:
        measured = measured | {"value": row["similarity"]}
    others = tuple(name for name in dict.fromkeys([row["rule"], *failures]) if name != rule)
    return replace(example_of(rule, {**row, **measured}), others=others)


def example_of(rule: str, row: Mapping[str, Any]) -> Example:
    """A row of the ledger as an example of a rule."""
    names = ("doc_id", "dump", "source", "language", "path", "byte_start", "byte_end", "value", "threshold")
    values = {name: row[name] for name in names}
    return Example(rule=rule, **values, duplicate_of=row["duplicate_of"], excerpt=row["detail"] or "")
