from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.clean_text.repeated_text.settings import CutSettings, HashSettings
from assets.clean_text.repeated_text.windows import WINDOWS, hash_windows
from tests.assets.clean_text.repeated_dumps import (
    cut_texts,
    doc_id,
    find_cuts,
    pieces,
    string_array,
    without_cuts,
    write_dump,
    write_dumps,
)

SENTENCES = CutSettings(passages=True)
EXACT = CutSettings(passages=True, whole_sentences=False)
SIX_WORDS = HashSettings(passages=True, passage_words=6)
TOKEN = regex.compile(r"\p{Han}|[\p{L}\p{M}\p{N}--\p{Han}]+", flags=regex.V1)


def python_tokens(text: str) -> list[tuple[str, int, int, int]]:
    """Folded token, begin, end and weight."""
    return [
        (match.group().lower(), match.start(), match.end(), 1 if regex.match(r"\p{Han}", match.group()) else 2)
        for match in TOKEN.finditer(text)
    ]


def python_windows(text: str, words: int) -> list[tuple[tuple[str, ...], int, int]]:
    """Tokens, begin and end of each shortest window of twice as much weight as words."""
    found = []
    tokens = python_tokens(text)
    for first in range(len(tokens)):
        weight = 0
        for last in range(first, len(tokens)):
            weight += tokens[last][3]
            if weight >= 2 * words:
                window = tokens[first : last + 1]
                found.append((tuple(token[0] for token in window), tokens[first][1], tokens[last][2]))
                break
    return found


def python_cut(texts: Sequence[str], words: int) -> list[list[bool]]:
    """Which characters of each text lie in a window that an earlier text has too, or between two such windows."""
    seen: set[tuple[str, ...]] = set()
    result = []
    for text in texts:
        marks = [False] * len(text)
        windows = python_windows(text, words)
        for window, begin, end in windows:
            if window in seen:
                marks[begin:end] = [True] * (end - begin)
        tokens = python_tokens(text)
        for one, other in pairwise(tokens):
            if marks[one[1]] and marks[other[1]]:
                marks[one[2] : other[1]] = [True] * (other[1] - one[2])
        seen |= {window for window, _, _ in windows}
        result.append(marks)
    return result


def visible(text: str) -> str:
    return "".join(text.split())


def random_words(generator: random.Random, count: int) -> str:
    return " ".join("".join(generator.choices("abcdefghij", k=4)) for _ in range(count))


def test_a_passage_stays_where_it_stands_first(tmp_path: Path) -> None:
    passage = "It was the best of times, it was the worst of times; it was the age of wisdom."
    texts = {
        "one": ["Nothing here.", f"A preface. {passage} A remark."],
        "two": [f"Chapter 1. {passage.upper()} And so on.", "Unrelated words about something else entirely."],
    }
    found = find_cuts(write_dumps(tmp_path / "in", texts, SIX_WORDS), tmp_path / "out", SENTENCES)
    assert found["one"] == []
    assert pieces(found["two"], "two", texts["two"]) == [(0, "repeated_text", passage.upper(), doc_id("one", 1))]
    assert without_cuts("two", texts["two"], found["two"]) == ["Chapter 1. And so on.", texts["two"][1]]


def test_a_chinese_passage(tmp_path: Path) -> None:
    passage = "太阳升起以后，海面变蓝。他们没有说话，只听见水鸟的叫声。"
    texts = {"one": [f"清晨的码头。{passage}"], "two": [f"第二天，{passage}老周坐在船头。"]}
    found = find_cuts(write_dumps(tmp_path / "in", texts, SIX_WORDS), tmp_path / "exact", EXACT)
    assert pieces(found["two"], "two", texts["two"]) == [(0, "repeated_text", passage[:-1], doc_id("one", 0))]
    # The sentence that begins with "第二天" stays whole.
    assert cut_texts(tmp_path, texts, SIX_WORDS, SENTENCES)["two"] == ["第二天，太阳升起以后，海面变蓝。老周坐在船头。"]


@pytest.mark.parametrize(
    ("repeated", "is_found"),
    [
        ("one two three four five six", True),
        ("one two three four five", False),
        ("甲乙丙丁戊己庚辛壬癸子丑", True),
        ("甲乙丙丁戊己庚辛壬癸子", False),
        ("one 甲乙丙丁戊己庚辛壬癸", True),
        ("one 甲乙丙丁戊己庚辛壬", False),
        ("一 one 二 two 三 three 四 four", True),
        ("ひらがなカタカナをかく。", False),
        ("ひらがなとカタカナをかく。", True),
    ],
)
def test_a_character_of_an_unspaced_script_counts_for_half_a_word(
    tmp_path: Path, repeated: str, is_found: bool
) -> None:
    texts = {"one": [f"before; {repeated}; after"], "two": [f"vorher; {repeated}; nachher"]}
    cut = cut_texts(tmp_path, texts, SIX_WORDS, EXACT)["two"] != texts["two"]
    assert cut == is_found


@pytest.mark.parametrize(
    ("text", "left"),
    [
        # Only a part of the first or the last sentence is repeated.
        ("Own start b c d e f. G h i j k l m n. O p own end.", "Own start b c d e f. O p own end."),
        ("Own start b c d e f. G h i j k l m n o p.", "Own start b c d e f."),
        ("A b c d e f. G h i j own end.", "G h i j own end."),
        # Lines end sentences, and closing quotes belong to them.
        ("Own\na b c d e f\ng h i j own end", "Own\ng h i j own end"),
        ("Own. “A b c d e f!” (G h i j own end.)", "Own. (G h i j own end.)"),
        # Two halves of sentences hold no sentence.
        ("Own a b c d. E f g h i own.", "Own a b c d. E f g h i own."),
        # Nothing near the edge ends a sentence: the edge stays.
        ("Own a b c d e f g h i j k l m n o p own", "Own own"),
        ("Own. A b c d e f g h i j k l m n o p own", "Own. own"),
        # Full stops in numbers, names and addresses end nothing.
        ("Own a.b.c d. E f g h i j k. L own.", "Own a.b.c d. L own."),
        ("Own. A b c d e f. 10.3.1. Own.", "Own. 10.3.1. Own."),
        ("Own a b c d e 1.\nA b c d e f g h i 2.\nOwn.", "Own a b c d e 1.\nOwn."),
        ("Own.\n10.3.1. A b c d e f.", "Own.\n10.3.1."),
    ],
)
def test_sentences_stay_whole(tmp_path: Path, text: str, left: str) -> None:
    texts = {"one": ["First a b c d e f g h i j k l m n o p last. A b c d e f g h i 2"], "two": [text]}
    assert cut_texts(tmp_path, texts, SIX_WORDS, SENTENCES)["two"] == [left]


def test_the_parts_of_a_passage_name_the_documents_that_have_them(tmp_path: Path) -> None:
    texts = {"d": ["a b c d e f g h", "e f g h i j k l", "x a b c d e f g h i j k l y"]}
    found = find_cuts(write_dumps(tmp_path / "in", texts, SIX_WORDS), tmp_path / "out", EXACT)
    assert pieces(found["d"], "d", texts["d"]) == [
        (2, "repeated_text", "a b c d e f g h ", doc_id("d", 0)),
        (2, "repeated_text", "i j k l", doc_id("d", 1)),
    ]


def test_repetition_within_a_document_is_left_to_other_rules(tmp_path: Path) -> None:
    texts = {"d": ["ha " * 100, "one two three four five six. " * 3, ""]}
    assert cut_texts(tmp_path, texts, SIX_WORDS, EXACT) == texts


def test_a_combining_mark_is_not_parted_from_its_letter(tmp_path: Path) -> None:
    # No composed form exists; Thai vowels above are tokens of their own.
    texts = {
        "one": ["ก็ ก ก ก ก ก ก ก ก ก ก ก", "x\u0331 b c d e f g"],
        "two": ["ก ก ก ก ก ก ก ก ก ก ก ก็", "b c d e f g\u0331"],
    }
    for left, original in zip(cut_texts(tmp_path, texts, SIX_WORDS, EXACT)["two"], texts["two"], strict=True):
        assert not regex.match(r"\p{M}", left)
        assert left == original or left == ""


def test_windows_are_a_sample_of_bounded_size_and_each_stands_once() -> None:
    generator = random.Random(0)
    words = [random_words(generator, 20_000), "too short to be hashed", "", "ha " * 20_000]
    table = hash_windows(string_array(words), words=50)
    assert table.schema == WINDOWS
    rows = table["row"].to_pylist()
    # Of 26 windows in a row one is selected: 2 of 27 on the average (Schleimer, Wilkerson and Aiken, section 3).
    assert 0.9 < rows.count(0) / (20_000 * 2 / 27) < 1.1
    assert rows.count(3) == 1
    assert set(rows) == {0, 3}
    pairs = list(zip(rows, table["hash"].to_pylist(), strict=True))
    assert pairs == sorted(set(pairs))


@settings(max_examples=100)
@given(st.integers(0, 1 << 32), st.integers(4, 60), st.booleans())
def test_documents_that_share_a_passage_share_a_window(seed: int, words: int, chinese: bool) -> None:
    generator = random.Random(seed)
    count = 2 * words if chinese else words
    tokens = [chr(generator.randrange(0x4E00, 0x9000)) if chinese else random_words(generator, 1) for _ in range(count)]
    passage = ("" if chinese else " ").join(tokens)
    around = [random_words(generator, generator.randrange(40)) for _ in range(4)]
    table = hash_windows(
        string_array([f"{around[0]} {passage} {around[1]}", f"{around[2]} {passage} {around[3]}"]), words=words
    )
    sets: list[set[int]] = [set(), set()]
    for row, value in zip(table["row"].to_pylist(), table["hash"].to_pylist(), strict=True):
        sets[row].add(value)
    assert sets[0] & sets[1]


@settings(max_examples=60)
@given(
    texts=st.lists(st.text("ab乙. ", max_size=40), min_size=2, max_size=6),
    words=st.integers(4, 6),
)
def test_what_is_cut_is_what_python_finds(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], words: int
) -> None:
    tmp_path = tmp_path_factory.mktemp("property")
    hashes = HashSettings(passages=True, passage_words=words)
    half = len(texts) // 2
    result = cut_texts(tmp_path, {"one": texts[:half], "two": texts[half:]}, hashes, EXACT)
    for text, left, marks in zip(texts, result["one"] + result["two"], python_cut(texts, words), strict=True):
        expected = "".join(character for character, mark in zip(text, marks, strict=True) if not mark)
        assert visible(left) == visible(expected)


@settings(max_examples=40)
@given(st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=6), min_size=2, max_size=6))
def test_cutting_again_cuts_nothing(tmp_path_factory: pytest.TempPathFactory, documents: list[list[int]]) -> None:
    # Sentences of some ten different words each: what two documents share are sentences.
    sentences = [f"{random_words(random.Random(number), 10).capitalize()}." for number in range(6)]
    texts = {"d": [" ".join(sentences[number] for number in document) for document in documents]}
    tmp_path = tmp_path_factory.mktemp("property")
    once = cut_texts(tmp_path, texts, SIX_WORDS, SENTENCES)
    assert cut_texts(tmp_path, once, SIX_WORDS, SENTENCES) == once
    for number, sentence in enumerate(sentences):
        holders = [text for text in once["d"] if sentence in text]
        assert len(holders) == any(number in document for document in documents)


def test_the_length_is_that_of_the_hashes(tmp_path: Path) -> None:
    texts = {"one": ["a b c d e f g h"], "two": ["x a b c d e f g h y"]}
    assert cut_texts(tmp_path, texts, HashSettings(passages=True, passage_words=8), EXACT)["two"] == ["x y"]
    assert cut_texts(tmp_path, texts, HashSettings(passages=True, passage_words=9), EXACT) == texts


def test_long_documents_in_small_and_large_row_groups_give_the_same(tmp_path: Path) -> None:
    generator = random.Random(1)
    shared = [random_words(generator, 200) for _ in range(5)]
    texts = [
        " ".join([random_words(generator, 300), generator.choice(shared), random_words(generator, 9)])
        for _ in range(40)
    ]
    hashes = HashSettings(passages=True)
    results = []
    for name, options in {
        "small": {"batch": 1, "group_bytes": 1},
        "large": {"batch": 40, "group_bytes": 1 << 20},
    }.items():
        folder = write_dump(tmp_path / name / "dump", texts, hashes, **options)
        results.append(find_cuts({"dump": folder}, tmp_path / name / "out", EXACT))
    assert results[0] == results[1]
    assert len(results[0]["dump"]) == 40 - len(shared)
    assert {piece for _, _, piece, _ in pieces(results[0]["dump"], "dump", texts)} <= set(shared)


def test_a_text_of_twenty_megabytes(tmp_path: Path) -> None:
    generator = random.Random(2)
    passage = random_words(generator, 60)
    long = " ".join(random_words(generator, 50_000) for _ in range(4))
    text = " ".join([long] * 20 + [passage, long])
    assert len(text) > 20_000_000
    folder = write_dump(tmp_path / "dump", [f"{passage}\nmore", text], HashSettings(passages=True))
    (cut,) = find_cuts({"dump": folder}, tmp_path / "out", EXACT)["dump"]
    assert text.encode()[cut["byte_start"] : cut["byte_end"]].decode() == passage


def test_a_slice_of_an_array_has_the_same_windows() -> None:
    text = random_words(random.Random(3), 200)
    whole = string_array(["before " * 90, text])
    sliced = hash_windows(whole.slice(1), words=50)
    assert sliced.equals(hash_windows(string_array([text]), words=50))
    assert pa.compute.max(sliced["row"]).as_py() == 0
