from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.clean_text.words import preprocess, segment_words, strip_punctuation, words


@pytest.mark.parametrize(
    ("text", "language", "segmented"),
    [
        ("我爱北京天安门。", "zh", "我 爱 北京 天安门 。"),
        ("Don't stop, it's 3.14 o'clock!", "en", "Don't stop , it's 3.14 o'clock !"),
        ("用GPU训练模型，batch=32。", "zh", "用 GPU 训练 模型 ， batch = 32 。"),
        ("第一行\n\nsecond line", "zh", "第一行\n\nsecond line"),
        ("日本語を話す", "ja", "日 本 語 を 話 す"),
        ("", "en", ""),
    ],
)
def test_segment_words(text: str, language: str, segmented: str) -> None:
    assert segment_words(text, language=language) == segmented


@pytest.mark.parametrize(
    ("text", "stripped"),
    [
        ("你好，世界！——“真的”？", "你好 世界 真的"),
        ("Don't stop: it's a well-known 3.14, isn't it?", "Don't stop it's a well-known 3.14 isn't it"),
        ("价格$5.00，约￥36元（含税）", "价格 5.00 约 36元 含税"),
        ("one - two\n...\nthree", "one two\n\nthree"),
        ("很好.很好", "很好 很好"),
    ],
)
def test_strip_punctuation(text: str, stripped: str) -> None:
    assert strip_punctuation(text) == stripped


@given(
    st.text(
        st.sampled_from("我们爱北京的天安门 \n\tab'.9，。é한국어👩\u200d\u0301")
        | st.characters(exclude_categories=["Cs"])
    )
)
def test_no_character_is_lost(text: str) -> None:
    def visible(text: str) -> str:
        return "".join(text.split())

    assert visible("".join(words(text))) == visible(text)


@given(st.text(st.sampled_from("我们爱北京 \nab'.-9，。é$")))
def test_stripping_is_stable(text: str) -> None:
    once = strip_punctuation(text)
    assert strip_punctuation(once) == once


def test_preprocess_does_what_is_asked() -> None:
    texts, languages = pa.array(["我爱北京。", "It's fine."]), pa.array(["zh", None])
    assert preprocess(texts, languages, segment=False, strip=False) is texts
    assert preprocess(texts, languages, segment=True, strip=True).to_pylist() == ["我 爱 北京", "It's fine"]
    assert preprocess(texts, languages, segment=False, strip=True).to_pylist() == ["我爱北京", "It's fine"]
