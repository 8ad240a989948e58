from __future__ import annotations

import json
import math
import sys
from dataclasses import astuple, replace
from pathlib import Path
from statistics import fmean, stdev

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.goodput.__main__ import main
from benchmarks.goodput.closed_form import best_interval, useful_share
from benchmarks.goodput.inputs import CLUSTER, HANG, MEASURED, RATES, Inputs, from_survival
from benchmarks.goodput.simulation import DAY, simulate

# Checkpoints as Daly had them: the training waits until they are whole, and a failure is known at once.
DALY = Inputs(
    notice=0, hang_notice=0, restart=90, wait=60, whole=60, drag=0, rollback=0, hang_share=0, spikes_per_day=0
)
HOURLY = 1 / 3600


def test_the_closed_form_is_dalys_complete_model() -> None:
    for interval in (100.0, 600.0, 5000.0):
        wall = 3600 * math.exp(90 / 3600) * math.expm1((interval + 60) / 3600)
        assert useful_share(DALY, interval=interval, failures_per_second=HOURLY) == pytest.approx(interval / wall)


@pytest.mark.parametrize(
    "inputs",
    [
        DALY,
        replace(DALY, wait=2, whole=240, drag=0.1),
        replace(DALY, notice=20, hang_notice=300, hang_share=0.3, wait=0.0),
    ],
    ids=["waits until whole", "written beside", "hangs"],
)
@pytest.mark.parametrize("interval", [100.0, 1000.0])
def test_the_simulation_agrees_with_the_closed_form(inputs: Inputs, interval: float) -> None:
    """In the limit that it holds for: many failures in a training, and no spikes."""
    found = simulate(inputs, interval=interval, failures_per_second=HOURLY, seconds=1000 * 3600, trainings=40, seed=0)
    useful = [shares.useful for shares in found]
    error = stdev(useful) / math.sqrt(len(useful))
    expected = useful_share(inputs, interval=interval, failures_per_second=HOURLY)
    assert error < 0.003
    assert abs(fmean(useful) - expected) < 3 * error


def test_without_failures_only_checkpoints_cost() -> None:
    for inputs, interval, share in (
        (DALY, 540.0, 0.9),
        (replace(DALY, wait=0, whole=100), 50.0, 0.5),
        (replace(DALY, drag=0.5), 360.0, 0.8),
    ):
        (found,) = simulate(inputs, interval=interval, failures_per_second=0.0, seconds=1e6, trainings=1, seed=0)
        assert found.useful == pytest.approx(share, abs=1e-3)
        assert found.waiting == pytest.approx(1 - share, abs=1e-3)
        assert useful_share(inputs, interval=interval, failures_per_second=0.0) == pytest.approx(share)


def test_a_spike_costs_its_rollback_and_the_steps_since_the_checkpoint() -> None:
    inputs = replace(DALY, wait=0, whole=10, rollback=40, spikes_per_day=24)
    found = simulate(inputs, interval=600, failures_per_second=0.0, seconds=100 * DAY, trainings=20, seed=1)
    spikes = fmean(shares.restarting for shares in found) / 40
    assert spikes == pytest.approx(fmean(shares.useful for shares in found) / 3600, rel=0.03)
    # Exponential, cut off at an interval: what is left of it is a little less than half an interval.
    mean = 3600 - 600 / math.expm1(600 / 3600)
    assert fmean(shares.recomputed for shares in found) / spikes == pytest.approx(mean, rel=0.03)


def test_the_best_interval_is_the_best() -> None:
    for inputs in (DALY, replace(MEASURED, whole=0.0), replace(CLUSTER, whole=5.0)):
        for failures in (1e-6, 1e-5, HOURLY):
            best = best_interval(inputs, failures_per_second=failures)
            others = best * np.exp(np.linspace(-2, 2, 401))
            shares = [useful_share(inputs, interval=other, failures_per_second=failures) for other in others]
            assert others[int(np.argmax(shares))] == pytest.approx(best, rel=0.02)
    assert best_interval(replace(DALY, wait=1.0), failures_per_second=1e-6) == pytest.approx(math.sqrt(2e6), rel=1e-3)
    # Never shorter than writing takes.
    assert best_interval(replace(CLUSTER, whole=5000.0), failures_per_second=HOURLY) == 4949.0
    assert best_interval(CLUSTER, failures_per_second=0.0) == math.inf


@given(
    times=st.tuples(*[st.floats(0, 5000)] * 5),
    shares=st.tuples(st.floats(0, 1), st.floats(0, 5000), st.floats(0, 1), st.floats(0, 100)),
    interval=st.floats(1, 20_000),
    failures=st.sampled_from([0.0, 1e-5, 1e-3]),
    seed=st.integers(0, 100),
)
def test_all_of_the_time_is_accounted_for(
    times: tuple[float, ...], shares: tuple[float, ...], interval: float, failures: float, seed: int
) -> None:
    (found,) = simulate(
        Inputs(*times, *shares),
        interval=interval,
        failures_per_second=failures,
        seconds=2 * DAY,
        trainings=1,
        seed=seed,
    )
    assert sum(astuple(found)) == pytest.approx(1)
    assert all(-1e-9 <= share <= 1 + 1e-9 for share in astuple(found))


def test_rates_are_the_published_ones() -> None:
    assert RATES["Llama 3"] * 16_384 * 24 * 54 == pytest.approx(419)
    assert RATES["Meta's RSC-1"] * 8 * 24 * 1000 == pytest.approx(6.5)


def test_figures_of_survival_replace_the_measured_ones(tmp_path: Path) -> None:
    path = tmp_path / "survival.json"
    measures = {
        "time to notice, median": 2.0,
        "time to the next new step, median": 11.0,
        "seconds that a checkpoint stops the training": 0.01,
        "seconds until a checkpoint is whole": 0.2,
    }
    runs = [{"fault": HANG, "notice_seconds": seconds} for seconds in (4.0, 6.0, None)]
    content = {"measures": [{"name": name, "value": value} for name, value in measures.items()], "runs": runs}
    path.write_text(json.dumps(content), encoding="utf-8")
    expected = replace(MEASURED, notice=2.0, restart=11.0, rollback=11.0, wait=0.01, whole=0.2, hang_notice=5.0)
    assert from_survival(path, MEASURED) == expected
    path.write_text(json.dumps(content | {"measures": []}), encoding="utf-8")
    with pytest.raises(ValueError, match="it lacks 'time to notice, median'"):
        from_survival(path, MEASURED)


def test_the_command_writes_its_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "goodput.json"
    arguments = ["--trainings", "3", "--days", "2", "--restart", "700", "--json", str(out)]
    monkeypatch.setattr(sys, "argv", ["goodput", *arguments])
    main()
    tables = json.loads(out.read_text(encoding="utf-8"))["tables"]
    assert [table["inputs"]["restart"] for table in tables.values()] == [700, 700]
    assert "0.47 (Llama 3)" in capsys.readouterr().out
