"""Every pair is found with its rank, and no other."""

from __future__ import annotations

from collections.abc import Collection
from itertools import product

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.vocabulary.kernels.merge_table import NO_ID, NO_RANK, merge_table, rank_of

IDS = st.integers(0, NO_ID - 1)
PAIRS = st.lists(st.tuples(IDS, IDS), unique=True, max_size=200)


@numba.njit
def ranks(merges: np.ndarray, seeds: np.ndarray, asked: np.ndarray) -> np.ndarray:
    found = np.empty(len(asked), np.int64)
    for row in range(len(asked)):
        found[row] = rank_of(merges, seeds, asked[row, 0], asked[row, 1])
    return found


def looked_up(pairs: Collection[tuple[int, int]], asked: Collection[tuple[int, int]]) -> list[int]:
    """Ranks by a table of pairs, ``NO_RANK`` for those that are not there."""
    merges, seeds = merge_table(np.asarray(pairs, dtype=np.int64).reshape(-1, 2))
    found: np.ndarray = ranks(merges, seeds, np.asarray(asked, dtype=np.int64).reshape(-1, 2))
    ranked: list[int] = found.tolist()
    return ranked


@given(pairs=PAIRS, others=PAIRS)
def test_pairs_have_their_ranks_and_others_none(pairs: list[tuple[int, int]], others: list[tuple[int, int]]) -> None:
    known = {pair: rank for rank, pair in enumerate(pairs)}
    asked = [*pairs, *others, *((right, left) for left, right in pairs), (NO_ID, 0), (0, NO_ID), (NO_ID, NO_ID)]
    assert looked_up(pairs, asked) == [known.get(pair, NO_RANK) for pair in asked]


@pytest.mark.parametrize("first", [0, 1000])
def test_all_pairs_of_neighbouring_ids(first: int) -> None:
    """As dense as ids are: many pairs that differ in a few bits only."""
    pairs = list(product(range(first, first + 300), repeat=2))
    assert looked_up(pairs, pairs) == list(range(len(pairs)))
    assert set(looked_up(pairs, [(left + 300, right) for left, right in pairs])) == {NO_RANK}
