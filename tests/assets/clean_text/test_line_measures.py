from __future__ import annotations

import re

import pyarrow as pa
import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from assets.clean_text.kernels.buffers import utf8
from assets.clean_text.kernels.lines import SHORT_LINE, Lines, measure_lines
from assets.clean_text.kernels.unicode_tables import SPACE, TERMINAL, character_bits

ENDS = regex.compile(r"[\p{Sentence_Terminal}．。｡\u17d6\u17d9\u17da]\Z")
CHARACTERS = st.sampled_from("\n\n\n \t　ab-•.…!。好😀")


def measured(*texts: str, type: pa.DataType | None = None) -> list[dict[str, int]]:
    lines = measure_lines(*utf8(pa.array(texts, type or pa.string())), character_bits())
    return [dict(zip(Lines._fields, row, strict=True)) for row in zip(*(c.tolist() for c in lines), strict=True)]


def by_definition(text: str) -> dict[str, int]:
    lines = re.findall("[^\n]*\n|[^\n]+", text)
    lines = [line.removesuffix("\n") for line in lines]
    filled = [line for line in lines if line.strip()]
    parts = [line for line in lines if line]
    paragraphs = [block for block in re.split("\n{2,}", text.strip("\n")) if block]
    parts_again = [part for at, part in enumerate(parts) if part in parts[:at]]
    paragraphs_again = [block for at, block in enumerate(paragraphs) if block in paragraphs[:at]]
    return {
        "all": len(lines),
        "filled": len(filled),
        "parts": len(parts),
        "paragraphs": len(paragraphs),
        "longest": max(map(len, lines), default=0),
        "bullets": sum(line.lstrip().startswith(("-", "•")) for line in filled),
        "ellipses": sum(line.rstrip().endswith(("...", "…")) for line in filled),
        "terminals": sum(bool(ENDS.search(line)) for line in filled),
        "short": sum(len(line) <= SHORT_LINE for line in filled),
        "breaks": text.count("\n"),
        "repeated_parts": len(parts_again),
        "repeated_part_characters": sum(map(len, parts_again)),
        "repeated_paragraphs": len(paragraphs_again),
        "repeated_paragraph_characters": sum(map(len, paragraphs_again)),
    }


@given(st.lists(st.text(CHARACTERS, max_size=40), max_size=4))
def test_lines_of_any_shape_agree_with_the_definition(texts: list[str]) -> None:
    assert measured(*texts) == [by_definition(text) for text in texts]


@given(st.lists(st.text(), max_size=4))
def test_any_characters_agree_with_the_definition(texts: list[str]) -> None:
    assert measured(*texts, type=pa.large_string()) == [by_definition(text) for text in texts]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {"all": 0, "filled": 0, "paragraphs": 0, "longest": 0}),
        ("\n", {"all": 1, "filled": 0, "parts": 0, "breaks": 1}),
        ("x" * 30 + "\n" + "x" * 31, {"short": 1, "longest": 31}),
        ("好" * 30 + "\n" + "好" * 31, {"short": 1, "longest": 31}),
        (" - item\n\t• item\n-\na - b", {"bullets": 3}),
        ("wait...\nwait… \nwait..\n...", {"ellipses": 3}),
        ("好。\n吗？\n否\nEnd.\n(End.)", {"terminals": 3}),
        ("\na\n\na\n", {"paragraphs": 2, "repeated_paragraphs": 1, "repeated_paragraph_characters": 1}),
        ("a\nb\n\n\n\na\nb", {"paragraphs": 2, "repeated_paragraphs": 1, "repeated_paragraph_characters": 3}),
        ("a\n \na", {"paragraphs": 1, "parts": 3, "filled": 2, "repeated_parts": 1}),
        ("a\r\na", {"all": 2, "repeated_parts": 0}),
    ],
)
def test_exact_cases(text: str, expected: dict[str, int]) -> None:
    found = measured(text)[0]
    assert {name: found[name] for name in expected} == expected


def test_lines_of_another_text_are_no_copies() -> None:
    assert [row["repeated_parts"] for row in measured("same\nsame", "same", "same\nother\nsame\nsame")] == [1, 0, 2]


def test_a_part_of_an_array_is_measured_alone() -> None:
    texts = pa.array(["before\n" * 9, "a\na", "好。\n\n好。", "after\n"])
    lines = measure_lines(*utf8(texts.slice(1, 2)), character_bits())
    assert lines.repeated_parts.tolist() == [1, 1]
    assert lines.repeated_paragraphs.tolist() == [0, 1]
    assert len(measure_lines(*utf8(texts.slice(4)), character_bits()).all) == 0


def test_a_million_lines_and_a_line_of_megabytes() -> None:
    empty, long, alike = measured("\n" * 1_000_000, "x" * 5_000_000, "好。\n" * 1_000_000)
    assert (empty["all"], empty["filled"], empty["breaks"]) == (1_000_000, 0, 1_000_000)
    assert (long["filled"], long["longest"], long["short"]) == (1, 5_000_000, 0)
    assert (alike["repeated_parts"], alike["repeated_part_characters"]) == (999_999, 1_999_998)


def test_white_space_is_pythons() -> None:
    bits = character_bits()
    assert [point for point in range(0x110000) if bool(bits[point] & SPACE) != chr(point).isspace()] == []


def test_terminal_punctuation_is_the_peers() -> None:
    peer = pytest.importorskip("datatrove.utils.text")
    terminal = {chr(point) for point in range(0x110000) if character_bits()[point] & TERMINAL}
    assert terminal >= peer.TERMINAL_PUNCTUATION
    # Unicode has got more of it since the peer's list was made, in scripts that are hardly written.
    assert len(terminal - peer.TERMINAL_PUNCTUATION) < 20


def test_batches_of_more_texts_than_a_table_has_stamps() -> None:
    texts = pa.array(["a\na\n\nb\n\nb" if at % 3 else "a\n\nb" for at in range(140_000)])
    lines = measure_lines(*utf8(texts), character_bits())
    expected = [2 if at % 3 else 0 for at in range(140_000)]
    assert lines.repeated_parts.tolist() == expected
    assert lines.repeated_paragraphs.tolist() == [1 if parts else 0 for parts in expected]
