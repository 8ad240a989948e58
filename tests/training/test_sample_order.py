from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.sample_order import (
    KeyedPermutation,
    Sample,
    SampleOrder,
    SampleOrderError,
    window_count,
    window_start,
)

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


orders = st.builds(
    lambda sources, seed: SampleOrder([w for w, _ in sources], [float(s) for _, s in sources], seed=seed),
    st.lists(st.tuples(st.integers(1, 500), st.integers(1, 20)), min_size=1, max_size=4),
    st.integers(0, 1000),
)


@given(order=orders, first=st.integers(0, 5000), count=st.integers(0, 3000))
def test_batches_of_any_shape_are_the_same_samples(order: SampleOrder, first: int, count: int) -> None:
    samples = order.samples(first, count)
    together = [Sample(*values) for values in zip(*(column.tolist() for column in samples), strict=True)]
    assert len(together) == count
    for step in (1, 97, 1024):
        for number in range(0, count, step * 7):
            assert order.sample(first + number) == together[number]


@given(order=orders, first=st.integers(0, 1 << 40))
def test_every_sample_has_one_number(order: SampleOrder, first: int) -> None:
    for number in range(first, first + 20):
        assert order.number(order.sample(number)) == number


@given(order=orders)
def test_no_window_twice_before_all_were_seen(order: SampleOrder) -> None:
    samples = order.samples(0, 4096)
    for source, windows in enumerate(order.windows):
        chosen = samples.source == source
        seen = samples.window[chosen].tolist()
        epochs = samples.epoch[chosen].tolist()
        assert epochs == [place // windows for place in range(len(epochs))]
        for begin in range(0, len(seen) - windows + 1, windows):
            assert sorted(seen[begin : begin + windows]) == list(range(windows))


@given(order=orders, block=st.integers(0, 100))
def test_mixture_is_exact_in_every_block(order: SampleOrder, block: int) -> None:
    samples = order.samples(block * order.block, order.block)
    assert np.bincount(samples.source, minlength=len(order.windows)).tolist() == order.quotas.tolist()


def test_mixture_by_weight() -> None:
    order = SampleOrder([10, 10, 10], [3.0, 1.0, 4.0], seed=0)
    assert order.block == 1024
    assert order.quotas.tolist() == [384, 128, 512]
    assert order.epochs(1024) == [38.4, 12.8, 51.2]


def test_small_weights_have_larger_blocks() -> None:
    order = SampleOrder([10, 10], [1.0, 1e-4], seed=0)
    assert order.quotas[1] / order.block == pytest.approx(1e-4, rel=0.05)


def test_ten_thousand_dumps() -> None:
    order = SampleOrder([1000] * 10_000, [1.0] * 10_000, seed=3)
    samples = order.samples(order.block * 5 - 100, 200)
    assert len(set(samples.source.tolist())) > 190


def test_epochs_and_seeds_are_shuffled_differently() -> None:
    def windows(seed: int, epoch: int) -> list[int]:
        return SampleOrder([64], [1.0], seed=seed).samples(64 * epoch, 64).window.tolist()

    assert len({tuple(windows(seed, epoch)) for seed in range(3) for epoch in range(3)}) == 9
    assert windows(0, 0) != list(range(64))


@pytest.mark.parametrize(
    ("windows", "weights", "message"),
    [
        ([], [], "one weight for each source"),
        ([1], [1.0, 2.0], "one weight for each source"),
        ([5, 0], [1.0, 1.0], "source 1 has no window"),
        ([5], [0.0], "source 0 has weight 0"),
        ([5, 5], [1.0, -1.0], "source 1 has weight -1"),
        ([5], [float("inf")], "weight inf"),
        ([5], [float("nan")], "weight nan"),
        ([5, 5], [1.0, 1e-9], "leave the source out"),
    ],
)
def test_wrong_mixtures(windows: list[int], weights: list[float], message: str) -> None:
    with pytest.raises(SampleOrderError, match=message):
        SampleOrder(windows, weights, seed=0)


@given(context=st.integers(1, 9), tokens=st.integers(1, 60), epochs=st.integers(1, 4))
def test_windows_cover_the_ring_of_tokens_evenly(context: int, tokens: int, epochs: int) -> None:
    windows = window_count(tokens, context)
    if tokens <= context:
        assert windows == 0
        return
    targets = Counter[int]()
    for epoch in range(epochs):
        in_epoch = Counter[int]()
        for window in range(windows):
            start = window_start(epoch, window, tokens=tokens, context=context)
            in_epoch.update((start + 1 + place) % tokens for place in range(context))
        assert max(in_epoch.values()) == 1
        assert sum(in_epoch.values()) > tokens - context
        targets += in_epoch
    assert max(targets.values()) - min(targets[token] for token in range(tokens)) <= 1
