"""A program with all its descendants: started as a group of its own, asked to stop, killed after a time.

Dagster's own ``PipesSubprocessClient`` interrupts only its direct child and never kills, which leaves the ranks behind.
Here the whole group is asked to stop (the trainer then writes a checkpoint) and, after a time, killed.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from assets.language_model.launchers.launched import Launched
from training.stop_run import stop

PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class LaunchedProcess(Launched):
    """A launcher that runs as a child of this process."""

    process: subprocess.Popen[bytes]

    @property
    def name(self) -> str:
        """Its process."""
        return f"process {self.process.pid}"

    def poll(self) -> int | None:
        """Its exit code; None while it runs."""
        return self.process.poll()


@contextmanager
def process_group(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    log: Path,
    grace_seconds: float,
    folder: Path | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """A child process with a session of its own; on leaving, no process of it is alive.

    Its output goes to ``log``, and it works in ``folder``, or in this process's. If the context is left while it runs,
    every process of the session gets SIGTERM and, after ``grace_seconds``, SIGKILL. If this process dies, the child
    gets SIGTERM from the kernel (Linux).
    """
    with log.open("ab") as output:
        process = subprocess.Popen(
            list(command),
            env=dict(environment),
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            cwd=folder,
            preexec_fn=_stop_with_parent if sys.platform == "linux" else None,
        )
    try:
        yield process
    finally:
        _stop_session(process, grace_seconds)


def last_lines(path: Path, count: int) -> str:
    """The last lines of a text file, reading at most its last 64 KiB; nothing of one that is not there yet."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 65536))
        return "\n".join(file.read().decode("utf-8", "replace").splitlines()[-count:])


def _stop_session(process: subprocess.Popen[bytes], grace_seconds: float) -> None:
    stop(lambda: _session_members(process.pid), grace_seconds)
    process.wait()


def _session_members(session: int) -> list[psutil.Process]:
    members = []
    for candidate in psutil.process_iter():
        try:
            if os.getsid(candidate.pid) == session and candidate.status() != psutil.STATUS_ZOMBIE:
                members.append(candidate)
        except (ProcessLookupError, PermissionError, psutil.NoSuchProcess):
            continue
    return members


def _stop_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
