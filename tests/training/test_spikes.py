from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.spikes import Spike, SpikeDetector, SpikeSettings, add_skipped, read_skipped

SETTINGS = SpikeSettings(deviations=10.0, window=40, least=0.3)


def falling(count: int) -> list[float]:
    noise = np.random.default_rng(0).normal(0, 0.05, count)
    return [float(loss) for loss in 3 * np.exp(-np.arange(count) / 200) + 2 + noise]


def test_a_loss_that_falls_has_no_spikes_and_one_far_above_is_found() -> None:
    losses = falling(300)
    detector = SpikeDetector(SETTINGS)
    assert detector.look(range(1, 301), losses, [None] * 300) is None
    spike = detector.look([301, 302, 303], [2.7, 4.5, 2.7], [None] * 3)
    assert spike is not None
    assert (spike.step, spike.what, spike.value) == (302, "loss", 4.5)
    assert 2.5 < spike.median < spike.limit < 4.0
    assert "the loss of step 302 is 4.500, where the median of the steps before is" in str(spike)


def test_a_norm_far_above_is_a_spike_where_the_loss_is_none() -> None:
    detector = SpikeDetector(SETTINGS)
    assert detector.look(range(1, 61), [2.0] * 60, [0.5] * 60) is None
    # Ten times the median is the least, however steady it was before.
    assert detector.look([61], [2.0], [5.0]) is None
    spike = detector.look([62], [2.0], [6.0])
    assert spike is not None
    assert spike.what == "gradient_norm"


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_no_number_is_a_spike_from_the_first_step(value: float) -> None:
    spike = SpikeDetector(SETTINGS).look([1], [value], [None])
    assert spike is not None
    assert "the loss of step 1 is no finite number" in str(spike)


def test_nothing_is_sought_with_no_deviations() -> None:
    off = SpikeSettings(deviations=0.0, window=10)
    assert SpikeDetector(off).look(range(100), [1.0] * 99 + [math.inf], [None] * 100) is None


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=120), st.integers(0, 119))
def test_what_is_remembered_in_a_checkpoint_judges_alike(losses: list[float], cut: int) -> None:
    """Looked at in one go, or by two detectors of which the second goes on with what the first has seen."""
    whole = SpikeDetector(SETTINGS).look(range(len(losses)), losses, losses)
    first = SpikeDetector(SETTINGS)
    found = first.look(range(len(losses[:cut])), losses[:cut], losses[:cut])
    if found is None:
        second = SpikeDetector(SETTINGS)
        second.remember(first.past)
        found = second.look(range(cut, len(losses)), losses[cut:], losses[cut:])
    assert found == whole


def test_steps_that_are_left_out_are_kept_in_order_and_each_once(tmp_path: Path) -> None:
    assert read_skipped(tmp_path) == []
    later, earlier = (Spike(step, "loss", math.inf, 2.0, 3.0) for step in (9, 4))
    add_skipped(tmp_path, later)
    add_skipped(tmp_path, earlier)
    assert [spike.step for spike in add_skipped(tmp_path, later)] == [4, 9]
    assert [spike.step for spike in read_skipped(tmp_path)] == [4, 9]
    assert read_skipped(tmp_path)[0] == earlier
    assert "the loss of step 4 is no finite number" in str(read_skipped(tmp_path)[0])
    assert "Infinity" not in (tmp_path / "skipped.json").read_text()
