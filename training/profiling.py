"""Where the time of a step goes: a Chrome trace, a table, and on a GPU a snapshot of the memory."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from pydantic import Field

from training.artifact import write_atomically
from training.settings import Settings

FOLDER = "profile"
_ROWS = 40


class ProfileSettings(Settings):
    """Which steps of a run of the program are profiled; they are slower than others."""

    steps: int = Field(0, ge=0, description="Steps that are profiled; 0 is none.")
    after: int = Field(10, ge=0, description="Steps of this run of the program before them, in which things compile.")


class Profiler:
    """Told of every step; writes ``profile/trace-RANK.json`` (open it in chrome://tracing), ``table-RANK.txt``."""

    def __init__(self, settings: ProfileSettings, run: Path, rank: int) -> None:
        """Start when the steps come."""
        self._settings, self._folder, self._rank = settings, run / FOLDER, rank
        self._seen = 0
        self._profile: Any = None

    def __enter__(self) -> Self:
        self._start_if_due()
        return self

    def step(self) -> None:
        """A step has ended."""
        self._seen += 1
        if self._profile is not None and self._seen >= self._settings.after + self._settings.steps:
            self._write()
        self._start_if_due()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._profile is not None:
            self._write()

    def _start_if_due(self) -> None:
        if self._settings.steps and self._seen == self._settings.after and self._profile is None:
            activities = [torch.profiler.ProfilerActivity.CPU]
            if torch.cuda.is_available():
                activities.append(torch.profiler.ProfilerActivity.CUDA)
                torch.cuda.memory._record_memory_history()
            self._profile = torch.profiler.profile(activities=activities, record_shapes=True)
            self._profile.start()

    def _write(self) -> None:
        profile, self._profile = self._profile, None
        profile.stop()
        self._folder.mkdir(exist_ok=True)
        profile.export_chrome_trace(str(self._folder / f"trace-{self._rank}.json"))
        key = "self_cuda_time_total" if torch.cuda.is_available() else "self_cpu_time_total"
        table = profile.key_averages().table(sort_by=key, row_limit=_ROWS)
        write_atomically(self._folder / f"table-{self._rank}.txt", table)
        if torch.cuda.is_available():
            torch.cuda.memory._dump_snapshot(  # type: ignore[no-untyped-call]
                str(self._folder / f"memory-{self._rank}.pickle")
            )
            torch.cuda.memory._record_memory_history(enabled=None)
