"""Losses and gradient norms far above the last ones, and the steps that are left out because of them.

A loss counts as a spike when it is above the median of the last steps by more than a multiple of their median absolute
deviation, which a few outliers do not move (Hampel, JASA 69, 1974). The training goes back to the checkpoint before and
leaves the step's batch out, as Chowdhery et al. (arXiv:2204.02311, section 5.1) did by hand.
"""

from __future__ import annotations

import json
import math
import statistics
from collections import deque
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import Field

from training.artifact import write_atomically
from training.settings import Settings

SKIPPED = "skipped.json"
_OF_NORMAL = 1.4826
"""Standard deviations of a normal distribution in one median absolute deviation."""
_HIGHEST = 1e308
"""In the file for what is no finite number: JSON has no infinity that others read."""


class SpikeSettings(Settings):
    """When a step's loss or gradient is no longer believed."""

    deviations: float = Field(
        12.0,
        ge=0,
        description="A spike is so many robust standard deviations above the median of the last steps; 0 seeks none.",
    )
    window: int = Field(100, ge=10, description="Last steps that a step is compared with.")
    least: float = Field(0.3, ge=0, description="Nats a token above the median that a spike has at least.")
    most_skipped: int = Field(10, ge=0, description="Steps that may be left out in a training; then it ends.")


@dataclass(frozen=True)
class Spike:
    """A step that is left out.

    Attributes:
        step: Number of the step, counted from 1.
        what: loss or gradient_norm.
        value: What was measured; infinite where it was no number.
        median: Of the steps before.
        limit: What it should have been below.
    """

    step: int
    what: str
    value: float
    median: float
    limit: float

    def __str__(self) -> str:
        """In words."""
        shown = f"{self.value:.3f}" if math.isfinite(self.value) else "no finite number"
        return (
            f"the {self.what.replace('_', ' ')} of step {self.step} is {shown}, where the median of the steps before "
            f"is {self.median:.3f} and the limit {self.limit:.3f}"
        )


class SpikeDetector:
    """Remembers the last steps."""

    def __init__(self, settings: SpikeSettings) -> None:
        self._settings = settings
        self._past: dict[str, deque[float]] = {
            what: deque(maxlen=settings.window) for what in ("loss", "gradient_norm")
        }

    @property
    def past(self) -> dict[str, list[float]]:
        """What it remembers, for a checkpoint."""
        return {what: list(values) for what, values in self._past.items()}

    def remember(self, past: dict[str, list[float]]) -> None:
        """Go on with what another one remembered."""
        for what, values in past.items():
            self._past[what].extend(values)

    def look(self, steps: Iterable[int], losses: Iterable[float], norms: Iterable[float | None]) -> Spike | None:
        """Add steps one after the other, up to the first that is a spike, which is not remembered.

        Args:
            steps: Their numbers, counted from 1.
            losses: Nats a token.
            norms: Of the gradients; None where it was not measured.
        """
        for number, loss, norm in zip(steps, losses, norms, strict=True):
            measured = {"loss": loss} if norm is None else {"loss": loss, "gradient_norm": norm}
            for what, value in measured.items():
                spike = self._spike(number, what, value)
                if spike is not None:
                    return spike
            for what, value in measured.items():
                self._past[what].append(value)
        return None

    def _spike(self, step: int, what: str, value: float) -> Spike | None:
        past = self._past[what]
        if not self._settings.deviations:
            return None
        if not math.isfinite(value):
            median = statistics.median(past) if past else 0.0
            return Spike(step, what, math.inf, median, median)
        if len(past) < self._settings.window // 2:
            return None
        median = statistics.median(past)
        deviation = _OF_NORMAL * statistics.median(abs(one - median) for one in past)
        # Norms have no natural scale: a spike is a multiple of the median.
        least = self._settings.least if what == "loss" else 10 * median
        limit = median + max(self._settings.deviations * deviation, least)
        return Spike(step, what, value, median, limit) if value > limit else None


def read_skipped(run: Path) -> list[Spike]:
    """The steps that a run leaves out, by step."""
    path = run / SKIPPED
    if not path.is_file():
        return []
    fields = json.loads(path.read_text(encoding="utf-8"))
    return [Spike(**one | {"value": math.inf if one["value"] >= _HIGHEST else one["value"]}) for one in fields]


def add_skipped(run: Path, spike: Spike) -> list[Spike]:
    """Leave one more step out; returns all of them."""
    skipped = sorted({one.step: one for one in [*read_skipped(run), spike]}.values(), key=lambda one: one.step)
    fields = [asdict(one) | {"value": min(one.value, _HIGHEST)} for one in skipped]
    write_atomically(run / SKIPPED, json.dumps(fields, indent=1))
    return skipped
