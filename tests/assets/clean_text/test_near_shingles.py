from __future__ import annotations

import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shingle_oracle import jaccard, shingle_set

from assets.clean_text.near_duplicates.settings import ShingleSettings
from assets.clean_text.near_duplicates.shingles import shingles

DEFAULT = ShingleSettings()
LONG = "one two three four five six seven"


def sets(texts: list[str], chosen: ShingleSettings = DEFAULT) -> list[set[int]]:
    hashes, starts = shingles(pa.array(texts, pa.string()), chosen)
    found = [hashes[a:b].tolist() for a, b in itertools.pairwise(starts.tolist())]
    assert all(len(set(one)) == len(one) for one in found)
    return [set(one) for one in found]


def same(first: str, second: str) -> bool:
    a, b = sets([first, second])
    return a == b


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        (" \n\t", 0),
        ("...!?", 0),
        ("😀 🎉 👨‍👩‍👧", 0),
        ("\u0301\u0301", 0),
        ("a", 1),
        ("one two three four", 1),
        ("one two three four five", 1),
        (LONG, 3),
        ("a a a a a a a a", 1),
        ("今天天气很好", 1),
        ("今天天气很好我们", 1),
        ("今天天气很好我们去公园", 4),
        ("今天天气很好 one two", 2),  # 6/8 + 2/5 is full, and so is 5/8 + 2/5
        ("ไปเที่ยวที่ทะเลกัน", 6),  # 13 characters that are no marks
        ("שלום עולם זה טקסט בעברית היום", 2),
        ("مرحبا بالعالم هذا نص باللغة العربية", 2),
    ],
)
def test_number_of_shingles(text: str, count: int) -> None:
    assert len(sets([text])[0]) == count
    assert len(shingle_set(text)) == count


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("The Quick, brown FOX jumps!", "the quick brown fox jumps"),
        ("Café à la crème brûlée, déjà vu", "cafe a la creme brulee deja vu"),
        ("cafe\u0301 a b c d", "café a b c d"),
        ("in 1999 it was 1,234,567.89 euro", "in 2024 it was 3 euro"),
        ("version2 of it is out now", "version13 of it is out now"),
        ("ΑΘΗΝΑ είναι η πρωτεύουσα της Ελλάδας", "αθηνα ειναι η πρωτευουσα της ελλαδας"),
        ("٣٫١٤ is pi a b", "3.14 is pi a b"),
        ("今天，天气很好；我们去公园。", "今天天气很好我们去公园"),
        ("今天 天气\n很好我们 去公园", "今天天气很好我们去公园"),
        ("don't stop me now please", "don’t stop me now please"),
    ],
)
def test_folding_makes_equal(first: str, second: str) -> None:
    assert same(first, second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("one two three four", "one two three for"),
        ("one two", "onetwo"),
        ("one two", "two one"),
        ("今天天气", "天今天气"),
        ("한국어 문장 입니다", "한국어 문장 입니까"),
        ("1.a b c", "1a b c"),
        ("in 3 days", "in days"),
        ("a", "b"),
    ],
)
def test_what_differs_stays_different(first: str, second: str) -> None:
    assert not same(first, second)


def test_jaccard_by_hand() -> None:
    a, b = sets(["a b c d e f g h", "a b c d e f g x"])  # four shingles each, three of them common
    assert (len(a & b), len(a | b)) == (3, 5)
    a, b = sets(["一二三四五六七八九十", "零一二三四五六七八九"])  # three each, two common
    assert (len(a & b), len(a | b)) == (2, 4)


def test_length_of_a_shingle_is_a_setting() -> None:
    chosen = ShingleSettings(shingle_words=2, shingle_characters=3)
    assert [len(one) for one in sets([LONG, "今天天气很好"], chosen)] == [6, 4]
    chosen = ShingleSettings(shingle_words=1, shingle_characters=1)
    assert [len(one) for one in sets([LONG, "今天天气很好"], chosen)] == [7, 5]


TEXTS = st.text(
    st.one_of(
        st.sampled_from("ab é12.,٣ \n今天气のー한국"),
        st.sampled_from("今天 "),
        st.characters(exclude_categories=["Cs"]),
    ),
    max_size=60,
)
CHOSEN = st.builds(ShingleSettings, shingle_words=st.integers(1, 6), shingle_characters=st.integers(1, 9))


@settings(max_examples=300, deadline=None)
@given(st.lists(TEXTS, min_size=1, max_size=4), CHOSEN)
def test_sets_are_those_of_python(texts: list[str], chosen: ShingleSettings) -> None:
    found = sets(texts, chosen)
    lengths = {"words": chosen.shingle_words, "characters": chosen.shingle_characters}
    for (a, first), (b, second) in itertools.product(zip(found, texts, strict=True), repeat=2):
        assert len(a) == len(shingle_set(first, **lengths))
        assert len(a & b) == jaccard(first, second, **lengths) * len(a | b)


def test_slices_and_large_strings_are_the_same() -> None:
    texts = ["", LONG, "今天天气很好我们去公园", "é" * 20, "last one of these few words"]
    whole = pa.array(texts, pa.string())
    expected = sets(texts)
    for array in (whole[1:4], pa.array(texts, pa.large_string())[1:4]):
        hashes, starts = shingles(array, DEFAULT)
        assert [set(hashes[a:b].tolist()) for a, b in itertools.pairwise(starts.tolist())] == expected[1:4]
    hashes, starts = shingles(pa.array([], pa.string()), DEFAULT)
    assert len(hashes) == 0 and starts.tolist() == [0]


def test_ten_megabytes() -> None:
    words = np.random.default_rng(0).integers(0, 1 << 40, 1_200_000)
    text = " ".join(f"{word:x}".translate(str.maketrans("0123456789", "ghijklmnop")) for word in words.tolist())
    assert len(text) > 10_000_000
    hashes, _ = shingles(pa.array([text]), DEFAULT)
    assert len(hashes) == len(words) - 4


def test_bytes_that_are_no_utf8_are_read_to_the_end() -> None:
    data = [b"one two three four fiv\xe5", b"\xff\xff\xff\xff", b"one two three four \xf0\x9f"]
    array = pa.Array.from_buffers(pa.string(), 3, pa.array(data, pa.binary()).buffers())
    assert np.diff(shingles(array, DEFAULT).starts).tolist()[0] == 1
