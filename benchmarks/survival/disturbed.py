"""One training, disturbed once, watched to its end."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from assets.language_model.training_run import TrainingRun
from benchmarks.survival.faults import FAULTS, Victim
from benchmarks.survival.service import TrackingServer
from training.events import read_events

MOST_STARTS = 6
POLL_SECONDS = 0.05
LONGEST_SECONDS = 600.0


@dataclass
class Course:
    """What happened.

    Attributes:
        fault: Name of the fault; empty for none.
        step: When it was done.
        seconds: From the first start to the end.
        notice_seconds: From the fault to the first word or end after it; None where nothing had to be noticed.
        resume_seconds: From there to the first new step; None likewise.
        recomputed: Steps that were computed twice.
        starts: Times that the training was started by hand.
        restarts: Times that it was started again by itself.
    """

    fault: str
    step: int = 0
    seconds: float = 0.0
    notice_seconds: float | None = None
    resume_seconds: float | None = None
    recomputed: int = 0
    starts: int = 0
    restarts: int = 0
    messages: list[str] = field(default_factory=list)


def train_disturbed(run: TrainingRun, server: TrackingServer, *, fault: str, step: int, seed: int, port: int) -> Course:
    """Train to the end in a run's folder, and do the fault when it is at a step.

    Args:
        run: Configured.
        server: MLflow's.
        fault: One of ``FAULTS``; empty for none.
        step: After which it is done, and a random part of a second.
        seed: For what is random in it.
        port: At which the ranks meet.
    """
    course = Course(fault, step)
    chooser = random.Random(seed)
    begin = time.monotonic()
    reached, told, done_at = 0, 0, 0.0
    pending = bool(fault)
    while not run.finished or not course.starts:
        course.starts += 1
        if course.starts > MOST_STARTS:
            raise RuntimeError(f"{fault}: not finished after {MOST_STARTS} starts; see {run.log}")
        with (run.folder / "supervisor.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.survival.supervised", str(run.folder), str(port)],
                stdout=log,
                stderr=log,
                env=server.environment(),
                start_new_session=True,
            )
        while process.poll() is None:
            if time.monotonic() - begin > LONGEST_SECONDS:
                raise RuntimeError(f"{fault}: not finished after {LONGEST_SECONDS:.0f} s; see {run.log}")
            time.sleep(POLL_SECONDS)
            now = _newest_step(run)
            for event in read_events(run.folder)[told:]:
                told += 1
                if event.kind == "resume":
                    course.recomputed += max(0, reached - event.step)
                    reached = event.step
                if event.kind not in ("progress", "resume"):
                    course.messages.append(event.message)
                if event.kind == "restart":
                    course.restarts += 1
                    if done_at and course.notice_seconds is None:
                        course.notice_seconds = event.time - done_at
            if done_at and course.notice_seconds is not None and course.resume_seconds is None and now > 0:
                last = run.records()[-1]["time"]
                if last > done_at + course.notice_seconds:
                    course.resume_seconds = last - done_at - course.notice_seconds
            reached = max(reached, now)
            if pending and now >= step:
                pending = False
                time.sleep(chooser.random() * 0.2)
                done_at = time.time()
                _do(FAULTS[fault], Victim(psutil.Process(process.pid), run.folder, server, chooser))
        if done_at and course.notice_seconds is None and not run.finished:
            course.notice_seconds = time.time() - done_at
    course.seconds = time.monotonic() - begin
    return course


def _do(fault: Callable[[Victim], None], victim: Victim) -> None:
    # A process may have ended by itself.
    with suppress(psutil.NoSuchProcess, IndexError):
        fault(victim)


def _newest_step(run: TrainingRun) -> int:
    records = run.records()
    return int(records[-1]["step"]) if records else 0


def left_over(run: Path) -> list[str]:
    """Processes that name a folder in their command line."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.status() != psutil.STATUS_ZOMBIE and any(str(run) in word for word in process.cmdline()):
                found.append(" ".join(process.cmdline())[:200])
    return found
