from __future__ import annotations

import unicodedata

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from assets.clean_text.normalisation import normalise, normalise_batch

# What normalisation is about, mixed with what it has to leave alone.
NASTY = (
    "aZéß \t\n\r\x00\x07\x0b\x0c\x1b\x1c\x7f\x80\x85\x8d\x92\x9d\xa0\xad\u0301\u0308\u061c\u200b\u200c\u200d\u200e"
    "\u2028\u2029\u202e\u202f\u2060\u2126\u212a\u3000\ufeff\ufffc\ufffd\ufffe\U000e0067\U0001f3f4\U0001f468\u4f60中，。！“”‘’…—·"
    "ÃâÂ©€™œ‚°ñÐØ한\u1100\u1161\u0915\u094d\u06cc\u0627"
)
texts = st.text(st.sampled_from(NASTY) | st.characters(exclude_categories=["Cs"]), max_size=40)


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("one\r\ntwo\rthree\x0bfour\x0cfive\u2028six\u2029seven", "one\ntwo\nthree\nfour\nfive\nsix\n\nseven"),
        ("e\u0301tude", "étude"),
        ("\ufeffa\u200bb\u2060c\u00add\x00e", "abcde"),
        ("a\tb", "a\tb"),
        ("1\u00a0000\u202f€", "1 000 €"),
        ("line  \t\n\n\n\n\nnext\n\n", "line\n\nnext"),
        ("\n\n  indented verse", "  indented verse"),
        ("\u3000\u3000缩进的段落。\u3000\n完", "\u3000\u3000缩进的段落。\n完"),
        ("“引号”、全角，ＡＢＣ！——……《书》", "“引号”、全角，ＡＢＣ！——……《书》"),
        ("It’s “quoted” — ﬁne… &amp;", "It’s “quoted” — ﬁne… &amp;"),
        ("voilÃ  le cafÃ©, itâ€™s fine", "voilà le café, it’s fine"),
        ("ä½\u00a0å¥½ï¼Œä¸–ç•Œ", "你好，世界"),
        ("可以：itâ€™s\n你好，“世界”", "可以：it’s\n你好，“世界”"),
        ("soup\x85 na\x92ive", "soup… na’ive"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("क्\u200dष", "क्\u200dष"),
        ("👩\u200d👩\u200d👧 ❤\ufe0f", "👩\u200d👩\u200d👧 ❤\ufe0f"),
        ("wo\u200drd 中\u200c文 \u200d", "word 中文"),
        ("🏴\U000e0067\U000e0062\U000e007f x\U000e0041", "🏴\U000e0067\U000e0062\U000e007f x"),
        ("Ünïcödé, façade, Ærø, ¿qué? 5 €", "Ünïcödé, façade, Ærø, ¿qué? 5 €"),
        ("Привет, «мир» — №5", "Привет, «мир» — №5"),
        ("\u202eevil\u202c", "evil"),
        ("", ""),
        (" \u200b\n\t ", ""),
    ],
)
def test_exact_cases(raw: str, clean: str) -> None:
    assert normalise(raw) == clean


# What is not linear takes minutes for these.
@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("🏴" + "\U000e0067" * 1_000_000 + "\x00", "🏴" + "\U000e0067" * 1_000_000),
        ("x🏴" + "y\U000e0067" * 100_000, "x🏴" + "y" * 100_000),
        ("x" + "\u0315\u0316" * 200_000 + "y", "x" + "\u0316" * 512 + "\u0315" * 512 + "y"),
        ("x" + "\u0316" * 200_000, "x" + "\u0316" * 200_000),
        ("\u0315\u0316" * 200_000, "\u0316" * 512 + "\u0315" * 512),
        ("x\u0315\u0316" * 10_000, "x\u0316\u0315" * 10_000),
    ],
    ids=["flag", "stray tags", "marks", "marks in order", "marks on nothing", "many marks"],
)
def test_time_is_linear(raw: str, clean: str) -> None:
    assert normalise(raw) == clean


def test_blank_lines_are_a_setting() -> None:
    assert normalise("a\n\n\n\n\nb", blank_lines=0) == "a\nb"
    assert normalise("a\n\n\n\n\nb", blank_lines=2) == "a\n\n\nb"


@settings(max_examples=400, deadline=None)
@given(texts)
@example("Ã\u200b©")
@example("Â\u00a0Ã ")
@example("a\u200b\u200d\u0301\u200d")
def test_normal_form_is_stable(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once
    assert unicodedata.is_normalized("NFC", once)
    assert once == once.strip("\n").rstrip()
    assert not set(once) & set("\r\x00\x85\x8d\u200b\u2028\ufeff\xa0\ufffe")


@settings(max_examples=50, deadline=None)
@given(st.lists(texts, max_size=8))
def test_a_batch_is_its_texts(batch: list[str]) -> None:
    assert normalise_batch(pa.array(batch, pa.string())).to_pylist() == [normalise(text) for text in batch]
