from __future__ import annotations

import math
import unicodedata
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.clean_text.kernels import unicode_tables as bits
from assets.clean_text.kernels.buffers import utf8
from assets.clean_text.kernels.character_grams import (
    VARIETY_CHARACTERS,
    WINDOW_CHARACTERS,
    character_variety,
    repeated_windows,
)
from assets.clean_text.kernels.characters import count_characters, count_marks
from assets.clean_text.line_rules import count_words

TEXTS = st.lists(st.text(), max_size=5)
CLASSES = {bits.LETTER: "L", bits.MARK: "M", bits.DIGIT: "N", bits.PUNCTUATION: "P", bits.SYMBOL: "S"}
KNOWN = [point for point in range(0x110000) if unicodedata.category(chr(point)) not in ("Cn", "Cs")]
"""Code points that Python's Unicode tables know; those of ``regex`` may be newer."""


def column(bit: int) -> int:
    return bit.bit_length() - 1


def test_the_classes_are_unicodes_categories() -> None:
    table = bits.character_bits()
    for bit, category in CLASSES.items():
        wrong = [
            point
            for point in KNOWN
            if bool(table[point] & bit) != unicodedata.category(chr(point)).startswith(category)
        ]
        assert wrong == []
    capitals = [
        point for point in KNOWN if bool(table[point] & bits.CAPITAL) != (unicodedata.category(chr(point)) == "Lu")
    ]
    assert capitals == []


def test_what_counts_for_no_word_is_the_peers() -> None:
    peer = pytest.importorskip("datatrove.utils.text")
    idle = {chr(point) for point in range(0x110000) if bits.character_bits()[point] & bits.IDLE}
    terminal = {chr(point) for point in range(0x110000) if bits.character_bits()[point] & bits.TERMINAL}
    # Unicode has got more terminal punctuation since the peer's list was made.
    assert idle >= peer.PUNCTUATION_SET
    assert idle - peer.PUNCTUATION_SET == terminal - peer.TERMINAL_PUNCTUATION


def test_a_letter_is_never_a_mark_that_is_cut_off() -> None:
    table = bits.character_bits()
    marks = bits.IDLE | bits.LEADING | bits.TRAILING | bits.PUNCTUATION | bits.SPACE | bits.TERMINAL
    assert not np.flatnonzero((table & bits.LETTER > 0) & (table & marks > 0)).size


@given(TEXTS)
def test_characters_are_counted_by_class(texts: list[str]) -> None:
    counts = count_characters(*utf8(pa.array(texts, pa.string())), bits.character_bits())
    assert counts[:, -1].tolist() == [len(text) for text in texts]
    assert counts[:, column(bits.SPACE)].tolist() == [sum(map(str.isspace, text)) for text in texts]
    table = bits.character_bits()
    for place in range(32):
        expected = [sum(bool(table[ord(character)] >> np.uint32(place) & 1) for character in text) for text in texts]
        assert counts[:, place].tolist() == expected


@pytest.mark.parametrize(
    ("text", "bit", "count"),
    [
        ("Größe 好き 한 é", bits.LETTER, 9),
        ("e\u0301", bits.MARK, 1),
        ("好〇々き", bits.HAN, 3),
        ("ひらカタ", bits.KANA, 4),
        ("한국", bits.HANGUL, 2),
        ("aßÉ", bits.LATIN, 3),
        ("1²Ⅳ५", bits.DIGIT, 4),
        ("a\ufffd\ue000", bits.UNDECODED, 2),
        ("𝒜𠀀😀", bits.LETTER, 2),
        ("😀☃", bits.ICON, 2),
        ("ÀB c", bits.CAPITAL, 2),
        ("a。b. c؟", bits.TERMINAL, 3),
    ],
)
def test_exact_counts(text: str, bit: int, count: int) -> None:
    assert count_characters(*utf8(pa.array([text])), bits.character_bits())[0, column(bit)] == count


@given(st.lists(st.text(st.sampled_from("#.…{a😀")), max_size=5))
def test_strings_are_counted_as_python_counts_them(texts: list[str]) -> None:
    marks = ["#", "...", "…", "{", "😀"]
    counts = count_marks(*utf8(pa.array(texts, pa.string())), marks)
    assert counts.tolist() == [[text.count(mark) for mark in marks] for text in texts]


def test_a_string_does_not_reach_into_the_next_text() -> None:
    assert count_marks(*utf8(pa.array(["a..", ".b", "..."])), ["..."]).tolist() == [[0], [0], [1]]
    assert count_marks(*utf8(pa.array(["x"])), []).shape == (1, 0)


@given(TEXTS, st.integers(1, 20))
def test_windows_and_variety_of_any_characters(texts: list[str], width: int) -> None:
    data, offsets = utf8(pa.array(texts, pa.large_string()))
    windows, repeated = repeated_windows(data, offsets, width=width)
    distinct, entropy, visible = character_variety(data, offsets)
    for row, text in enumerate(texts):
        content = "".join(character for character in text if not character.isspace())
        grams = [content[at : at + width] for at in range(len(content) - width + 1)]
        assert (windows[row], repeated[row]) == (len(grams), len(grams) - len(set(grams)))
        counts = Counter(content)
        bits_of_content = -sum(n / len(content) * math.log2(n / len(content)) for n in counts.values())
        assert (distinct[row], visible[row]) == (len(counts), len(content))
        assert math.isclose(entropy[row], bits_of_content, abs_tol=1e-9)


def test_the_order_of_characters_does_not_change_the_entropy() -> None:
    text = "the quick brown fox 好好学习 " * 40
    texts = pa.array([text, text[::-1], "".join(sorted(text))])
    assert len(set(character_variety(*utf8(texts))[1].tolist())) == 1


def test_variety_and_windows_are_of_the_beginning() -> None:
    texts = pa.array(["a " * VARIETY_CHARACTERS + "b", "b" + "a " * VARIETY_CHARACTERS])
    distinct, _, visible = character_variety(*utf8(texts))
    assert distinct.tolist() == [1, 2]
    assert visible.tolist() == [VARIETY_CHARACTERS] * 2
    windows, repeated = repeated_windows(*utf8(pa.array(["好 " * (WINDOW_CHARACTERS + 10), "short"])), width=13)
    assert windows.tolist() == [WINDOW_CHARACTERS - 12, 0]
    assert repeated.tolist() == [WINDOW_CHARACTERS - 13, 0]


@given(TEXTS)
def test_runs_between_white_space_are_words(texts: list[str]) -> None:
    words, longest = count_words(*utf8(pa.array(texts, pa.string())), bits.character_bits())
    assert words.tolist() == [len(text.split()) for text in texts]
    assert longest.tolist() == [max(map(len, text.split()), default=0) for text in texts]


@given(TEXTS, st.data())
def test_a_part_of_an_array_has_the_bytes_of_its_texts(texts: list[str], data: st.DataObject) -> None:
    array = pa.array(texts, data.draw(st.sampled_from([pa.string(), pa.large_string()])))
    begin = data.draw(st.integers(0, len(texts)))
    part = array.slice(begin, data.draw(st.integers(0, len(texts) - begin)))
    content, offsets = utf8(part)
    assert len(offsets) == len(part) + 1
    found = [bytes(content[offsets[row] : offsets[row + 1]]).decode() for row in range(len(part))]
    assert found == part.to_pylist()


def test_megabytes_of_one_line_and_of_marks() -> None:
    texts = pa.array(["x" * 5_000_000, "!" * 1_000_000, "", "\n" * 1_000_000])
    counts = count_characters(*utf8(texts), bits.character_bits())
    assert counts[:, -1].tolist() == [5_000_000, 1_000_000, 0, 1_000_000]
    assert counts[:, column(bits.PUNCTUATION)].tolist() == [0, 1_000_000, 0, 0]
    assert count_marks(*utf8(texts), ["!!!"])[:, 0].tolist() == [0, 333_333, 0, 0]


def test_windows_of_more_texts_than_a_table_has_stamps() -> None:
    texts = pa.array(["abab" if at % 3 else "abc" for at in range(140_000)])
    windows, repeated = repeated_windows(*utf8(texts), width=2)
    assert windows.tolist() == [3 if at % 3 else 2 for at in range(140_000)]
    assert repeated.tolist() == [1 if at % 3 else 0 for at in range(140_000)]
