from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.clean_text.signals import SIGNALS, measure, signals_schema

ALL = list(SIGNALS)
texts = st.text(
    st.sampled_from("ab一二三é1٣,。$\ufffd\ue000 \n\t😀") | st.characters(exclude_categories=["Cs"]), max_size=60
)


def signals_of(*documents: str, language: str = "en") -> list[dict[str, Any]]:
    count = len(documents)
    table = measure(
        pa.array([str(index) for index in range(count)], pa.string()),
        pa.array(documents, pa.string()),
        pa.array([language] * count, pa.string()),
        requested=ALL,
    )
    assert table.schema == signals_schema(ALL)
    return [{key: value for key, value in row.items() if key != "doc_id"} for row in table.to_pylist()]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", dict.fromkeys(ALL, 0)),
        (
            "Two words\n\ntwo 2 $",
            {"characters": 18, "bytes": 18, "visible_characters": 13, "lines": 2, "longest_line": 9},
        ),
        ("Two words\n\ntwo 2 $", {"letter_share": 11 / 13, "digit_share": 1 / 13, "symbol_share": 1 / 13}),
        ("Two words\n\ntwo 2 $", {"words_by_space": 5, "mean_word_length_by_space": 13 / 5}),
        ("Two words\n\ntwo 2 $", {"lettered_word_share_by_space": 3 / 5, "latin_share": 1.0, "han_share": 0.0}),
        ("用GPU，训练。", {"bytes": 18, "han_share": 0.5, "latin_share": 0.5, "punctuation_share": 2 / 8}),
        ("我爱北京天安门，GPU 32!", {"words_by_rjieba": 6, "mean_word_length_by_rjieba": 12 / 6}),
        ("一样\n一样\n不同的\n一样", {"lines": 4, "duplicate_line_share": 4 / 9}),
        ("好" * 20, {"repeated_13_gram_share": 7 / 8, "character_entropy": 0.0, "distinct_characters": 1}),
        ("abab", {"character_entropy": 1.0, "distinct_characters": 2, "repeated_13_gram_share": 0.0}),
        ("abc\ufffd\ue000", {"undecoded_share": 0.4}),
        ("x" * 12, {"repeated_13_gram_share": 0.0}),
        ("नमस्ते", {"letter_share": 1.0}),
    ],
)
def test_exact_values(text: str, expected: dict[str, float]) -> None:
    (measured,) = signals_of(text)
    assert {name: measured[name] for name in expected} == pytest.approx(expected)


@settings(max_examples=150, deadline=None)
@given(st.lists(texts, max_size=6))
def test_a_text_is_measured_alike_in_any_batch(documents: list[str]) -> None:
    together = signals_of(*documents) if documents else []
    assert together == [signals_of(text)[0] for text in documents]


@settings(max_examples=200, deadline=None)
@given(texts)
def test_definitions(text: str) -> None:
    (measured,) = signals_of(text)
    visible = [c for c in text if not c.isspace() or c in "\x1c\x1d\x1e\x1f"]
    lines = [line for line in text.split("\n") if line]
    assert measured["characters"] == len(text)
    assert measured["bytes"] == len(text.encode())
    assert measured["visible_characters"] == len(visible)
    assert measured["lines"] == len(lines)
    assert measured["longest_line"] == max(map(len, lines), default=0)
    assert measured["distinct_characters"] == len(set(visible))
    repeated = sum(len(line) * (count - 1) for line, count in Counter(lines).items())
    assert measured["duplicate_line_share"] == pytest.approx(repeated / max(sum(map(len, lines)), 1))
    windows = ["".join(visible[i : i + 13]) for i in range(len(visible) - 12)]
    assert measured["repeated_13_gram_share"] == pytest.approx(1 - len(set(windows)) / len(windows) if windows else 0)
    shares = [count / len(visible) for count in Counter(visible).values()]
    assert measured["character_entropy"] == pytest.approx(-sum(share * math.log2(share) for share in shares))
    assert all(0 <= measured[name] <= 1 for name in SIGNALS if "share" in name)


def test_repetition_of_long_texts_is_estimated() -> None:
    numbers = "".join(f"{n:05}" for n in range(20_000))
    once, twice = signals_of(numbers, numbers + numbers)
    assert twice["repeated_13_gram_share"] - 0.5 == pytest.approx(once["repeated_13_gram_share"] / 2, abs=0.01)


def test_costly_signals_are_measured_on_request_only() -> None:
    names = signals_schema().names
    assert "words_by_rjieba" not in names
    assert "characters" in names
    assert signals_schema(["words_by_rjieba"]).names == [*names, "words_by_rjieba"]


def test_every_signal_is_described() -> None:
    assert all(signal.description.endswith(".") for signal in SIGNALS.values())
