from __future__ import annotations

import numpy as np
import opencc
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.clean_text.han_writing import simplified_share, traditional_share, writings


def shares(*texts: str) -> list[tuple[float, float]]:
    array = pa.array(list(texts), pa.string())
    return list(zip(simplified_share(array).tolist(), traditional_share(array).tolist(), strict=True))


@pytest.mark.parametrize(
    ("text", "simplified", "traditional"),
    [
        ("", 0, 0),
        ("no Han at all", 0, 0),
        ("天下人心", 0, 0),
        ("汉语，English", 1, 0),
        ("漢語，English", 0, 1),
        ("汉語汉字", 0.5, 0.25),
        # In both writings, if not for the same words.
        ("后台里面乾坤", 0, 0),
        ("機器學習模型需要大量的訓練資料。", 0, 6 / 15),
        ("机器学习模型需要大量的训练资料。", 5 / 15, 0),
        ("𠮷野家", 0, 0),
    ],
)
def test_exact_shares(text: str, simplified: float, traditional: float) -> None:
    assert shares(text) == [(pytest.approx(simplified), pytest.approx(traditional))]


def test_conversion_moves_a_text_from_one_side_to_the_other() -> None:
    simplified = "这家饭馆的菜又便宜又好吃，下次还要来。他虽然很忙，但是每天都坚持锻炼身体。"
    traditional = opencc.OpenCC("s2t").convert(simplified)
    (first, second) = shares(simplified, traditional)
    assert first[0] > 0.15
    assert first[1] == 0
    assert second[0] == 0
    assert second[1] > 0.15


def test_the_table() -> None:
    table = writings()
    assert {int(value) for value in np.unique(table)} == {0, 1, 2, 3}
    assert [int(table[ord(character)]) for character in "国國中a。の한"] == [1, 2, 3, 0, 0, 0, 0]
    assert 2_000 < (table == 1).sum() < 6_000
    assert 2_000 < (table == 2).sum() < 6_000


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.text(st.sampled_from("国國中a。𠮷é😀\n") | st.characters(exclude_categories=["Cs"]))), st.integers(0, 3)
)
def test_definition_in_any_batch(texts: list[str], offset: int) -> None:
    array = pa.array(texts, pa.string())[offset:]
    table = writings()
    measured = zip(simplified_share(array).tolist(), traditional_share(array).tolist(), strict=True)
    for text, (simplified, traditional) in zip(array.to_pylist(), measured, strict=True):
        kinds = [int(table[ord(character)]) for character in text if ord(character) < len(table)]
        han = max(sum(kind > 0 for kind in kinds), 1)
        assert (simplified, traditional) == (kinds.count(1) / han, kinds.count(2) / han)
