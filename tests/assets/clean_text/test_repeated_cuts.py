from __future__ import annotations

import re

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.clean_text.errors import CleanTextError
from assets.clean_text.repeated_text.cuts import CUTS, apply_cuts
from tests.assets.clean_text.repeated_dumps import string_array


def apply(texts: list[str], cuts: list[tuple[int, int, int]]) -> tuple[list[str], list[int]]:
    """Texts after cuts, each given by the number of its text and its bytes."""
    rows = [
        {"doc_id": str(text), "kind": "repeated_text", "byte_start": begin, "byte_end": end}
        for text, begin, end in cuts
    ]
    doc_ids = string_array(list(map(str, range(len(texts)))))
    result, lost = apply_cuts(string_array(texts), doc_ids, pa.Table.from_pylist(rows, schema=CUTS))
    result.validate(full=True)
    return result.to_pylist(), lost.to_pylist()


def cut_marked(marked: str) -> str:
    """A text without what stands in [brackets]."""
    text, places = "", []
    for piece in marked.replace("]", "[").split("["):
        text += piece
        places.append(len(text.encode()))
    places.pop()
    result, lost = apply([text], [(0, *pair) for pair in zip(places[::2], places[1::2], strict=True)])
    assert lost == [len(text.encode()) - len(result[0].encode())]
    return result[0]


@pytest.mark.parametrize(
    ("marked", "left"),
    [
        ("one\n[two]\nthree", "one\nthree"),
        ("one\n\n[two]\n\nthree", "one\n\nthree"),
        ("one\n\n[two]\nthree", "one\n\nthree"),
        ("one\n[two]\n\nthree", "one\n\nthree"),
        ("one\n[two\n\nthree]\nfour", "one\n\nfour"),
        ("one [two.\n\nThree] four", "one\n\nfour"),
        ("one [two] three", "one three"),
        ("one. [Two.]\nThree", "one.\nThree"),
        ("one\n[Two.] Three", "one\nThree"),
        ("[one]\n\ntwo", "two"),
        ("one\n\n[two]", "one"),
        ("one [two]\n", "one"),
        ("[one\n\ntwo]", ""),
        ("[one]\n[two]\n\n[three]", ""),
        ("one\n[two]\n[three]\nfour", "one\nfour"),
        ("one\n[two\n][three]\nfour", "one\nfour"),
        ("one\n\n[two]\n\nthree\n\n[four]\n\nfive", "one\n\nthree\n\nfive"),
        ("def a():\n    [x = 1]\n    y = 2", "def a():\n    y = 2"),
        ("def a():\n    [x = 1;] y = 2", "def a():\n    y = 2"),
        ("    [x = 1]\n    y = 2", "    y = 2"),
        ("第一句。[第二句。]第三句。", "第一句。第三句。"),
        ("　　第一段。\n\n　　[第二段。]\n\n　　第三段。", "　　第一段。\n\n　　第三段。"),
        ("　　[第一句。]第二句。", "　　第二句。"),
        ("e\u0301té [🧑\u200d🚀 ] fin", "e\u0301té fin"),
        ("no cut", "no cut"),
    ],
)
def test_what_remains_is_joined_cleanly(marked: str, left: str) -> None:
    assert cut_marked(marked) == left


def test_texts_keep_their_places_and_other_documents_cuts_are_passed_over() -> None:
    texts, lost = apply(["", "abc", "你好", "x"], [(7, 0, 1), (2, 3, 6), (1, 0, 3)])
    assert texts == ["", "", "你", "x"]
    assert lost == [0, 3, 3, 0]


def test_a_slice_of_an_array_is_cut_as_any_other() -> None:
    texts = string_array(["before", "one two", "after"]).slice(1, 1)
    cuts = pa.Table.from_pylist([{"doc_id": "1", "kind": "", "byte_start": 0, "byte_end": 4}], schema=CUTS)
    result, lost = apply_cuts(texts, string_array(["0", "1", "2"]).slice(1, 1), cuts)
    assert (result.to_pylist(), lost.to_pylist()) == (["two"], [4])


@pytest.mark.parametrize("cut", [(0, 1), (0, 4), (2, 3), (1, 3), (0, 7), (-3, 3), (3, 3)])
def test_cuts_of_another_text_are_an_error_that_names_the_document(cut: tuple[int, int]) -> None:
    with pytest.raises(CleanTextError, match=r"document 0: .* does not fit its text; run the stage"):
        apply(["你好"], [(0, *cut)])


@settings(max_examples=400)
@given(st.data())
def test_every_visible_character_outside_of_cuts_remains(data: st.DataObject) -> None:
    text = data.draw(st.text("ab你🚀 \n　", max_size=25))
    edges = st.integers(0, len(text))
    drawn = data.draw(st.lists(st.tuples(edges, edges).map(sorted).filter(lambda pair: pair[0] < pair[1]), max_size=3))
    size = [len(text[:index].encode()) for index in range(len(text) + 1)]
    (result,), (lost,) = apply([text], [(0, size[begin], size[end]) for begin, end in drawn])
    kept = "".join(
        character for place, character in enumerate(text) if not any(begin <= place < end for begin, end in drawn)
    )
    assert "".join(result.split()) == "".join(kept.split())
    assert lost == len(text.encode()) - len(result.encode())
    assert most_line_feeds(result) <= most_line_feeds(text)


def most_line_feeds(text: str) -> int:
    return max((space.count("\n") for space in re.findall(r"\s+", text)), default=0)
