"""Decides by the rules of a policy over measured signals, in DuckDB; texts are not read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import duckdb
import numpy as np
import pyarrow as pa

from assets.clean_text.kernels.buffers import Array
from assets.clean_text.rules import Rule

FAILURE_FIELDS: list[pa.Field[Any]] = [
    pa.field("rule", pa.string()),
    pa.field("value", pa.float64()),
    pa.field("threshold", pa.float64()),
]
FAILURE: pa.DataType = pa.struct(FAILURE_FIELDS)
"""A rule that a document fails: its name, what was measured, and the limit."""

_ROW = "#"
"""Column of the document's index; no signal has such a name."""


@dataclass(frozen=True)
class Decisions:
    """What the rules say of n documents.

    Attributes:
        rule: ``pa.StringArray`` (n,): the first rule that failed, null if none.
        value: ``pa.DoubleArray`` (n,): what was measured, null if none failed.
        threshold: ``pa.DoubleArray`` (n,): the limit, null if none failed.
        failures: list of ``FAILURE`` (n,): every rule that failed, in the order of the rules.
    """

    rule: pa.StringArray
    value: pa.DoubleArray
    threshold: pa.DoubleArray
    failures: pa.ListArray[Any]


class Failures(NamedTuple):
    """Rules that documents fail, in any order; m of them.

    Attributes:
        rows: int64 (m,): index of the document.
        names: ``pa.StringArray`` (m,): the rule.
        values: float64 (m,): what was measured; NaN where the rule measures nothing.
        thresholds: float64 (m,): the limit; NaN where there is none.
    """

    rows: Array
    names: pa.StringArray
    values: Array
    thresholds: Array


def decide(signals: pa.Table, rules: Iterable[Rule]) -> Decisions:
    """Apply rules to measured documents.

    Args:
        signals: ``declared_language`` and a column for each signal that a rule asks for, n rows. A value that is null
            or NaN fails no rule.
        rules: In order; the first that fails is the reason.
    """
    return combine([find_failures(signals, rules)], signals.num_rows)


def find_failures(signals: pa.Table, rules: Iterable[Rule]) -> Failures:
    """The rules that measured documents fail, by document and in the order of the rules; arguments as ``decide``'s."""
    rules = [rule for rule in rules if rule.is_on]
    languages = [*dict.fromkeys(signals["declared_language"].to_pylist())]
    query = failures_query(rules, languages, relation="signals", row=f'"{_ROW}"')
    if not query or not signals.num_rows:
        return Failures(np.zeros(0, np.int64), pa.array([], pa.string()), np.zeros(0), np.zeros(0))
    numbered = signals.append_column(_ROW, pa.array(np.arange(signals.num_rows)))
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.register("signals", numbered)
        failed = connection.sql(f"SELECT * FROM ({query}) ORDER BY row, place").to_arrow_table()
    names = pa.array([rule.name for rule in rules], pa.string())
    return Failures(
        failed["row"].to_numpy().astype(np.int64),
        names.take(pa.array(failed["place"].to_numpy().astype(np.int64))),
        failed["value"].to_numpy().astype(np.float64),
        failed["threshold"].to_numpy().astype(np.float64),
    )


def combine(parts: Sequence[Failures], documents: int) -> Decisions:
    """The decisions on documents that failed rules of several kinds: those of an earlier part come first."""
    rows = np.concatenate([*(part.rows for part in parts), np.zeros(0, np.int64)])
    order: Array = np.argsort(rows, kind="stable")
    values, thresholds = (
        np.concatenate([*(getattr(part, name) for part in parts), np.zeros(0)])[order]
        for name in ("values", "thresholds")
    )
    names = pa.concat_arrays([*(part.names for part in parts), pa.array([], pa.string())])
    failures: Any = pa.StructArray.from_arrays(
        [
            names.take(pa.array(order, pa.int64())),
            pa.array(values, pa.float64(), from_pandas=True),
            pa.array(thresholds, pa.float64(), from_pandas=True),
        ],
        fields=FAILURE_FIELDS,
    )
    offsets = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=documents))]).astype(np.int64)
    first: Any = pa.array(offsets[:-1], mask=offsets[1:] == offsets[:-1])
    return Decisions(
        rule=failures.field("rule").take(first),
        value=failures.field("value").take(first),
        threshold=failures.field("threshold").take(first),
        failures=pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32), pa.int32()), failures),
    )


def failures_query(rules: Sequence[Rule], languages: Sequence[str | None], *, relation: str, row: str) -> str:
    """SQL that gives a row (row, place, value, threshold) for each document and each rule it fails.

    Args:
        rules: ``place`` is a rule's index here.
        languages: Every declared language in the relation.
        relation: What the signals are read from, with the columns ``row``, ``declared_language`` and the signals.
        row: Name or expression of what identifies a document there.

    Returns:
        The query; an empty string if no rule has a threshold for any of the languages.
    """
    parts = []
    for place, rule in enumerate(rules):
        limits = {language: rule.threshold(language) for language in languages}
        if all(limit is None for limit in limits.values()):
            continue
        value, limit = f'"{rule.signal}"::DOUBLE', _limit(limits)
        # To DuckDB NaN is larger than every number.
        fails = f"{value} < {limit}" if rule.at_least is not None else f"{value} > {limit} AND NOT isnan({value})"
        parts.append(
            f"SELECT {row} AS row, {place} AS place, {value} AS value, {limit} AS threshold "
            f"FROM {relation} WHERE {fails}"
        )
    return " UNION ALL ".join(parts)


def _limit(limits: dict[str | None, float | None]) -> str:
    if len(set(limits.values())) == 1:
        return _number(next(iter(limits.values())))
    cases = " ".join(
        f"WHEN {_text(language)} THEN {_number(limit)}" for language, limit in limits.items() if language is not None
    )
    return f"(CASE declared_language {cases} ELSE {_number(limits.get(None))} END)"


def _number(limit: float | None) -> str:
    return "NULL::DOUBLE" if limit is None else f"{float(limit)!r}::DOUBLE"


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
