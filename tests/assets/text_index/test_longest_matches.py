from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.text_index.errors import TextIndexError
from assets.text_index.matches import longest_matches
from assets.text_index.search import count
from tests.assets.text_index.indexed_texts import index_texts
from tests.assets.vocabulary.documents import CHINESE, ENGLISH


def longest_plainly(texts: list[str], text: str, minimum_characters: int) -> list[tuple[int, str, int]]:
    """Pieces that occur and cannot be made longer, by trying all of them."""
    pieces = [
        (begin, end)
        for begin in range(len(text))
        for end in range(begin + 1, len(text) + 1)
        if any(text[begin:end] in document for document in texts)
    ]
    found = []
    for begin, end in pieces:
        longer = any(b <= begin and end <= e and (b, e) != (begin, end) for b, e in pieces)
        if not longer and end - begin >= minimum_characters:
            piece = text[begin:end]
            places = sum(document.startswith(piece, place) for document in texts for place in range(len(document)))
            found.append((begin, piece, places))
    return found


@settings(max_examples=80)
@given(data=st.data(), letters=st.sampled_from(["ab", "a 天", "é😀,\n"]), part_bytes=st.integers(1, 60))
def test_the_pieces_are_those_of_trying_all(
    tmp_path_factory: pytest.TempPathFactory, byte_bpe: Path, data: st.DataObject, letters: str, part_bytes: int
) -> None:
    texts = data.draw(st.lists(st.text(letters, min_size=1, max_size=12), min_size=3, max_size=6))
    text = data.draw(st.text(letters + "z", min_size=1, max_size=14))
    minimum = data.draw(st.integers(0, 4))
    index = index_texts(tmp_path_factory.mktemp("world"), texts, byte_bpe, part_bytes=part_bytes).open()
    found = longest_matches([index], text, minimum_characters=minimum)
    assert [(each.start, each.text, each.count.occurrences) for each in found] == longest_plainly(texts, text, minimum)


def test_a_sample_is_traced_piece_by_piece(tmp_path: Path, byte_bpe: Path) -> None:
    english = index_texts(tmp_path / "en", ENGLISH, byte_bpe, dump="tales", part_bytes=100).open()
    chinese = index_texts(tmp_path / "zh", CHINESE, byte_bpe, dump="reviews", part_bytes=100).open()
    sample = "He heard the baker counts the loaves, 守夜人数船 from the harbour had 412 boats."
    found = longest_matches([english, chinese], sample, minimum_characters=5)
    assert [(each.text, each.count.occurrences) for each in found] == [
        ("d the baker counts the loaves, ", 1),
        ("守夜人数船", 1),
        (" the harbour had 412 boats.", 1),
    ]
    for each in found:
        assert sample[each.start :].startswith(each.text)
        assert each.count == count([english, chinese], each.text)


def test_a_text_that_occurs_is_one_piece(tmp_path: Path, byte_bpe: Path) -> None:
    index = index_texts(tmp_path, CHINESE, byte_bpe, part_bytes=1).open()
    (found,) = longest_matches([index], CHINESE[2])
    assert (found.start, found.text, found.count.occurrences, found.count.documents) == (0, CHINESE[2], 1, 1)


def test_half_a_character_is_no_match(tmp_path: Path, byte_bpe: Path) -> None:
    """é and è share their first byte, 数 and 敱 their first two."""
    index = index_texts(tmp_path, ["é数", "b", "c"], byte_bpe).open()
    assert longest_matches([index], "è敱", minimum_characters=0) == []
    assert [each.text for each in longest_matches([index], "é敱", minimum_characters=0)] == ["é"]


def test_one_split_alone(tmp_path: Path, byte_bpe: Path) -> None:
    index = index_texts(tmp_path, ["a red boat", "a blue boat", "a green boat"], byte_bpe).open()
    assert [each.text for each in longest_matches([index], "a green boat", splits=["validation"])] == ["a green boat"]
    assert longest_matches([index], "a green boat", splits=["train"]) == []


def test_an_empty_text_is_refused(tmp_path: Path, byte_bpe: Path) -> None:
    with pytest.raises(TextIndexError, match="is empty"):
        longest_matches([index_texts(tmp_path, ENGLISH, byte_bpe).open()], "")
