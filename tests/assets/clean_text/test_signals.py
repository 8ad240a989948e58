from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from assets.clean_text.errors import CleanTextError
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
