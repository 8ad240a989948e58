from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.clean_text.decisions import FAILURE, Failures, combine, decide, find_failures
from assets.clean_text.rules import Rule
from assets.clean_text.signals import SIGNALS, signal

LANGUAGES = ["en", "zh", "zh-Hant", "fr", None]
VALUES = st.none() | st.just(math.nan) | st.sampled_from([0.1, 0.3, 0.1 + 0.2, 1 / 3, 1e-300, -0.0, 5.0])
THRESHOLDS = st.dictionaries(
    st.sampled_from(["en", "zh", "zh-Hant", "*"]),
    st.none() | st.sampled_from([0.1, 0.3, 0.1 + 0.2, 1 / 3, 0.0]),
    min_size=1,
)


def table(languages: list[str | None], **signals: list[Any]) -> pa.Table:
    columns = {name: pa.array(values, SIGNALS[name].type) for name, values in signals.items()}
    return pa.table({"declared_language": pa.array(languages, pa.string()), **columns})


def limit_of(thresholds: dict[str, float | None], language: str | None) -> float | None:
    for key in (language or "", (language or "").split("-")[0], "*"):
        if key in thresholds:
            return thresholds[key]
    return None


@given(
    st.lists(st.tuples(st.sampled_from(LANGUAGES), VALUES, VALUES), max_size=8),
    st.lists(st.tuples(st.sampled_from(["letter_share", "digit_share"]), st.booleans(), THRESHOLDS), max_size=5),
)
def test_decisions_agree_with_the_definition(
    documents: list[tuple[str | None, float | None, float | None]], drawn: list[tuple[str, bool, dict[str, Any]]]
) -> None:
    rules = [
        Rule.parse({"name": f"r{at}", "signal": name, "at_least" if least else "at_most": limits}, origin="test")
        for at, (name, least, limits) in enumerate(drawn)
    ]
    signals = table(
        [language for language, _, _ in documents],
        letter_share=[letters for _, letters, _ in documents],
        digit_share=[digits for _, _, digits in documents],
    )
    decided = decide(signals, rules)
    assert len(decided.rule) == len(decided.failures) == len(documents)
    for row, (language, letters, digits) in enumerate(documents):
        expected = []
        for at, (name, least, limits) in enumerate(drawn):
            value, limit = letters if name == "letter_share" else digits, limit_of(limits, language)
            if value is not None and limit is not None and (value < limit if least else value > limit):
                expected.append({"rule": f"r{at}", "value": value, "threshold": limit})
        assert decided.failures[row].as_py() == expected
        first = expected[0] if expected else {"rule": None, "value": None, "threshold": None}
        assert [decided.rule[row].as_py(), decided.value[row].as_py(), decided.threshold[row].as_py()] == [
            first["rule"],
            first["value"],
            first["threshold"],
        ]


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_value_at_the_threshold_passes_to_the_last_bit(value: float) -> None:
    rules = [
        Rule(name="least", signal="letter_share", at_least=value),
        Rule(name="most", signal="letter_share", at_most=value),
    ]
    above, below = math.nextafter(value, math.inf), math.nextafter(value, -math.inf)
    decided = decide(table(["en"] * 3, letter_share=[value, above, below]), rules)
    assert decided.rule.to_pylist() == [None, "most", "least"]
    assert decided.threshold.to_pylist() == [None, value, value]


def test_what_is_no_number_fails_neither_side() -> None:
    rules = [
        Rule(name="least", signal="letter_share", at_least=0.5),
        Rule(name="most", signal="letter_share", at_most=0.5),
    ]
    assert decide(table(["en"] * 2, letter_share=[math.nan, None]), rules).rule.to_pylist() == [None, None]


def test_whole_numbers_and_truth_values_have_thresholds_too() -> None:
    @signal(pa.bool_())
    def is_shouted(batch: Any) -> Any:
        """Whether all letters are capitals."""
        return np.array([text.isupper() for text in batch.texts.to_pylist()])

    try:
        rules = [
            Rule(name="long", signal="characters", at_most=(1 << 53) - 1),
            Rule(name="shouted", signal="is_shouted", at_most=0),
        ]
        decided = decide(table(["en"] * 2, characters=[1 << 53, 1], is_shouted=[False, True]), rules)
        assert decided.rule.to_pylist() == ["long", "shouted"]
        assert decided.value.to_pylist() == [float(1 << 53), 1.0]
    finally:
        del SIGNALS["is_shouted"]


def test_a_language_named_with_a_quote_is_a_language() -> None:
    rule = Rule(name="few", signal="words", at_least={"o'x": 5, "*": 1})
    assert decide(table(["o'x", "en"], words=[3, 3]), [rule]).rule.to_pylist() == ["few", None]


def test_a_signal_may_be_named_as_the_querys_columns() -> None:
    def row(batch: Any) -> Any:
        """A number."""
        return batch.characters

    for name in ("row", "place", "value", "threshold", "signals"):
        row.__name__ = name
        signal(pa.float64())(row)
        try:
            decided = decide(table(["en", "en"], **{name: [9.0, 1.0]}), [Rule(name="few", signal=name, at_least=5)])
            assert decided.rule.to_pylist() == [None, "few"]
        finally:
            del SIGNALS[name]


@pytest.mark.parametrize("rows", [0, 3])
def test_rules_that_are_off_and_tables_without_rows(rows: int) -> None:
    signals = table(["en"] * rows, words=[0] * rows)
    for rules in ([], [Rule(name="off", signal="words", at_least={"zh": 5, "en": None})]):
        decided = decide(signals, rules)
        assert decided.rule.to_pylist() == [None] * rows
        assert decided.failures.to_pylist() == [[]] * rows
        assert decided.failures.type == pa.list_(FAILURE)
    assert len(decide(signals, [Rule(name="few", signal="words", at_least=5)]).rule) == rows


def test_documents_keep_their_order_in_large_tables() -> None:
    words = [row % 7 for row in range(300_000)]
    rules = [Rule(name="few", signal="words", at_least=2), Rule(name="fewer", signal="words", at_least=1)]
    decided = decide(table(["en"] * len(words), words=words), rules)
    assert decided.rule.to_pylist() == ["few" if count < 2 else None for count in words]
    assert decided.value.to_pylist() == [count if count < 2 else None for count in words]
    assert [len(failures) for failures in decided.failures] == [max(0, 2 - count) for count in words]


def test_failures_of_several_kinds_come_in_the_order_of_the_kinds() -> None:
    signals = table(["en"] * 3, words=[1, 9, 1])
    of_rules = find_failures(signals, [Rule(name="few", signal="words", at_least=5)])
    marked = Failures(np.array([2, 1]), pa.array(["marked", "marked"]), np.array([np.nan, 7]), np.full(2, np.nan))
    decided = combine([marked, of_rules], 3)
    assert decided.rule.to_pylist() == ["few", "marked", "marked"]
    assert decided.value.to_pylist() == [1, 7, None]
    assert decided.failures.to_pylist()[2] == [
        {"rule": "marked", "value": None, "threshold": None},
        {"rule": "few", "value": 1, "threshold": 5},
    ]
    assert combine([], 2).rule.to_pylist() == [None, None]
