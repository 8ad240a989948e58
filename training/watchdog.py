"""A training that hangs ends by itself: every rank watches its own steps, whatever the others or the network do.

A rank that has not finished a step in a multiple of the usual time writes the Python stacks of its threads to
``stacks/rank-00000.txt`` and ends; the standard library's ``faulthandler`` does both from a thread that needs no
interpreter lock, so also while a collective or a kernel waits for ever. The first rank writes ``heartbeat.json`` about
once a second, for whoever started it: a stopped process (SIGSTOP) can do nothing by itself.
"""

from __future__ import annotations

import faulthandler
import json
import statistics
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import Field

from training.settings import Settings

HEARTBEAT, STACKS = "heartbeat.json", "stacks"
_BEAT_SECONDS = 1.0
_REMEMBERED = 100
_END_SECONDS = 60.0
"""In which processes that have done their work end; it was seen to take eight."""
_MARGIN = 1.25
"""By which the one who started it waits longer than the ranks themselves."""


class WatchdogSettings(Settings):
    """When a training counts as hanging."""

    factor: float = Field(
        30.0,
        ge=0,
        description="A step may take this many times the median of the last hundred steps; 0 watches nothing.",
    )
    least_seconds: float = Field(60.0, gt=0, description="A step may always take this long.")
    pause_seconds: float = Field(
        3600.0,
        gt=0,
        description="Start, compilation, the export, and a first validation or checkpoint may take this long; later "
        "ones as many times the longest before as a step may.",
    )


@dataclass(frozen=True)
class Heartbeat:
    """A sign of life.

    Attributes:
        step: Optimizer steps done.
        time: When it was given, in seconds since 1970.
        deadline: When the next one should have come at the latest.
        median: Seconds that a step takes; 0 before there were any.
    """

    step: int
    time: float
    deadline: float
    median: float = 0.0


def read_heartbeat(run: Path) -> Heartbeat | None:
    """The last sign of life of a run's first rank, or None where there is none to be read."""
    try:
        return Heartbeat(**json.loads((run / HEARTBEAT).read_text(encoding="utf-8")))
    # Read while it is written, on a shared file system, it may be torn.
    except (FileNotFoundError, ValueError):
        return None


class Watchdog:
    """Watches this rank while the context is open, from a pause on: its start."""

    def __init__(self, settings: WatchdogSettings, run: Path, rank: int) -> None:
        self._settings, self._run, self._rank = settings, run, rank
        self._seconds: deque[float] = deque(maxlen=_REMEMBERED)
        self._last = 0.0
        self._beaten = -_BEAT_SECONDS
        self._step = 0
        # Of each kind of pause the longest.
        self._pauses: dict[str, float] = {}
        folder = run / STACKS
        folder.mkdir(exist_ok=True)
        self._file = (folder / f"rank-{rank:05d}.txt").open("w", encoding="utf-8")

    def start(self) -> None:
        """The training begins, for the first time or again: until two steps are done it may take as long as a pause."""
        self._seconds.clear()
        self._last = 0.0
        self._allow(self._settings.pause_seconds)

    def step(self, step: int) -> None:
        """A step is done, and the next one begins."""
        now = time.monotonic()
        if self._last:
            self._seconds.append(now - self._last)
        self._last, self._step = now, step
        if now - self._beaten >= _BEAT_SECONDS:
            self._allow(self._limit())

    @contextmanager
    def pause(self, kind: str = "") -> Iterator[None]:
        """Around something in a step that is none.

        Args:
            kind: Of what always takes about as long, such as a validation: later ones may take as many times the
                longest before as a step may.
        """
        begin = time.monotonic()
        limit = self._settings.pause_seconds
        if kind in self._pauses:
            limit = min(limit, max(self._settings.least_seconds, self._settings.factor * self._pauses[kind]))
        self._allow(limit)
        try:
            yield
        finally:
            seconds = time.monotonic() - begin
            if kind:
                self._pauses[kind] = max(seconds, self._pauses.get(kind, 0.0))
            if self._last:
                self._last += seconds
            self._allow(self._limit())

    def _limit(self) -> float:
        if len(self._seconds) < 2:
            # The first ones compile.
            return self._settings.pause_seconds
        return max(self._settings.least_seconds, self._settings.factor * statistics.median(self._seconds))

    def _allow(self, seconds: float) -> None:
        self._beaten = time.monotonic()
        if not self._settings.factor:
            return
        faulthandler.dump_traceback_later(seconds, exit=True, file=self._file)
        self._beat(seconds)

    def _beat(self, seconds: float) -> None:
        if self._rank:
            return
        now = time.time()
        median = statistics.median(self._seconds) if self._seconds else 0.0
        beat = Heartbeat(self._step, now, now + seconds * _MARGIN, median)
        # Not synced, and missing once where the disk is full: it is worth something for a moment only.
        with suppress(OSError):
            temporary = self._run / f".{HEARTBEAT}"
            temporary.write_text(json.dumps(asdict(beat)), encoding="utf-8")
            temporary.replace(self._run / HEARTBEAT)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._settings.factor:
            faulthandler.cancel_dump_traceback_later()
            self._beat(max(self._settings.least_seconds, _END_SECONDS))
        self._file.close()
