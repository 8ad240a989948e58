from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.permutation import ChunkedPermutation, KeyedPermutation, SampleOrderError

SIZES = st.one_of(st.integers(1, 300), st.integers(1, 1 << 62))


@given(size=st.integers(1, 2000), key=st.integers())
def test_permutation_is_one(size: int, key: int) -> None:
    permutation = KeyedPermutation(size, key)
    values = permutation(np.arange(size))
    assert sorted(values.tolist()) == list(range(size))
    assert permutation.inverse(values).tolist() == list(range(size))


@given(size=SIZES, key=st.text(), data=st.data())
def test_permutation_inverts_at_any_size(size: int, key: str, data: st.DataObject) -> None:
    value = data.draw(st.integers(0, size - 1))
    permutation = KeyedPermutation(size, key)
    assert 0 <= int(permutation(value)) < size
    assert int(permutation.inverse(permutation(value))) == value


def test_permutation_does_not_change_between_versions() -> None:
    """These values decide what a resumed run reads: if they change, say so in the shard format and refuse old runs."""
    assert KeyedPermutation(10, "epoch", 7, 0, 0)(np.arange(10)).tolist() == [1, 2, 6, 3, 9, 0, 4, 8, 7, 5]


def test_permutations_are_spread_evenly() -> None:
    """Each of the 24 orders of 4 values, and each place of 1,000 values, comes about as often as it should."""
    orders = Counter(tuple(KeyedPermutation(4, key)(np.arange(4)).tolist()) for key in range(4800))
    assert len(orders) == 24
    assert max(orders.values()) < 2 * min(orders.values())
    places = np.bincount([int(KeyedPermutation(1000, key)(1)) // 100 for key in range(4000)], minlength=10)
    assert np.all(abs(places - 400) < 5 * np.sqrt(400))


@pytest.mark.parametrize("size", [0, -1, (1 << 62) + 1])
def test_permutation_sizes(size: int) -> None:
    with pytest.raises(SampleOrderError):
        KeyedPermutation(size, 0)


@given(size=st.integers(1, 700), chunk=st.integers(1, 40), key=st.integers())
def test_chunked_permutation_is_one(size: int, chunk: int, key: int) -> None:
    permutation = ChunkedPermutation(size, chunk, key)
    values = permutation(np.arange(size))
    assert sorted(values.tolist()) == list(range(size))
    assert permutation.inverse(values).tolist() == list(range(size))


def test_chunks_are_read_sixteen_at_a_time() -> None:
    permutation = ChunkedPermutation(100 * 50 + 7, 50, "key")
    for begin in range(0, 100 * 50, 16 * 50):
        chunks = set((permutation(np.arange(begin, min(begin + 16 * 50, 5000))) // 50).tolist())
        assert len(chunks) == min(16, 100 - begin // 50)
    assert sorted(permutation(np.arange(5000, 5007)).tolist()) == list(range(5000, 5007))
    first = permutation(np.arange(800)) // 50
    assert len(set(first[:50].tolist())) > 8  # mixed, not one chunk after the other


@pytest.mark.parametrize(("size", "chunk"), [(0, 1), (5, 0)])
def test_chunked_permutation_sizes(size: int, chunk: int) -> None:
    with pytest.raises(SampleOrderError):
        ChunkedPermutation(size, chunk, 0)
