from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.text_index.errors import TextIndexError
from assets.text_index.format import DESCRIPTION
from assets.text_index.matches import longest_matches
from assets.text_index.opened import TextIndex
from assets.text_index.search import count, occurrences
from tests.assets.text_index.indexed_texts import IndexedTexts, index_texts
from tests.assets.vocabulary.documents import CHINESE, ENGLISH


@pytest.fixture
def indexed(tmp_path: Path, byte_bpe: Path) -> IndexedTexts:
    return index_texts(tmp_path, [*ENGLISH, *CHINESE], byte_bpe, part_bytes=300)


NAMES = ["text-00001.bin", "suffixes-00000.bin", "documents-00002.bin"]


@pytest.mark.parametrize("name", NAMES)
def test_a_file_cut_short_is_named(indexed: IndexedTexts, name: str) -> None:
    path = indexed.folder / name
    size = path.stat().st_size
    os.truncate(path, size - 1)
    with pytest.raises(TextIndexError, match=rf"{name} has {size - 1} bytes instead of {size}; remove the folder"):
        indexed.open()


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_file_is_named(indexed: IndexedTexts, name: str) -> None:
    (indexed.folder / name).unlink()
    with pytest.raises(TextIndexError, match=f"{name} is missing; remove the folder .* run text_index again"):
        indexed.open()


def test_a_folder_without_description_is_not_finished(indexed: IndexedTexts) -> None:
    (indexed.folder / DESCRIPTION).unlink()
    with pytest.raises(TextIndexError, match="no finished text index; remove the folder"):
        indexed.open()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"format": 2}', '{"format": 1}', '{"format": 1, "parts": [{"number": 0}]}', "\xff"]
)
def test_a_damaged_description_is_named(indexed: IndexedTexts, text: str) -> None:
    (indexed.folder / DESCRIPTION).write_text(text, encoding="latin-1")
    with pytest.raises(TextIndexError, match=f"{DESCRIPTION} is damaged"):
        indexed.open()


def test_the_index_of_other_shards_is_refused(indexed: IndexedTexts, tmp_path: Path, byte_bpe: Path) -> None:
    for dump in ("tales", "reviews"):
        other = index_texts(tmp_path / dump, ENGLISH, byte_bpe, dump=dump)
        shutil.rmtree(other.folder)
        shutil.copytree(indexed.folder, other.folder)
        with pytest.raises(TextIndexError, match=r"index of other token shards of 'tales'.*or run text_index again"):
            other.open()


def test_another_vocabulary_is_refused(indexed: IndexedTexts, word: Path) -> None:
    with pytest.raises(TextIndexError, match="was encoded with vocabulary"):
        IndexedTexts(indexed.texts, indexed.shards, word, indexed.folder).open()


def overwrite(path: Path, values: list[int], dtype: str) -> None:
    np.array(values, dtype).tofile(path)


def search_everything(index: TextIndex) -> None:
    for phrase in ("keeper", "e", "船", "the old"):
        count([index], phrase)
        occurrences([index], phrase, limit=100)
    longest_matches([index], ENGLISH[0] + CHINESE[0])


def test_positions_outside_the_text_are_an_error(indexed: IndexedTexts) -> None:
    path = indexed.folder / "suffixes-00000.bin"
    overwrite(path, [0xFFFFFFFF] * (path.stat().st_size // 4), "<u4")
    index = indexed.open()
    for search in (count, occurrences, longest_matches):
        with pytest.raises(TextIndexError, match=r"suffixes-00000.bin is damaged; remove the folder"):
            search([index], "keeper")


def test_positions_of_other_text_are_an_error(indexed: IndexedTexts) -> None:
    """What is shown is compared with the phrase; only where the search itself comes across it, it finds less."""
    path = indexed.folder / "suffixes-00000.bin"
    positions = np.fromfile(path, "<u4")
    text = np.fromfile(indexed.folder / "text-00000.bin", np.uint8)
    places = np.flatnonzero(text[positions] == ord("e"))
    whole = len(occurrences([indexed.open()], "e", limit=1000))
    refused = 0
    for place in places.tolist():
        changed = positions.copy()
        changed[place] = positions[0]
        changed.tofile(path)
        try:
            assert len(occurrences([indexed.open()], "e", limit=1000)) < whole
        except TextIndexError as error:
            assert "suffixes-00000.bin is damaged" in str(error)
            refused += 1
    assert refused > places.size // 2


def test_ends_of_documents_that_cannot_be_are_an_error(indexed: IndexedTexts) -> None:
    path = indexed.folder / "documents-00000.bin"
    places = np.fromfile(path, "<u4").tolist()
    for wrong in ([places[0] + 1, *places[1:]], [*places[:-1], places[-1] + 1], [0] * (len(places) - 1) + places[-1:]):
        overwrite(path, wrong, "<u4")
        with pytest.raises(TextIndexError, match=r"documents-00000.bin is damaged"):
            count([indexed.open()], "keeper")
    assert len(places) > 2
    overwrite(path, [0, places[1] - 1, *places[2:]], "<u4")
    with pytest.raises(TextIndexError, match=r"documents-00000.bin is damaged"):
        occurrences([indexed.open()], "e", limit=1000)


@settings(max_examples=60)
@given(name=st.sampled_from(NAMES), seed=st.integers(0, 1 << 32), share=st.sampled_from([0.01, 0.3, 1.0]))
def test_any_damage_gives_a_result_or_an_error_that_names_a_file(
    tmp_path_factory: pytest.TempPathFactory, byte_bpe: Path, name: str, seed: int, share: float
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    indexed = index_texts(folder, [*ENGLISH, *CHINESE], byte_bpe, part_bytes=300)
    generator = np.random.default_rng(seed)
    content = np.fromfile(indexed.folder / name, np.uint8)
    hit = generator.random(content.size) < share
    content[hit] = generator.integers(0, 256, int(hit.sum()))
    content.tofile(indexed.folder / name)
    try:
        search_everything(indexed.open())
    except TextIndexError as error:
        assert "-0000" in str(error)
        assert "remove the folder" in str(error)


def test_the_description_is_plain(indexed: IndexedTexts) -> None:
    description = json.loads((indexed.folder / DESCRIPTION).read_text(encoding="utf-8"))
    assert set(description) == {"format", "dump", "shards", "vocabulary", "parts"}
    assert sum(part["documents"] for part in description["parts"]) == len(ENGLISH) + len(CHINESE)
