"""What happened to a training, in words: ``events.jsonl`` in its folder.

One JSON object a line with ``time`` (seconds since 1970), ``step``, ``kind``, ``message`` and ``details``. The first
rank and whoever started it append to it; Dagster and MLflow are told what is in it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from training.json_lines import append_lines, read_lines

EVENTS = "events.jsonl"

Kind = Literal[
    "progress", "resume", "stop", "restart", "checkpoint", "spike", "corruption", "hang", "nodes", "tracking"
]
"""progress is for people who watch; everything else is worth a look afterwards."""


@dataclass(frozen=True)
class Event:
    """Something that happened.

    Attributes:
        kind: What it is about.
        message: For people.
        step: Optimizer steps done.
        details: For programs.
        time: Seconds since 1970.
    """

    kind: Kind
    message: str
    step: int = 0
    details: Mapping[str, Any] = field(default_factory=dict)
    time: float = field(default_factory=time.time)


def append_event(run: Path, event: Event) -> None:
    """Add an event to those of a run; a line that a killed process has left half written is ended first.

    Raises:
        OSError: If it cannot be written.
    """
    append_lines(run / EVENTS, [asdict(event)])


def read_events(run: Path) -> list[Event]:
    """The events of a run, in order; half a line is none."""
    return read_lines(run / EVENTS, Event)
