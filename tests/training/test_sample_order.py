from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.sample_order import OrderedSource, Phase, Sample, SampleOrder, SampleOrderError


def order_of(
    windows: list[int], weights: list[float], *, seed: int = 0, batch: int = 8, chunk_windows: int = 0
) -> SampleOrder:
    """One phase without end."""
    sources = [OrderedSource(f"dump {number}", count) for number, count in enumerate(windows)]
    return SampleOrder(sources, [Phase(1, batch, 1, tuple(weights))], seed=seed, chunk_windows=chunk_windows)


@st.composite
def worlds(draw: st.DrawFn) -> SampleOrder:
    """Sources and phases of every shape."""
    windows = draw(st.lists(st.integers(1, 60), min_size=1, max_size=3))
    phases = []
    for _ in range(draw(st.integers(1, 4))):
        shares = draw(st.lists(st.integers(0, 20), min_size=len(windows), max_size=len(windows)).filter(any))
        phases.append(
            Phase(
                draw(st.integers(1, 400)),
                draw(st.integers(1, 16)),
                draw(st.sampled_from([1, 2, 4])),
                tuple(map(float, shares)),
            )
        )
    sources = [OrderedSource(f"dump {number}", count) for number, count in enumerate(windows)]
    return SampleOrder(
        sources, phases, seed=draw(st.integers(0, 100)), chunk_windows=draw(st.sampled_from([0, 0, 1, 3]))
    )


def listed(order: SampleOrder, first: int, count: int) -> list[Sample]:
    columns = (column.tolist() for column in order.samples(first, count))
    return [Sample(*values) for values in zip(*columns, strict=True)]


@settings(max_examples=50)
@given(order=worlds(), first=st.integers(0, 5000), count=st.integers(0, 2000))
def test_batches_of_any_shape_are_the_same_samples(order: SampleOrder, first: int, count: int) -> None:
    together = listed(order, first, count)
    assert len(together) == count
    for number in range(0, count, 97):
        assert order.sample(first + number) == together[number]


@settings(max_examples=50)
@given(order=worlds(), first=st.integers(0, 1 << 40))
def test_every_sample_is_found_by_its_window(order: SampleOrder, first: int) -> None:
    for begin in (0, first):
        for number in range(begin, begin + 20):
            sample = order.sample(number)
            found = order.window_samples(sample.source, sample.epoch, sample.window)
            assert (number, sample) in found
            assert all(order.sample(other) == named for other, named in found)


@settings(max_examples=50)
@given(order=worlds())
def test_nothing_comes_twice_before_everything_came(order: SampleOrder) -> None:
    """Parts of windows in all phases together: no part twice in an epoch, no epoch before the one before it is read."""
    samples = listed(order, 0, 6000)
    assert max(Counter(samples).values()) == 1
    seen: Counter[tuple[int, int, int]] = Counter()
    last_epochs: dict[int, int] = {}
    for number, (source, epoch, window, part) in enumerate(samples):
        parts = order.step(order.step_of(number)).parts
        assert part < parts
        seen[source, epoch, window] += 4 // parts
        if last_epochs.setdefault(source, 0) != epoch:
            assert epoch == last_epochs[source] + 1
            last_epochs[source] = epoch
    assert max(seen.values()) <= 4


@settings(max_examples=50)
@given(order=worlds())
def test_phases_have_their_steps_batches_and_sources(order: SampleOrder) -> None:
    step = first = 0
    for phase in order.phases:
        for number in (step, step + phase.steps - 1):
            assert order.step(number) == (first + (number - step) * phase.batch, phase.batch, phase.parts)
            assert order.step_of(order.step(number).first) == number
            assert order.step_of(order.step(number).first + phase.batch - 1) == number
        read = {sample.source for sample in listed(order, first, phase.steps * phase.batch)}
        assert read <= {source for source, share in enumerate(phase.shares) if share}
        step, first = step + phase.steps, first + phase.steps * phase.batch


@given(order=worlds(), extra=st.integers(1, 50))
def test_phases_and_sources_are_added_without_a_change_to_what_was_before(order: SampleOrder, extra: int) -> None:
    before = sum(phase.steps * phase.batch for phase in order.phases)
    old = [phase._replace(shares=(*phase.shares, 0.0)) for phase in order.phases]
    new = Phase(10, 4, 1, (*([1.0] * len(order.sources)), 2.0))
    longer = SampleOrder(
        [*order.sources, OrderedSource("later", extra)],
        [*old, new],
        seed=order.seed,
        chunk_windows=order._chunk_windows,
    )
    seen = listed(longer, 0, before)
    assert seen == listed(order, 0, before)
    after = listed(longer, before, 200)
    assert not {sample[:3] for sample in after} & {sample[:3] for sample in seen}
    assert {sample.source for sample in after} == set(range(len(order.sources) + 1))


def test_what_a_last_phase_of_parts_has_left_of_an_epoch_comes_first_when_it_is_continued() -> None:
    """Ten of forty windows by halves, then whole ones: the thirty others."""
    source, halves = OrderedSource("en", 40), Phase(5, 4, 2, (1.0,))
    before = Counter(sample[:3] for sample in listed(SampleOrder([source], [halves], seed=0), 0, 20))
    assert set(before.values()) == {2}
    after = listed(SampleOrder([source], [halves, Phase(20, 4, 1, (1.0,))], seed=0), 20, 30)
    assert {sample[:3] for sample in after} | set(before) == {(0, 0, window) for window in range(40)}


@given(order=worlds(), samples=st.integers(0, 5000))
def test_epochs_count_windows(order: SampleOrder, samples: int) -> None:
    read = np.zeros(len(order.sources))
    for number, sample in enumerate(listed(order, 0, samples)):
        read[sample.source] += 1 / order.step(order.step_of(number)).parts
    expected = [count / source.windows for count, source in zip(read, order.sources, strict=True)]
    assert order.epochs(samples) == pytest.approx(expected)


@given(order=worlds(), samples=st.integers(0, 5000))
def test_windows_used_reach_to_the_last_epoch(order: SampleOrder, samples: int) -> None:
    last = dict.fromkeys(range(len(order.sources)), -1)
    for sample in listed(order, 0, samples):
        last[sample.source] = max(last[sample.source], sample.epoch)
    for number, (used, source) in enumerate(zip(order.windows_used(samples), order.sources, strict=True)):
        assert math.ceil(used / source.windows) - 1 == last[number]
        assert used >= order.epochs(samples)[number] * source.windows - 1e-9


def test_a_phase_that_ends_within_a_window_uses_it_up() -> None:
    """Three of eight parts in each of four phases: one and a half windows are read, four are used."""
    order = SampleOrder([OrderedSource("en", 1)], [Phase(1, 3, 8, (1.0,))] * 4, seed=0)
    assert [order.windows_used(samples) for samples in (0, 2, 3, 4, 12)] == [[0.0], [0.25], [0.375], [1.125], [3.375]]
    assert order.epochs(12) == [1.5]


def test_mixture_is_exact_in_every_block() -> None:
    order = order_of([10, 10, 10], [3.0, 1.0, 4.0])
    for block in range(3):
        counted = np.bincount(order.samples(block * 1024, 1024).source)
        assert counted.tolist() == [384, 128, 512]
    assert order.epochs(1024) == [38.4, 12.8, 51.2]


def test_small_weights_have_larger_blocks() -> None:
    order = order_of([10, 10], [1.0, 1e-4])
    assert order.epochs(1 << 21)[1] * 10 / (1 << 21) == pytest.approx(1e-4, rel=0.05)


def test_ten_thousand_dumps() -> None:
    order = order_of([1000] * 10_000, [1.0] * 10_000, seed=3)
    assert len(set(order.samples(500_000, 200).source.tolist())) > 190


def test_epochs_seeds_and_names_are_shuffled_differently() -> None:
    def windows(seed: int, epoch: int, name: str) -> list[int]:
        order = SampleOrder([OrderedSource(name, 64)], [Phase(1, 1, 1, (1.0,))], seed=seed)
        return order.samples(64 * epoch, 64).window.tolist()

    orders = {tuple(windows(seed, epoch, name)) for seed in range(3) for epoch in range(3) for name in ("a", "b")}
    assert len(orders) == 18
    assert windows(0, 0, "a") != list(range(64))


def test_chunks_are_read_in_turns() -> None:
    order = order_of([1000], [1.0], chunk_windows=10)
    chunks = [set((order.samples(begin, 160).window // 10).tolist()) for begin in range(0, 960, 160)]
    assert all(len(read) == 16 for read in chunks)
    assert not any(a & b for a, b in pairwise(chunks))


def test_the_order_does_not_change_between_versions() -> None:
    """These values decide what a resumed run reads: if they change, say so in the notes and refuse old runs."""
    sources = [OrderedSource("en", 7), OrderedSource("zh", 5)]
    order = SampleOrder(sources, [Phase(2, 4, 2, (1.0, 1.0)), Phase(1, 4, 1, (1.0, 3.0))], seed=1)
    assert [tuple(sample) for sample in listed(order, 0, 12)] == [
        (1, 0, 3, 0),
        (0, 0, 5, 1),
        (0, 0, 1, 0),
        (1, 0, 3, 1),
        (0, 0, 5, 0),
        (0, 0, 2, 1),
        (1, 0, 4, 1),
        (0, 0, 2, 0),
        (1, 0, 1, 0),
        (1, 0, 2, 0),
        (1, 0, 0, 0),
        (1, 1, 3, 0),
    ]


@pytest.mark.parametrize(
    ("windows", "shares", "message"),
    [
        ([], [], "needs a source"),
        ([1], [1.0, 2.0], "2 shares for 1 sources"),
        ([5, 0], [1.0, 1.0], "'dump 1' has no window"),
        ([5], [0.0], "reads no source: give one of dump 0"),
        ([5, 5], [1.0, -1.0], "'dump 1' has the share -1"),
        ([5], [float("inf")], "share inf"),
        ([5], [float("nan")], "share nan"),
        ([5, 5], [1.0, 1e-9], "weight of 'dump 1' is 1e-09 .*leave the source out"),
    ],
)
def test_wrong_shares(windows: list[int], shares: list[float], message: str) -> None:
    with pytest.raises(SampleOrderError, match=message):
        order_of(windows, shares)


def test_wrong_phases() -> None:
    source = OrderedSource("en", 5)
    with pytest.raises(SampleOrderError, match="two sources have the same name"):
        SampleOrder([source, source], [Phase(1, 1, 1, (1.0, 1.0))], seed=0)
    for phase in (Phase(0, 1, 1, (1.0,)), Phase(1, 0, 1, (1.0,)), Phase(1, 1, 0, (1.0,))):
        with pytest.raises(SampleOrderError, match="phase 0: steps, batch and parts are at least 1"):
            SampleOrder([source], [phase], seed=0)
    with pytest.raises(SampleOrderError, match="needs a source and a phase"):
        SampleOrder([source], [], seed=0)
