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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

import training

TRAINER = Path(training.__file__).parent / "train.py"
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class LaunchedProcess:
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
    command: Sequence[str], *, environment: Mapping[str, str], log: Path, grace_seconds: float
) -> Iterator[subprocess.Popen[bytes]]:
    """A child process with a session of its own; on leaving, no process of it is alive.

    Its output goes to ``log``. If the context is left while it runs, every process of the session gets SIGTERM and,
    after ``grace_seconds``, SIGKILL. If this process dies, the child gets SIGTERM from the kernel (Linux).
    """
    with log.open("ab") as output:
        process = subprocess.Popen(
            list(command),
            env=dict(environment),
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=_stop_with_parent if sys.platform == "linux" else None,
        )
    try:
        yield process
    finally:
        _stop_session(process, grace_seconds)


def stop_left_over(config: Path, *, grace_seconds: float) -> None:
    """Stop what is left of a trainer whose parent was killed, and let its ranks write a checkpoint.

    Args:
        config: The trainer's configuration file; its ranks and launchers have it in their command lines.
        grace_seconds: Time until they are killed.
    """

    def left_over() -> list[psutil.Process]:
        wanted = {str(TRAINER), str(config)}
        return [found for found in psutil.process_iter(["cmdline"]) if wanted <= set(found.info["cmdline"] or ())]

    _stop(left_over, grace_seconds)


def last_lines(path: Path, count: int) -> str:
    """The last lines of a text file, reading at most its last 64 KiB."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 65536))
        return "\n".join(file.read().decode("utf-8", "replace").splitlines()[-count:])


def _stop_session(process: subprocess.Popen[bytes], grace_seconds: float) -> None:
    _stop(lambda: _session_members(process.pid), grace_seconds)
    process.wait()


def _stop(find: Callable[[], list[psutil.Process]], grace_seconds: float) -> None:
    members = find()
    # DeepSpeed's launchers kill their ranks 30 s after a SIGTERM of their own, and end by themselves after their ranks.
    _signal([member for member in members if not _is_launcher(member)], signal.SIGTERM)
    _, alive = psutil.wait_procs(members, timeout=grace_seconds)
    # A rank may have started another process meanwhile.
    remaining = {member.pid: member for member in [*alive, *find()]}
    _signal(list(remaining.values()), signal.SIGKILL)
    psutil.wait_procs(list(remaining.values()), timeout=10)


def _session_members(session: int) -> list[psutil.Process]:
    members = []
    for candidate in psutil.process_iter():
        try:
            if os.getsid(candidate.pid) == session and candidate.status() != psutil.STATUS_ZOMBIE:
                members.append(candidate)
        except (ProcessLookupError, PermissionError, psutil.NoSuchProcess):
            continue
    return members


def _is_launcher(process: psutil.Process) -> bool:
    try:
        return any(argument.startswith("deepspeed.launcher.") for argument in process.cmdline())
    except psutil.Error:
        return False


def _signal(processes: Sequence[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            continue


def _stop_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
