from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from training.packing import best_fit, pack

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
