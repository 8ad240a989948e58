"""A training month after month, event by event: failures, hangs, spikes, checkpoints.

Failures are a Poisson process over all time, also over restarts. A checkpoint is taken after every ``interval`` of
computation, when the one before is whole. A failure goes back to the newest whole one; a spike, which comes with new
computation only, lets the one under way become whole first, and its step is left out, so that it never comes twice.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.goodput.inputs import Inputs

DAY = 86_400.0


@dataclass(frozen=True)
class Shares:
    """Where the time of one training goes; together 1.

    Attributes:
        useful: Steps that stay.
        recomputed: Steps that were computed in vain.
        waiting: For checkpoints, slower steps beside their writing counted in.
        noticing: From a failure until somebody knows.
        restarting: Restarts and rollbacks.
    """

    useful: float
    recomputed: float
    waiting: float
    noticing: float
    restarting: float


def simulate(
    inputs: Inputs, *, interval: float, failures_per_second: float, seconds: float, trainings: int, seed: int
) -> list[Shares]:
    """Some trainings of the same length, each with a random course of its own.

    Args:
        inputs: What each event costs.
        interval: Seconds of computation between two checkpoints.
        failures_per_second: Of all GPUs together.
        seconds: Length of a training.
        trainings: How many.
        seed: Of all of them together.
    """
    generators = np.random.default_rng(seed).spawn(trainings)
    return [_Course(inputs, interval, failures_per_second, seconds, generator).shares() for generator in generators]


class _Course:
    """One training; ``_spent`` adds up to its length."""

    def __init__(
        self, inputs: Inputs, interval: float, rate: float, seconds: float, generator: np.random.Generator
    ) -> None:
        self._inputs, self._interval, self._rate, self._generator = inputs, interval, rate, generator
        self._cycle = max(interval + inputs.cost, inputs.whole)
        self._left = self._seconds = seconds
        self._spent = dict.fromkeys(("recomputed", "waiting", "noticing", "restarting"), 0.0)

    def shares(self) -> Shares:
        done, spike = 0.0, self._next(self._inputs.spikes_per_day / DAY)
        useful = 0.0
        while self._left > 0:
            failure, spiked = self._next(self._rate), self._time_of(spike - done)
            if self._left <= min(failure, spiked):
                computed = self._computed(self._left)
                useful = done + computed
                self._spend("waiting", self._left - computed)
                break
            if failure <= spiked:
                computed, kept = self._computed(failure), self._whole(failure)
                self._run(failure, computed, kept)
                self._start_again()
            else:
                computed = spike - done
                taken = self._taken(computed)
                kept = taken * self._interval
                self._run(spiked, computed, kept)
                if taken:
                    self._spend("waiting", max(self._whole_at(taken) - spiked, 0.0))
                self._roll_back()
                spike += self._next(self._inputs.spikes_per_day / DAY)
            done += kept
        else:
            useful = done
        shares = {name: seconds / self._seconds for name, seconds in self._spent.items()}
        return Shares(useful=useful / self._seconds, **shares)

    def _next(self, rate: float) -> float:
        return float(self._generator.exponential(1 / rate)) if rate else np.inf

    def _spend(self, what: str, seconds: float) -> None:
        seconds = min(seconds, self._left)
        self._spent[what] += seconds
        self._left -= seconds

    def _run(self, seconds: float, computed: float, kept: float) -> None:
        self._spend("waiting", seconds - computed)
        self._spend("recomputed", computed - kept)
        self._left -= kept

    def _computed(self, seconds: float) -> float:
        """Computation in so much time since the start."""
        if seconds <= self._interval:
            return seconds
        cycles, rest = divmod(seconds - self._interval, self._cycle)
        return (cycles + 1) * self._interval + min(max(rest - self._inputs.cost, 0.0), self._interval)

    def _taken(self, computed: float) -> int:
        """Checkpoints taken in so much computation since the start."""
        return max(int(np.ceil(computed / self._interval)) - 1, 0) if np.isfinite(computed) else 0

    def _time_of(self, computed: float) -> float:
        """Time since the start when so much is computed."""
        taken = self._taken(computed)
        if not taken:
            return computed
        return self._interval + (taken - 1) * self._cycle + self._inputs.cost + computed - taken * self._interval

    def _whole_at(self, number: int) -> float:
        """Time since the start when a checkpoint, counted from 1, is whole."""
        return self._interval + (number - 1) * self._cycle + self._inputs.whole

    def _whole(self, seconds: float) -> float:
        """Computation that whole checkpoints hold after so much time since the start."""
        since = seconds - self._whole_at(1)
        return (since // self._cycle + 1) * self._interval if since >= 0 else 0.0

    def _start_again(self) -> None:
        while self._left > 0:
            hangs = self._generator.random() < self._inputs.hang_share
            self._spend("noticing", self._inputs.hang_notice if hangs else self._inputs.notice)
            failure = self._next(self._rate)
            self._spend("restarting", min(failure, self._inputs.restart))
            if failure >= self._inputs.restart:
                return

    def _roll_back(self) -> None:
        failure = self._next(self._rate)
        self._spend("restarting", min(failure, self._inputs.rollback))
        if failure < self._inputs.rollback:
            self._start_again()
