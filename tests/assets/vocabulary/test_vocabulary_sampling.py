from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.vocabulary.sampling import SampledDocument, measure, sample
from tests.assets.vocabulary.documents import CHINESE, ENGLISH, write_documents

# The first two documents of a dump of this name have ids of the same hash.
COLLIDING = "dump-160173"

texts = st.lists(st.text("aé海😀", min_size=1, max_size=12), min_size=1, max_size=12)


def sampled(folder: Path, limit: int) -> list[str]:
    return [document.text for document in sample(measure(folder), limit)]


def size(found: Sequence[str]) -> int:
    return sum(len(text.encode()) for text in found)


def test_a_dump_that_fits_is_taken_whole_in_its_order(tmp_path: Path) -> None:
    folder = write_documents(tmp_path / "zh", CHINESE, dump="zh", language="zh")
    for limit in (size(CHINESE), size(CHINESE) + 1, 1 << 40):
        assert list(sample(measure(folder), limit)) == [SampledDocument(text, "zh", "zh") for text in CHINESE]


def test_the_bytes_of_a_dump_are_measured(tmp_path: Path) -> None:
    measured = measure(write_documents(tmp_path / "en", ENGLISH))
    assert measured.bin_bytes.sum() == size(ENGLISH)
    assert measured.bin_bytes.shape == (65_536,)


@settings(max_examples=60, deadline=None)
@given(texts=texts, small=st.integers(0, 80), more=st.integers(0, 80))
def test_a_smaller_sample_is_a_part_of_a_larger_one(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], small: int, more: int
) -> None:
    numbered = [f"{number}{text}" for number, text in enumerate(texts)]
    folder = write_documents(tmp_path_factory.mktemp("sample") / "dump", numbered)
    total = size(numbered)
    smaller, larger = sampled(folder, small), sampled(folder, small + more)
    for limit, found in ((small, smaller), (small + more, larger)):
        assert min(total, limit) - 3 <= size(found) <= limit
        assert sum(text not in numbered for text in found) <= 1
    for text in smaller:
        assert any(other.startswith(text) for other in larger)


def test_documents_are_chosen_by_their_ids_alone(tmp_path: Path) -> None:
    equal = [f"text {number:03}" for number in range(100)]
    folder = write_documents(tmp_path / "a", equal)
    longer = write_documents(tmp_path / "b", [text * 3 for text in equal])
    assert [text * 3 for text in sampled(folder, 80)] == sampled(longer, 240)
    assert len(sampled(folder, 80)) == 10
    assert sampled(folder, 80) != sampled(write_documents(tmp_path / "c", equal, dump="other"), 80)


def test_documents_of_one_hash_are_taken_in_their_order(tmp_path: Path) -> None:
    folder = write_documents(tmp_path / "dump", ["港口", "船"], dump=COLLIDING)
    assert np.count_nonzero(measure(folder).bin_bytes) == 1
    assert [sampled(folder, limit) for limit in (2, 5, 6, 8, 9)] == [
        [],
        ["港"],
        ["港口"],
        ["港口"],
        ["港口", "船"],
    ]


def test_a_long_document_does_not_push_out_those_of_lower_hashes(tmp_path: Path) -> None:
    order = write_documents(tmp_path / "order", list("abcdef"))
    last = next(iter(set(sampled(order, 6)) - set(sampled(order, 5))))
    assert last != "f"
    texts = [letter * (1000 if letter == last else 10) for letter in "abcdef"]
    found = sampled(write_documents(tmp_path / "dump", texts), 500)
    assert found == [text if len(text) == 10 else text[:450] for text in texts]


@pytest.mark.parametrize("limit", range(8))
def test_the_last_document_is_cut_between_two_characters(tmp_path: Path, limit: int) -> None:
    found = sampled(write_documents(tmp_path / "dump", ["海a港"]), limit)
    assert found == [[], [], [], ["海"], ["海a"], ["海a"], ["海a"], ["海a港"]][limit]


def test_a_sample_does_not_depend_on_files_and_row_groups(tmp_path: Path) -> None:
    many = [f"{number} {text}" for number in range(20) for text in (*ENGLISH, *CHINESE)]
    layouts = [(1, 1000, 1), (2, 7, 1), (3, 50, 4)]
    folders = [
        write_documents(tmp_path / str(name), many, rows_per_group=rows, files=files) for name, rows, files in layouts
    ]
    assert sampled(folders[0], 3000) == sampled(folders[1], 3000) == sampled(folders[2], 3000)
    assert size(sampled(folders[0], 3000)) > 2990
