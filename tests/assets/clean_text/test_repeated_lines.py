from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.clean_text.repeated_text.lines import LINES, Unit, hash_lines
from assets.clean_text.repeated_text.settings import CutSettings, HashSettings, Mode
from tests.assets.clean_text.repeated_dumps import (
    cut_texts,
    doc_id,
    find_cuts,
    pieces,
    string_array,
    without_cuts,
    write_dumps,
)

ALL_LINES = HashSettings(lines=True, line_characters=1)
ALL_PARAGRAPHS = HashSettings(paragraphs=True, paragraph_characters=1)
COOKIES = "We use cookies to improve your visit."
版权 = "版权所有，未经许可不得转载。"


def units(texts: Sequence[str], unit: Unit, minimum_characters: int = 1) -> list[tuple[int, str, int]]:
    """Number of the text, unit and hash of all that are hashed."""
    table = hash_lines(string_array(texts), unit=unit, minimum_characters=minimum_characters)
    assert table.schema == LINES
    return [
        (row["row"], texts[row["row"]].encode()[row["byte_start"] : row["byte_end"]].decode(), row["hash"])
        for row in table.to_pylist()
    ]


def hash_of(text: str, unit: Unit = "line") -> int:
    ((_, _, value),) = units([text], unit)
    return value


def test_lines_are_hashed_without_the_space_around_them() -> None:
    found = units(["  one two \n\n\tthree\u00a0\n", "", "\n\n", "　　你好，世界　\nend"], "line")
    assert [(row, text) for row, text, _ in found] == [(0, "one two"), (0, "three"), (3, "你好，世界"), (3, "end")]


def test_paragraphs_stand_between_blank_lines() -> None:
    found = units(["one\ntwo\n\n three\n \nfour\n", "五\n六\n\n\n七"], "paragraph")
    assert [(row, text) for row, text, _ in found] == [
        (0, "one\ntwo"),
        (0, "three"),
        (0, "four"),
        (1, "五\n六"),
        (1, "七"),
    ]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Posted On 12 MAY 2024", "posted on 31 may 1999"),
        ("  much \t　 space  ", "much space"),
        ("no\u00a0break", "no break"),
        ("2001年12月4日", "1999年08月7日"),
    ],
)
def test_differences_that_do_not_matter(one: str, other: str) -> None:
    assert hash_of(one) == hash_of(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("one two", "onetwo"),
        ("one, two", "one two"),
        ("1 item", "12 item"),
        ("你好", "你好！"),
        ("台湾", "台灣"),
        ("é", "e"),
        ("É", "é"),
        ("ab", "ba"),
        ("ー", "〇"),
        ("　ー", "　〇"),
    ],
)
def test_differences_that_matter(one: str, other: str) -> None:
    assert hash_of(one) != hash_of(other)


def test_the_lines_of_a_paragraph_may_be_broken_elsewhere() -> None:
    assert hash_of("one two\nthree", "paragraph") == hash_of("one\ntwo  three", "paragraph")


@pytest.mark.parametrize(
    ("text", "characters"),
    [("abc", 3), ("a  b", 3), ("你好", 4), ("한국", 4), ("かな", 4), ("éà", 2), ("🚀", 2), ("я.", 2)],
)
def test_short_units_are_left_out(text: str, characters: int) -> None:
    assert units([text], "line", characters)
    assert not units([text], "line", characters + 1)


@pytest.mark.parametrize(
    "text", ["1 234 567", "[[1, 0, 0], [0, 2, 0]]", "-----", "═══════", "2024-05-12 10:30 by A.", "——12——"]
)
def test_rows_of_numbers_and_rules_of_marks_are_left_out(text: str) -> None:
    assert not units([text], "line")
    assert units([f"{text} letters and letters"], "line")


def test_a_hash_never_changes() -> None:
    # FNV-1a's loop over b"hello 0, \xe4\xbd\xa0\xe5\xa5\xbd" and SplitMix64's finaliser, in Python's integers.
    mask, state = (1 << 64) - 1, 0xCBF29CE484222325
    for byte in "hello 0, 你好".encode():
        state = (state ^ byte) * 0x9FB21C651E98DF25 & mask
    state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & mask
    state = (state ^ state >> 27) * 0x94D049BB133111EB & mask
    assert hash_of(" Hello  7, 你好 ") == state ^ state >> 31


def test_one_line_of_twenty_megabytes() -> None:
    long = "word " * 4_000_000
    ((_, text, _),) = units([long], "line")
    assert text == long.strip()


@settings(max_examples=300)
@given(
    st.lists(st.text("aA1é你 　\n🚀-—", max_size=12), max_size=4),
    st.sampled_from(["line", "paragraph"]),
    st.integers(1, 5),
)
def test_units_are_those_that_python_finds(texts: list[str], unit: Unit, minimum: int) -> None:
    expected = []
    for row, text in enumerate(texts):
        for piece in re.split(r"\n[ 　]*\n" if unit == "paragraph" else "\n", text):
            folded = re.sub(r"\s+", " ", piece.strip()).replace("A", "a").replace("1", "0")
            letters = sum(len(character.encode()) for character in folded if character in "aé你🚀")
            if letters > folded.count("0") and sum(1 + (character >= "\u3000") for character in folded) >= minimum:
                expected.append((row, piece.strip(), folded))
    found = units(texts, unit, minimum)
    assert [(row, text) for row, text, _ in found] == [(row, text) for row, text, _ in expected]
    by_hash = {value: folded for (_, _, value), (_, _, folded) in zip(found, expected, strict=True)}
    assert len(by_hash) == len({folded for _, _, folded in expected})
    assert all(by_hash[value] == folded for (_, _, value), (_, _, folded) in zip(found, expected, strict=True))


def test_a_line_stays_in_the_first_document_that_has_it(tmp_path: Path) -> None:
    texts = {
        "one": ["Alpha.\nSame line.\nBeta.", "Gamma."],
        "two": ["Same line.\nDelta.\n\nSAME   LINE.", "同样的一行。\n甲"],
        "three": ["乙\n同样的一行。", "Same line."],
    }
    dumps = write_dumps(tmp_path / "in", texts, ALL_LINES)
    found = find_cuts(dumps, tmp_path / "out", CutSettings(lines="first", line_documents=1))
    assert found["one"] == []
    assert pieces(found["two"], "two", texts["two"]) == [
        (0, "repeated_line", "SAME   LINE.", doc_id("one", 0)),
        (0, "repeated_line", "Same line.", doc_id("one", 0)),
    ]
    assert pieces(found["three"], "three", texts["three"]) == [
        (0, "repeated_line", "同样的一行。", doc_id("two", 1)),
        (1, "repeated_line", "Same line.", doc_id("one", 0)),
    ]
    assert without_cuts("two", texts["two"], found["two"]) == ["Delta.", "同样的一行。\n甲"]
    assert without_cuts("three", texts["three"], found["three"]) == ["乙", ""]


def test_boilerplate_goes_from_every_document_of_its_source_and_stays_elsewhere(tmp_path: Path) -> None:
    texts = {
        "web": [f"{COOKIES}\nPage {name}.\n\n{版权}" for name in ("apple", "pear", "plum")],
        "book": [f"A page said: cookies.\n{COOKIES}", 版权],
    }
    dumps = write_dumps(tmp_path / "in", texts, ALL_LINES)
    found = find_cuts(dumps, tmp_path / "out", CutSettings(lines="boilerplate", line_documents=2))
    assert without_cuts("web", texts["web"], found["web"]) == ["Page apple.", "Page pear.", "Page plum."]
    assert {row["copy_of"] for row in found["web"]} == {None}
    assert found["book"] == []


def test_boilerplate_is_counted_over_all_dumps_of_a_source(tmp_path: Path) -> None:
    texts = {"october": [f"{COOKIES}\nOne."], "november": [f"{COOKIES}\nTwo."]}
    boilerplate = CutSettings(lines="boilerplate", line_documents=1)
    assert cut_texts(tmp_path, texts, ALL_LINES, boilerplate, source="news") == {
        "october": ["One."],
        "november": ["Two."],
    }
    assert cut_texts(tmp_path, texts, ALL_LINES, boilerplate) == texts


def test_a_line_often_in_one_document_is_no_repetition_across_documents(tmp_path: Path) -> None:
    texts = {"songs": ["Refrain.\nVerse.\nRefrain.\nRefrain.", "Other."]}
    for mode in ("first", "boilerplate"):
        assert cut_texts(tmp_path, texts, ALL_LINES, CutSettings(lines=mode, line_documents=1)) == texts


def test_documents_that_go_anyway_count_nowhere(tmp_path: Path) -> None:
    texts = {"one": ["Same.", "Same."], "two": ["Same.\nOther.", "Same."]}
    dumps = write_dumps(tmp_path / "in", texts, ALL_LINES)
    for name, listed in (("exact", [doc_id("one", 0)]), ("near", [doc_id("one", 1)])):
        pq.write_table(pa.table({"doc_id": listed, "duplicate_of": listed}), tmp_path / f"{name}.parquet")
    dropped = {"one": [tmp_path / "exact.parquet", tmp_path / "near.parquet"]}
    found = find_cuts(dumps, tmp_path / "out", CutSettings(lines="first", line_documents=1), dropped=dropped)
    assert found["one"] == []
    assert pieces(found["two"], "two", texts["two"]) == [(1, "repeated_line", "Same.", doc_id("two", 0))]


@settings(max_examples=40)
@given(
    texts=st.lists(st.lists(st.text("ab\n", max_size=12), max_size=4), min_size=1, max_size=3),
    mode=st.sampled_from(["first", "boilerplate"]),
    unit=st.sampled_from(["line", "paragraph"]),
    documents=st.integers(1, 2),
)
def test_what_is_cut_is_what_python_finds(
    tmp_path_factory: pytest.TempPathFactory, texts: list[list[str]], mode: Mode, unit: Unit, documents: int
) -> None:
    tmp_path = tmp_path_factory.mktemp("property")
    by_dump = {f"dump{number}": contents for number, contents in enumerate(texts)}
    places = {(dump, index): split(text, unit) for dump, found in by_dump.items() for index, text in enumerate(found)}
    holders = Counter((piece, group(dump, mode)) for (dump, _), found in places.items() for piece in set(found))
    first: dict[str, tuple[str, int]] = {}
    for place, found in places.items():
        for piece in found:
            first.setdefault(piece, place)
    expected = {
        place: [
            piece
            for piece in found
            if holders[piece, group(place[0], mode)] <= documents or (mode == "first" and first[piece] == place)
        ]
        for place, found in places.items()
    }
    hashes, cuts = {
        "line": (ALL_LINES, CutSettings(lines=mode, line_documents=documents)),
        "paragraph": (ALL_PARAGRAPHS, CutSettings(paragraphs=mode, paragraph_documents=documents)),
    }[unit]
    result = cut_texts(tmp_path, by_dump, hashes, cuts)
    assert {place: split(result[place[0]][place[1]], unit) for place in places} == expected
    assert cut_texts(tmp_path, result, hashes, cuts) == result


def split(text: str, unit: Unit) -> list[str]:
    """The units of a text as they are compared."""
    found = (" ".join(piece.split()) for piece in re.split("\n\n+" if unit == "paragraph" else "\n", text))
    return [piece for piece in found if piece]


def group(dump: str, mode: Mode) -> str:
    """Boilerplate is counted for each source by itself."""
    return dump if mode == "boilerplate" else ""
