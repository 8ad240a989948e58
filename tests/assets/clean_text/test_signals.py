from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from assets.clean_text.errors import CleanTextError
from assets.clean_text.kernels.word_statistics import word_statistics
from assets.clean_text.signals import (
    SIGNALS,
    Signal,
    TextBatch,
    find_signal,
    measure,
    signal,
    signals_schema,
    usual_signals,
)
from assets.clean_text.signals.batch import split


def batch(*texts: str, language: str = "en") -> TextBatch:
    return TextBatch(pa.array(texts, pa.string()), pa.array([language] * len(texts), pa.string()))


@pytest.mark.parametrize("known", [s for s in SIGNALS.values() if s.example is not None], ids=lambda s: s.name)
def test_each_signal_has_the_value_of_its_example(known: Signal) -> None:
    assert known.example is not None
    text, expected = known.example
    table = measure(pa.array(["0"]), batch(text, language=known.language), [known.name])
    assert table.schema.field(known.name).type == known.type
    value = table[known.name][0].as_py()
    assert math.isclose(value, expected) if isinstance(expected, float) else value == expected


@pytest.mark.parametrize("known", SIGNALS.values(), ids=lambda s: s.name)
def test_no_signal_depends_on_the_documents_beside_it(known: Signal) -> None:
    if known.name in ("quality", "perplexity"):
        pytest.skip("asks a model")
    texts = [
        "One line.\nAnother line.",
        "",
        "这本书很好看，我很喜欢。\n这本书很好看，我很喜欢。",
        "\n \n",
        "{ 1 } # ... …",
        "a " * 400,
    ]
    together = measure(pa.array(["0"] * len(texts)), batch(*texts, language="zh"), [known.name])[known.name].to_pylist()
    alone = [
        measure(pa.array(["0"]), batch(text, language="zh"), [known.name])[known.name][0].as_py() for text in texts
    ]
    assert together == alone


def test_a_mixed_batch_is_cut_by_each_language() -> None:
    texts = pa.array(["I don't know.", "我喜欢看书。", "Je ne sais pas."])
    table = measure(
        pa.array(["0", "1", "2"]),
        TextBatch(texts, pa.array(["en", "zh-Hant", "fr"])),
        ["word_splitter", "pieces", "words"],
    )
    assert table["word_splitter"].to_pylist() == ["english", "rjieba", "spaces"]
    assert table["pieces"].to_pylist() == [5, 4, 5]
    assert table["words"].to_pylist() == [4, 3, 4]


def test_a_signal_of_the_user() -> None:
    @signal(pa.int64(), example=("why? why?", 2))
    def question_marks(batch: TextBatch) -> Any:
        """Occurrences of a question mark."""
        return np.array([text.count("?") for text in batch.texts.to_pylist()])

    try:
        assert "question_marks" in usual_signals()
        table = measure(pa.array(["0"]), batch("why? why?"), ["question_marks", "words"])
        assert table.to_pylist() == [{"doc_id": "0", "declared_language": "en", "question_marks": 2, "words": 2}]
        with pytest.raises(ValueError, match="the name is taken"):
            signal(pa.int64())(question_marks)
    finally:
        del SIGNALS["question_marks"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros(1), "'wrong' gives 1 values for 2 documents"),
        (np.full(2, 0.5), "'wrong' gives no int64"),
        (["a", "b"], "'wrong' gives no int64"),
        (pa.array([0.5, 1.0]), "'wrong' gives no int64"),
        ([[1], [2]], "'wrong' gives no int64"),
    ],
)
def test_wrong_values_of_a_users_signal_name_it(values: Any, message: str) -> None:
    @signal(pa.int64())
    def wrong(batch: TextBatch) -> Any:
        """Values that fit neither the documents nor the type."""
        return values

    try:
        with pytest.raises(CleanTextError, match=message):
            measure(pa.array(["0", "1"]), batch("a", "b"), ["wrong"])
    finally:
        del SIGNALS["wrong"]


@pytest.mark.parametrize(
    "values", [[1, 2], pa.array([1, 2], pa.int8()), pa.chunked_array([[1], [2]]), np.array([1.0, 2.0])]
)
def test_values_may_come_in_any_form_that_says_the_same(values: Any) -> None:
    @signal(pa.int64())
    def numbers(batch: TextBatch) -> Any:
        """Numbers."""
        return values

    try:
        assert measure(pa.array(["0", "1"]), batch("a", "b"), ["numbers"])["numbers"].to_pylist() == [1, 2]
    finally:
        del SIGNALS["numbers"]


@pytest.mark.parametrize("name", ["doc_id", "declared_language", "words", "more_before_edits"])
def test_names_of_columns_that_are_there_are_taken(name: str) -> None:
    def compute(batch: TextBatch) -> Any:
        """A number."""
        return batch.characters

    compute.__name__ = name
    with pytest.raises(ValueError, match=f"cannot be named '{name}'"):
        signal(pa.int64())(compute)


def test_every_signal_but_a_models_has_an_example() -> None:
    assert {name for name, known in SIGNALS.items() if known.example is None} == {"quality", "perplexity"}


@pytest.mark.parametrize("known", SIGNALS.values(), ids=lambda s: s.name)
def test_parts_of_arrays_have_the_values_of_their_texts(known: Signal) -> None:
    if known.name in ("quality", "perplexity"):
        pytest.skip("asks a model")
    texts = ["left out " * 9, "One.\nOne.\n\nTwo 😀…", "", "好书。\n好书。", "left out too"]
    languages = pa.array(["en", "en", "fr", "zh-Hant", "en"])
    ids = pa.array(["1", "2", "3"])
    part = TextBatch(pa.array(texts).slice(1, 3), languages.slice(1, 3))
    whole = TextBatch(pa.array(texts[1:4]), pa.array(languages.to_pylist()[1:4]))
    assert measure(ids, part, [known.name]).equals(measure(ids, whole, [known.name]))


def test_stop_words_may_be_of_any_length_and_at_most_64() -> None:
    pieces = split(pa.array(["something and nothing", "thing"]), "english")
    assert word_statistics(pieces, ["something", "nothing", "thing", "and", "and"]).stop_words.tolist() == [3, 1]
    assert word_statistics(pieces, []).stop_words.tolist() == [0, 0]
    many = [f"w{number}" for number in range(63)]
    assert word_statistics(pieces, [*many, "thing"]).stop_words.tolist() == [0, 1]
    with pytest.raises(ValueError, match="65 stop words are more than 64"):
        word_statistics(pieces, [*many, "thing", "and"])


def test_a_signal_without_a_docstring_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a docstring"):
        signal(pa.int64())(lambda batch: batch.characters)


def test_before_edits_is_measured_on_the_other_text() -> None:
    table = measure(
        pa.array(["0"]), batch("one two"), ["words", "words_before_edits"], before=batch("one two three four")
    )
    assert (table["words"].to_pylist(), table["words_before_edits"].to_pylist()) == ([2], [4])


def test_an_unknown_signal_names_the_nearest() -> None:
    with pytest.raises(CleanTextError, match=r"no signal 'word', did you mean 'words'\?"):
        find_signal("word")
    with pytest.raises(CleanTextError, match="no signal"):
        signals_schema(["wrods_before_edits"])


def test_costly_signals_are_measured_on_request_only() -> None:
    assert "compression_ratio" not in usual_signals()
    assert usual_signals(["compression_ratio", "words_before_edits"])[-1] == "words_before_edits"


def test_a_model_that_is_not_there_is_an_error() -> None:
    for name in ("quality", "perplexity"):
        with pytest.raises(CleanTextError, match=f"{name}_model"):
            measure(pa.array(["0"]), batch("text"), [name])


def test_an_empty_batch() -> None:
    names = usual_signals()
    assert measure(pa.array([], pa.string()), batch(), names).num_rows == 0
