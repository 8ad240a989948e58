"""What a training tells while it goes: metrics.jsonl, events.jsonl, TensorBoard's files and a progress bar.

``metrics.jsonl`` has one JSON object a line with ``step``, ``time`` (seconds since 1970) and numbers, nested by source
where there is one for each. It is what everybody else reads, so a resumed run takes away the lines after its step.
Lines that a full disk does not take are kept, and written when there is room again.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tqdm import tqdm

from training.artifact import write_atomically
from training.events import Event, Kind, append_event

METRICS = "metrics.jsonl"
TENSORBOARD = "tensorboard"

log = logging.getLogger(__name__)


def read_records(path: Path) -> list[dict[str, Any]]:
    """The complete lines of a metrics file; none if it is not there yet."""
    if not path.is_file():
        return []
    text = path.read_text(encoding="utf-8")
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


class Recorder:
    """Writes the records of the first rank; the recorders of other ranks do nothing."""

    def __init__(self, run: Path, *, steps: int, first_step: int, is_first_rank: bool) -> None:
        """Begin after ``first_step`` steps, in a folder that may hold the records of an earlier part."""
        self._path = run / METRICS
        self._enabled = is_first_rank
        self._events: Any = None
        self._bar: Any = None
        if not is_first_rank:
            return
        kept = [record for record in read_records(self._path) if record["step"] <= first_step]
        write_atomically(self._path, "".join(json.dumps(record) + "\n" for record in kept))
        self._file = self._path.open("ab", buffering=0)
        self._size = self._path.stat().st_size
        self._pending: list[bytes] = []
        self._events = _tensorboard(run / TENSORBOARD, first_step)
        # A log file gets a line now and then instead of one that is drawn over.
        slow = not sys.stderr.isatty()
        self._bar = tqdm(
            total=steps,
            initial=first_step,
            desc="training",
            unit="step",
            mininterval=10.0 if slow else 0.2,
            dynamic_ncols=not slow,
        )

    def advance(self, shown: Mapping[str, str]) -> None:
        """One step is done."""
        # Standard error may be a file on a full disk.
        if self._enabled:
            with suppress(OSError):
                self._bar.set_postfix(shown, refresh=False)
                self._bar.update()

    def write(self, step: int, values: Mapping[str, Any]) -> None:
        """Keep numbers, possibly nested by name, of a step."""
        if not self._enabled:
            return
        record = {"step": step, "time": time.time(), **values}
        self._pending.append(json.dumps(record, allow_nan=False).encode() + b"\n")
        self._write_pending()
        if self._events is not None:
            try:
                for name, value in _flat(values).items():
                    self._events.add_scalar(name, value, step)
                self._events.flush()
            except OSError as error:
                self._events = None
                self.say(f"TensorBoard's files are not written any more: {error}", kind="tracking", step=step)

    def _write_pending(self) -> None:
        """Whole lines or none."""
        data = b"".join(self._pending)
        try:
            if self._file.write(data) == len(data):
                self._size += len(data)
                self._pending.clear()
                return
        except OSError as error:
            log.warning("%s cannot be written now, its lines are kept: %s", self._path, error)
        with suppress(OSError):
            self._file.truncate(self._size)

    def say(
        self, message: str, *, kind: Kind = "progress", step: int = 0, details: Mapping[str, Any] | None = None
    ) -> None:
        """A line for people: over the progress bar, in the events, and so in the Dagster run if there is one."""
        if not self._enabled:
            return
        with suppress(OSError):
            self._bar.write(message, file=sys.stderr)
        try:
            append_event(self._path.parent, Event(kind, message, step, details or {}))
        except OSError as error:
            log.warning("the event cannot be written: %s", error)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._enabled:
            return
        with suppress(OSError):
            self._bar.close()
        if self._pending:
            self._write_pending()
        self._file.close()
        if self._events is not None:
            with suppress(OSError):
                self._events.close()


def _tensorboard(folder: Path, first_step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=first_step + 1)


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    flat: dict[str, float] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}/")
        else:
            flat[prefix + name] = value
    return flat
