"""What another policy would keep and drop, compared with the ledger: decided again over stored signals, no text read.

A document that was dropped for a reason that is no rule of its policy (it could not be read, its owner opted out, it is
a copy of a kept one) stays dropped. Where the kept copy would be dropped, its copies may return: they are counted
apart, since which of them would stay is known only after duplicates are searched again. So it is for documents that the
other policy lets in: they may be copies of each other or of kept ones, which nobody has looked for yet.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from assets.clean_text.decisions import failures_query
from assets.clean_text.errors import CleanTextError
from assets.clean_text.ledger_report.effects import REASONS
from assets.clean_text.ledger_report.examples import Example, with_excerpts, with_signals
from assets.clean_text.ledger_report.funnel import rule_order
from assets.clean_text.ledger_report.stored import SIGNALS_FILE, StoredDump, open_ledgers, quoted, rows_of
from assets.clean_text.ledger_report.texts import EXCERPT_CHARACTERS
from assets.clean_text.policy import Policy
from assets.clean_text.rules import UNREADABLE
from assets.clean_text.signals import BEFORE_EDITS, find_signal

DECISIONS_FILE = "decisions.parquet"


@dataclass(frozen=True)
class WhatIfGroup:
    """The documents of one source in one language under both policies.

    Attributes:
        source, language: Which; both None where all are counted together.
        documents: Documents read.
        kept_now, kept_then: Kept by the ledger, and under the other policy.
        newly_kept, newly_dropped: Documents on which the two differ.
        may_return: Copies of newly dropped documents that would themselves pass; not in ``kept_then``.
        bytes_now, bytes_then: UTF-8 bytes of the cleaned texts of the documents kept.
    """

    source: str | None
    language: str | None
    documents: int
    kept_now: int
    kept_then: int
    newly_kept: int
    newly_dropped: int
    may_return: int
    bytes_now: int
    bytes_then: int


@dataclass(frozen=True)
class WhatIfRule:
    """A rule under both policies.

    Attributes:
        rule: Its name.
        first_now, first_then: Documents that it drops as the first rule that fails.
        would_now, would_then: Documents that it would drop if it were the only rule.
        newly_dropped: Kept documents that it would be the first to drop.
        newly_kept: Documents that it was the first to drop and that would be kept.
    """

    rule: str
    first_now: int
    first_then: int
    would_now: int
    would_then: int
    newly_dropped: int
    newly_kept: int


@dataclass(frozen=True)
class WhatIf:
    """What another policy would change.

    Attributes:
        policy: Its name.
        dumps: Names of the dumps.
        groups: By source and language; the first is for all if there are several.
        rules: Every rule of either that drops or would drop anything.
        newly_kept: Examples with the rule that drops them now.
        newly_dropped: Examples with the rule that would drop them.
        groups_of_copies: Newly dropped documents that have copies which may return.
        warnings: What this comparison cannot know.
    """

    policy: str
    dumps: tuple[str, ...]
    groups: tuple[WhatIfGroup, ...]
    rules: tuple[WhatIfRule, ...]
    newly_kept: tuple[Example, ...]
    newly_dropped: tuple[Example, ...]
    groups_of_copies: int
    warnings: tuple[str, ...]


def what_if(
    dumps: Sequence[StoredDump],
    policies: Mapping[str, Policy],
    *,
    examples: int = 5,
    seed: int = 0,
    characters: int = EXCERPT_CHARACTERS,
    memory_limit: str = "512MB",
) -> WhatIf:
    """Decide again about the documents of some dumps.

    Args:
        dumps: With their signals and the policy they were filtered by.
        policies: The other policy of each dump, by its name.
        examples: Most examples of each direction.
        seed: Another seed gives other examples.
        characters: Most characters of an example's text.
        memory_limit: Of DuckDB; what is beyond goes to disk.

    Raises:
        CleanTextError: If signals are gone or were not measured, or signals and ledger do not belong together.
    """
    warnings: list[str] = []
    with open_ledgers(dumps, memory_limit=memory_limit) as connection:
        connection.execute(_TABLES)
        for dump in dumps:
            warnings += _compare(connection, dump, policies[dump.name])
        connection.execute(_RETURNABLE)
        groups = _groups(connection)
        rules = _rules(connection, dumps, policies)
        (copied,) = connection.execute("SELECT count(DISTINCT original) FROM returnable").fetchone() or (0,)
        kept = _examples(connection, "kept_then AND NOT kept_now", "rule_now", count=examples, seed=seed)
        dropped = _examples(connection, "kept_now AND NOT kept_then", "rule_then", count=examples, seed=seed)
    own = {dump.name: dump.policy for dump in dumps if dump.policy}
    return WhatIf(
        policy=", ".join(dict.fromkeys(policies[dump.name].name for dump in dumps)),
        dumps=tuple(dump.name for dump in dumps),
        groups=tuple(groups),
        rules=tuple(rules),
        newly_kept=tuple(with_excerpts(with_signals(kept, own), dumps, characters=characters)),
        newly_dropped=tuple(with_excerpts(with_signals(dropped, policies), dumps, characters=characters)),
        groups_of_copies=copied,
        warnings=tuple(dict.fromkeys(warnings)),
    )


_TABLES = """
CREATE TEMP TABLE compared (
    doc_id VARCHAR, dump VARCHAR, source VARCHAR, language VARCHAR, clean_bytes BIGINT, duplicate_of VARCHAR,
    measured BOOLEAN, passes BOOLEAN, kept_now BOOLEAN, kept_then BOOLEAN, rule_now VARCHAR, rule_then VARCHAR,
    value DOUBLE, threshold DOUBLE
);
CREATE TEMP TABLE would_then (rule VARCHAR, documents BIGINT);
"""

# What a copy is a copy of may be a near copy itself: the one that is kept is then one step further.
_RETURNABLE = """
CREATE TEMP TABLE returnable AS
WITH copies AS (
    SELECT copy.source, copy.language, coalesce(middle.duplicate_of, copy.duplicate_of) AS original
    FROM compared AS copy LEFT JOIN (SELECT doc_id, duplicate_of FROM compared WHERE duplicate_of IS NOT NULL) AS middle
    ON copy.duplicate_of = middle.doc_id WHERE copy.duplicate_of IS NOT NULL AND copy.passes
)
SELECT source, language, original FROM copies SEMI JOIN
(SELECT doc_id AS original FROM compared WHERE kept_now AND NOT kept_then) USING (original)
"""

# Another policy matters only where every reason for which a document is dropped is a rule of its own policy.
_COMPARED = """
INSERT INTO compared
WITH places AS (SELECT doc_id, file_row_number FROM read_parquet({signals}, file_row_number = true)),
judged AS (SELECT places.doc_id, place, value, threshold FROM places LEFT JOIN failing USING (file_row_number)),
known AS (
    SELECT ledger.*, judged.doc_id IS NOT NULL AS measured, {then}[judged.place + 1] AS failed,
        judged.value AS measure, judged.threshold AS bound,
        kept OR (len({reasons}) > 0 AND list_has_all({now}, {reasons})) AS open
    FROM (SELECT * FROM ledger WHERE dump = $dump) AS ledger LEFT JOIN judged ON ledger.doc_id = judged.doc_id
)
SELECT doc_id, dump, source, language, clean_bytes, duplicate_of, measured, measured AND failed IS NULL, kept,
    measured AND failed IS NULL AND open, rule,
    CASE WHEN open THEN failed WHEN duplicate_of IS NOT NULL THEN coalesce(failed, rule) ELSE rule END, measure, bound
FROM known
"""

_NOTHING = "SELECT 0 AS row, 0 AS place, 0::DOUBLE AS value, 0::DOUBLE AS threshold WHERE false"


def _compare(connection: duckdb.DuckDBPyConnection, dump: StoredDump, policy: Policy) -> list[str]:
    """Add a dump's documents to the table ``compared``; returns warnings."""
    if dump.filtered is None or dump.policy is None:
        raise CleanTextError(f"the signals of '{dump.name}' are gone: materialize filtered_text of it again")
    path = dump.filtered / SIGNALS_FILE
    signals = quoted(str(path))
    columns, warnings = _columns(connection, dump, policy, pq.read_schema(path).names)
    relation = f"(SELECT {columns} FROM read_parquet({signals}, file_row_number = true))"
    languages = [row[0] for row in connection.execute(f"SELECT DISTINCT declared_language FROM {relation}").fetchall()]
    rules = [rule for rule in policy.rules if rule.is_on]
    failures = failures_query(rules, languages, relation=relation, row="file_row_number") or _NOTHING
    connection.execute(f"CREATE OR REPLACE TEMP TABLE failures AS {failures}")
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE failing AS SELECT row AS file_row_number, min(place) AS place, "
        "arg_min(value, place) AS value, arg_min(threshold, place) AS threshold FROM failures GROUP BY row"
    )
    now, then = (
        f"([{', '.join(quoted(name) for name in names)}]::VARCHAR[])"
        for names in ([rule.name for rule in dump.policy.rules], [rule.name for rule in rules])
    )
    connection.execute(f"INSERT INTO would_then SELECT {then}[place + 1], count(*) FROM failures GROUP BY place")
    connection.execute(_COMPARED.format(signals=signals, reasons=REASONS, now=now, then=then), {"dump": dump.name})
    found, lost = connection.execute(
        "SELECT count(*) FILTER (measured), count(*) FILTER (NOT measured AND rule_now IS DISTINCT FROM ?) "
        "FROM compared WHERE dump = ?",
        [UNREADABLE, dump.name],
    ).fetchone() or (0, 0)
    if lost or found != pq.read_metadata(path).num_rows:
        raise CleanTextError(f"{path} and {dump.clean} tell of different documents: materialize clean_text again")
    return [*_line_rule_warnings(dump.policy, policy), *warnings]


def _columns(
    connection: duckdb.DuckDBPyConnection, dump: StoredDump, policy: Policy, measured: Sequence[str]
) -> tuple[str, list[str]]:
    """SQL of the columns that a policy asks for, and warnings."""
    columns = {name: name for name in policy.signals if name in measured}
    # Where no edit touched a text, a signal before edits is the signal.
    replaced = {
        name: base
        for name in policy.signals
        if name not in measured and (base := name.removesuffix(BEFORE_EDITS)) in measured
    }
    missing = [name for name in policy.signals if name not in columns and name not in replaced]
    if missing:
        raise CleanTextError(
            f"the policy '{policy.name}' asks for signals that were not measured of '{dump.name}': "
            f"{', '.join(missing)}. {_remedy(missing)}"
        )
    warnings = []
    if replaced:
        decisions = quoted(str((dump.filtered or Path()) / DECISIONS_FILE))
        (edited,) = connection.execute(
            f"SELECT count(*) FROM read_parquet({decisions}) WHERE len(edits) > 0"
        ).fetchone() or (0,)
        if edited:
            warnings.append(
                f"{dump.name}: signals before edits were not measured; {edited:,} documents that were edited are "
                "judged by their edited text"
            )
    names = (f'"{stored}" AS "{name}"' for name, stored in (columns | replaced).items())
    return ", ".join(["file_row_number", "declared_language", *names]), warnings


def _remedy(missing: Sequence[str]) -> str:
    costly = [name for name in missing if find_signal(name).on_request]
    if not costly:
        return "Materialize filtered_text with the setting 'signals: all'"
    return (
        f"{', '.join(costly)} {'is' if len(costly) == 1 else 'are'} costly and measured only where a rule asks for it: "
        "materialize filtered_text with this policy, or with 'signals: all' and a policy that has such a rule"
    )


def _line_rule_warnings(now: Policy, then: Policy) -> list[str]:
    before, after = (
        {rule.name: rule.model_dump(exclude={"description"}) for rule in policy.lines} for policy in (now, then)
    )
    differing = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    if not differing:
        return []
    return [
        f"line rules differ ({', '.join(differing)}), and texts were not edited again: documents are judged by their "
        f"text as the policy '{now.name}' left it"
    ]


def _groups(connection: duckdb.DuckDBPyConnection) -> list[WhatIfGroup]:
    rows = connection.execute(
        "SELECT source, language, count(*), count(*) FILTER (kept_now), count(*) FILTER (kept_then), "
        "count(*) FILTER (kept_then AND NOT kept_now), count(*) FILTER (kept_now AND NOT kept_then), "
        "(SELECT count(*) FROM returnable WHERE returnable.source IS NOT DISTINCT FROM compared.source "
        "AND returnable.language IS NOT DISTINCT FROM compared.language), "
        "coalesce(sum(clean_bytes) FILTER (kept_now), 0)::BIGINT, "
        "coalesce(sum(clean_bytes) FILTER (kept_then), 0)::BIGINT "
        "FROM compared GROUP BY source, language ORDER BY source, language"
    ).fetchall()
    groups = [WhatIfGroup(*row) for row in rows]
    if len(groups) > 1:
        groups.insert(0, WhatIfGroup(None, None, *(sum(column) for column in list(zip(*rows, strict=True))[2:])))
    return groups


def _rules(
    connection: duckdb.DuckDBPyConnection, dumps: Sequence[StoredDump], policies: Mapping[str, Policy]
) -> list[WhatIfRule]:
    def counts(query: str) -> Counter[str]:
        return Counter(dict(connection.execute(query).fetchall()))

    first_now, first_then, newly_dropped, newly_kept = (
        counts(f"SELECT {rule}, count(*) FROM compared WHERE {rule} IS NOT NULL AND {condition} GROUP BY ALL")
        for rule, condition in (
            ("rule_now", "NOT kept_now"),
            ("rule_then", "NOT kept_then"),
            ("rule_then", "kept_now AND NOT kept_then"),
            ("rule_now", "kept_then AND NOT kept_now"),
        )
    )
    would_now = counts(
        f"SELECT reason, count(*) FROM (SELECT unnest({REASONS}) AS reason FROM ledger WHERE NOT kept) GROUP BY ALL"
    )
    would_then = counts("SELECT rule, sum(documents)::BIGINT FROM would_then GROUP BY ALL")
    order = rule_order(connection, [*policies.values(), *(dump.policy for dump in dumps if dump.policy)])
    ruled = {rule.name for policy in policies.values() for rule in policy.rules}
    ruled |= {rule.name for dump in dumps if dump.policy for rule in dump.policy.rules}
    return [
        WhatIfRule(
            rule,
            first_now[rule],
            first_then[rule],
            would_now[rule],
            would_then[rule] if rule in ruled else would_now[rule],
            newly_dropped[rule],
            newly_kept[rule],
        )
        for rule in order
        if would_now[rule] or would_then[rule]
    ]


def _examples(
    connection: duckdb.DuckDBPyConnection, condition: str, rule: str, *, count: int, seed: int
) -> list[Example]:
    """Some documents, from each rule in turn."""
    if not count:
        return []
    rows = connection.execute(
        f"SELECT {rule}, min_by(doc_id, md5(doc_id || $seed), $count) FROM compared WHERE {condition} "
        f"GROUP BY {rule} ORDER BY {rule}",
        {"seed": str(seed), "count": count},
    ).fetchall()
    turns = [(turn, name, doc_id) for name, doc_ids in rows for turn, doc_id in enumerate(doc_ids)]
    chosen = [doc_id for _, _, doc_id in sorted(turns)[:count]]
    if not chosen:
        return []
    values = "ledger.value, ledger.threshold" if rule == "rule_now" else "compared.value, compared.threshold"
    found = rows_of(
        connection,
        f"SELECT {rule} AS rule, ledger.doc_id, ledger.dump, ledger.source, ledger.language, path, byte_start, "
        f"byte_end, {values} FROM ledger JOIN compared USING (doc_id) WHERE doc_id IN (SELECT unnest($ids))",
        {"ids": chosen},
    )
    examples = {row["doc_id"]: Example(**row) for row in found}
    return [examples[doc_id] for doc_id in chosen]
