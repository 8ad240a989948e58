from __future__ import annotations

import math

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from training.run_settings import ScheduleSettings
from training.schedule import learning_rate_share
from training.settings import SettingsError

shares = st.floats(0, 1)
schedules = st.builds(
    ScheduleSettings,
    shape=st.sampled_from(["linear", "cosine", "warmup_stable_decay", "constant"]),
    warmup=shares,
    decay=shares,
    final=shares,
)


def share(step: int, steps: int = 101, **values: object) -> float:
    return learning_rate_share(step, steps=steps, settings=ScheduleSettings.model_validate(values))


@pytest.mark.parametrize("shape", ["linear", "cosine", "warmup_stable_decay", "constant"])
def test_it_rises_linearly_and_peaks_after_the_warm_up(shape: str) -> None:
    rising = [share(step, 100, shape=shape, warmup=0.1) for step in range(11)]
    assert rising == pytest.approx([(step + 1) / 11 for step in range(11)])
    assert rising[10] == 1.0
    assert share(0, 100, shape=shape, warmup=0) == 1.0


@pytest.mark.parametrize(
    ("shape", "quarter", "middle", "three_quarters"),
    [
        ("linear", 0.2 + 0.8 * 0.75, 0.6, 0.2 + 0.8 * 0.25),
        ("cosine", 0.2 + 0.4 * (1 + math.sqrt(0.5)), 0.6, 0.2 + 0.4 * (1 - math.sqrt(0.5))),
        ("constant", 1.0, 1.0, 1.0),
    ],
)
def test_how_it_falls(shape: str, quarter: float, middle: float, three_quarters: float) -> None:
    values = [share(step, shape=shape, warmup=0, final=0.2) for step in (0, 25, 50, 75, 100)]
    last = 1.0 if shape == "constant" else 0.2
    assert values == pytest.approx([1.0, quarter, middle, three_quarters, last])


def test_it_falls_from_the_end_of_the_warm_up() -> None:
    values = [share(step, 21, shape="linear", warmup=0.5, final=0) for step in (9, 10, 15, 20)]
    assert values == pytest.approx([10 / 11, 1.0, 0.5, 0.0])


def test_warmup_stable_decay_stays_and_then_falls_linearly() -> None:
    values = [
        share(step, 100, shape="warmup_stable_decay", warmup=0.1, decay=0.21, final=0) for step in (10, 50, 79, 89, 99)
    ]
    assert values == pytest.approx([1.0, 1.0, 1.0, 0.5, 0.0])


def test_a_decay_longer_than_the_rest_begins_after_the_warm_up() -> None:
    values = [share(step, 21, shape="warmup_stable_decay", warmup=0.5, decay=1, final=0.1) for step in (9, 10, 20)]
    assert values == pytest.approx([10 / 11, 1.0, 0.1])


@settings(deadline=None)
@given(schedules, st.integers(1, 500), st.data())
def test_it_is_always_a_share_and_never_rises_again(
    schedule: ScheduleSettings, steps: int, data: st.DataObject
) -> None:
    step = data.draw(st.integers(0, steps - 1))
    value = learning_rate_share(step, steps=steps, settings=schedule)
    assert 0 <= value <= 1
    warmup = round(schedule.warmup * steps)
    if step < warmup:
        assert value > 0
    elif step > warmup:
        assert value <= learning_rate_share(step - 1, steps=steps, settings=schedule)


@settings(deadline=None)
@given(schedules, st.integers(3, 500))
def test_the_last_step_has_what_is_left(schedule: ScheduleSettings, steps: int) -> None:
    falling = steps - round(schedule.warmup * steps)
    if schedule.shape == "warmup_stable_decay":
        falling = min(falling, round(schedule.decay * steps))
    assume(falling > 1 and schedule.shape != "constant")
    last = learning_rate_share(steps - 1, steps=steps, settings=schedule)
    assert last == pytest.approx(schedule.final, abs=1e-12)


@pytest.mark.parametrize("drops", [[30, 60], [-0.1], [0.5, 1.1]])
def test_drops_are_shares_of_the_steps(drops: list[float]) -> None:
    """Numbers of steps would be behind the end of the training, and do nothing."""
    with pytest.raises(SettingsError, match=r"'drops' = .*: write shares of the steps, from 0 to 1"):
        ScheduleSettings.parse({"shape": "step", "drops": drops}, origin="schedule")
