from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.training.test_shards import write
from training.packing import Integers, PackingPlan, best_fit, pack, plan_packing
from training.shards import ShardError, Split

LENGTHS = st.lists(st.integers(1, 60), max_size=120)


def rows_of(lengths: list[int], context: int, start: int = 0) -> list[list[tuple[int, int]]]:
    packed = pack(np.asarray(lengths, dtype=np.int64), start, context)
    pieces = list(zip(packed.starts.tolist(), packed.lengths.tolist(), strict=True))
    return [pieces[a:b] for a, b in zip(packed.first[:-1].tolist(), packed.first[1:].tolist(), strict=True)]


def naive_best_fit(lengths: list[int], context: int) -> Counter[int]:
    """Space left in the rows of best fit decreasing, one item after the other."""
    spaces: list[int] = []
    for length in sorted(lengths, reverse=True):
        fitting = [space for space in spaces if space >= length]
        space = min(fitting) if fitting else context
        if fitting:
            spaces.remove(space)
        spaces.append(space - length)
    return Counter(spaces)


@given(lengths=LENGTHS, context=st.integers(1, 40), start=st.integers(0, 1000))
def test_every_token_is_in_one_row(lengths: list[int], context: int, start: int) -> None:
    positions = [
        position
        for row in rows_of(lengths, context, start)
        for begin, length in row
        for position in range(begin, begin + length)
    ]
    assert sorted(positions) == list(range(start, start + sum(lengths)))
    for row in rows_of(lengths, context, start):
        assert 0 < sum(length for _, length in row) <= context


@given(lengths=LENGTHS, context=st.integers(1, 40))
def test_documents_that_fit_a_row_are_whole(lengths: list[int], context: int) -> None:
    pieces = {piece for row in rows_of(lengths, context) for piece in row}
    begin = 0
    for length in lengths:
        if length <= context:
            assert (begin, length) in pieces
        else:
            assert {(begin + context * part, context) for part in range(length // context)} <= pieces
        begin += length


@given(lengths=st.lists(st.integers(1, 30), max_size=80), context=st.integers(30, 50))
def test_it_is_best_fit_decreasing(lengths: list[int], context: int) -> None:
    counts = np.bincount(lengths, minlength=context + 1)
    kinds = best_fit(counts, context)
    spaces: Counter[int] = Counter()
    for composition, rows in kinds:
        spaces[context - sum(composition)] += rows
    assert spaces == naive_best_fit(lengths, context)


def test_little_padding_on_lengths_as_text_has_them() -> None:
    random = np.random.default_rng(0)
    lengths = np.maximum(1, random.lognormal(4.5, 1.2, 20_000).astype(np.int64))
    packed = pack(lengths, 0, 1024)
    assert 1 - lengths.sum() / ((packed.first.size - 1) * 1024) < 0.005


def test_nothing_to_pack() -> None:
    assert rows_of([], 8) == []
    assert best_fit(np.zeros(9, dtype=np.int64), 8) == []


def test_of_many_who_want_a_plan_one_makes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads, which share a process id, as processes of two machines may."""
    split = write(tmp_path / "shards", [("train", [1, 2, 3]), ("train", [4])]).train
    read: list[Split] = []
    lengths = Split.document_lengths

    def slowly(split: Split) -> Iterator[tuple[int, Integers]]:
        read.append(split)
        time.sleep(0.1)
        return lengths(split)

    monkeypatch.setattr(Split, "document_lengths", slowly)

    def plan(_: int) -> PackingPlan:
        return plan_packing(split, 8, tmp_path / "plans")

    with ThreadPoolExecutor(4) as threads:
        plans = list(threads.map(plan, range(4)))
    assert [found.row(0) for found in plans] == [[(0, 4), (4, 2)]] * 4
    assert len(read) == 1
    assert len(list((tmp_path / "plans").iterdir())) == 1


def test_what_a_killed_process_left_of_a_plan_is_removed(tmp_path: Path) -> None:
    split = write(tmp_path / "shards", [("train", [1, 2, 3])]).train
    plan_packing(split, 8, tmp_path / "plans")
    (made,) = (tmp_path / "plans").iterdir()
    made.rename(made.with_name(f".{made.name}.partial-{socket.gethostname()}-1-0123abcd"))
    plan_packing(split, 8, tmp_path / "plans")
    assert list((tmp_path / "plans").iterdir()) == [made]


@pytest.mark.parametrize("name", ["plan.json", "rows.bin", "starts.bin", "lengths.bin"])
@pytest.mark.parametrize("left", [0, 1, -1])
def test_a_plan_that_was_cut_short_is_made_again(tmp_path: Path, name: str, left: int) -> None:
    split = write(tmp_path / "shards", [("train", [1, 2, 3]), ("train", [4])]).train
    plan_packing(split, 8, tmp_path / "plans")
    (made,) = (tmp_path / "plans").iterdir()
    content = (made / name).read_bytes()
    (made / name).write_bytes(content[:left])
    assert plan_packing(split, 8, tmp_path / "plans").row(0) == [(0, 4), (4, 2)]
    assert (made / name).read_bytes() == content
    (made / name).unlink()
    assert plan_packing(split, 8, tmp_path / "plans").row(0) == [(0, 4), (4, 2)]


def test_a_plan_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    split = write(tmp_path / "shards", [("train", [1, 2, 3])]).train
    (tmp_path / "plans").write_text("a file")
    with pytest.raises(ShardError, match=r"the packing plan .*plans/\w+ cannot be read or made \(.*plans"):
        plan_packing(split, 8, tmp_path / "plans")


def test_a_plan_that_cannot_be_made_leaves_nothing(tmp_path: Path) -> None:
    split = write(tmp_path / "shards", [("train", [1, 2, 3])]).train
    (tmp_path / "shards" / "train-00000.index.parquet").unlink()
    with pytest.raises(ShardError, match=r"train-00000\.index\.parquet cannot be read"):
        plan_packing(split, 8, tmp_path / "plans")
    assert not list((tmp_path / "plans").iterdir())
