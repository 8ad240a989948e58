from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.clean_text.near_duplicates.groups import Groups, Neighbours

Row = tuple[int, int, int]
Pairs = list[tuple[int, int]]


def add(taker: Groups | Neighbours, rows: Sequence[Row], *, cut: int = 1000) -> tuple[Pairs, list[int]]:
    """Pairs and hashes of large groups, the rows (hash, rank, shingles) taken in two batches."""
    pairs: Pairs = []
    large: list[int] = []
    for part in (rows[:cut], rows[cut:]):
        hashes, ranks, shingles = (np.array([row[column] for row in part], np.int64) for column in range(3))
        if isinstance(taker, Groups):
            found, exceeding = taker.add(hashes.astype(np.uint64), ranks, shingles)
            large += exceeding.tolist()
        else:
            found = taker.add(hashes.astype(np.uint64), ranks, shingles)
        pairs += [(int(a), int(b)) for a, b in found.tolist()]
    return pairs, large


@pytest.mark.parametrize("cut", range(8))
def test_small_groups_give_all_pairs(cut: int) -> None:
    rows = [(0, 3, 10), (0, 5, 10), (7, 1, 10), (7, 2, 10), (7, 9, 10), (8, 4, 10)]
    pairs, large = add(Groups(comparisons=2, threshold=0.5), rows, cut=cut)
    assert pairs == [(3, 5), (1, 2), (1, 9), (2, 9)]
    assert large == []


@pytest.mark.parametrize("cut", range(8))
def test_large_groups_give_the_first_half_as_many_and_their_hash(cut: int) -> None:
    rows = [(6, 0, 10)] + [(7, rank, 10) for rank in range(1, 8)]
    pairs, large = add(Groups(comparisons=4, threshold=0.5), rows, cut=cut)
    among_the_first = [(a, b) for b in range(1, 6) for a in range(1, b)]
    assert pairs == [*among_the_first, (1, 6), (2, 6), (1, 7), (2, 7)]
    assert large == [7]


@pytest.mark.parametrize("cut", range(8))
def test_neighbours_are_those_of_the_nearest_size(cut: int) -> None:
    rows = [(7, 4, 10), (7, 0, 11), (7, 3, 11), (7, 2, 12), (8, 1, 12), (8, 5, 12)]
    pairs, _ = add(Neighbours(width=2, threshold=0.5), rows, cut=cut)
    assert sorted(pairs) == [(0, 2), (0, 3), (0, 4), (1, 5), (2, 3), (3, 4)]


@pytest.mark.parametrize("taker", [Groups(comparisons=4, threshold=0.75), Neighbours(width=4, threshold=0.75)])
def test_sizes_that_exclude_the_threshold_give_no_pair(taker: Groups | Neighbours) -> None:
    assert add(taker, [(7, 0, 29), (7, 1, 30), (7, 2, 40)])[0] == [(0, 1), (1, 2)]


GROUPS = st.lists(st.integers(1, 12), min_size=1, max_size=6)


@settings(max_examples=100, deadline=None)
@given(GROUPS, st.integers(2, 6), st.integers(0, 40))
def test_each_row_has_as_many_partners_as_allowed(sizes: list[int], comparisons: int, cut: int) -> None:
    hashes = [group for group, size in enumerate(sizes) for _ in range(size)]
    rows = [(group, rank, 5) for rank, group in enumerate(hashes)]
    pairs, large = add(Groups(comparisons=comparisons, threshold=1.0), rows, cut=cut)
    assert len(set(pairs)) == len(pairs) and all(a < b and hashes[a] == hashes[b] for a, b in pairs)
    assert large == [group for group, size in enumerate(sizes) if size > comparisons + 1]
    for rank, group in enumerate(hashes):
        before = rank - hashes.index(group)
        expected = before if before <= comparisons else comparisons // 2
        assert sum(b == rank for _, b in pairs) == expected
