"""What is done to a training: each fault gets its processes and its folder, and does the real thing."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from assets.language_model.launchers.programs import TRAINER
from benchmarks.survival.service import TrackingServer


@dataclass(frozen=True)
class Victim:
    """A training at work.

    Attributes:
        supervisor: Who has started it, as a Dagster run worker would have.
        run: Its folder, on a file system of its own.
        server: MLflow's.
        random: For choices.
    """

    supervisor: psutil.Process
    run: Path
    server: TrackingServer
    random: random.Random

    def launchers(self) -> list[psutil.Process]:
        """DeepSpeed's two."""
        return [one for one in self._family() if any("deepspeed.launcher" in word for word in one.cmdline())]

    def ranks(self) -> list[psutil.Process]:
        """The ranks."""
        launchers = self.launchers()
        return [one for one in self._family() if one not in launchers and str(TRAINER) in one.cmdline()]

    def _family(self) -> list[psutil.Process]:
        return [one for one in self.supervisor.children(recursive=True) if one.status() != psutil.STATUS_ZOMBIE]

    def any_rank(self) -> psutil.Process:
        """One of them."""
        return self.random.choice(sorted(self.ranks(), key=lambda one: one.pid))


def _signalled(number: signal.Signals) -> Callable[[Victim], None]:
    return lambda victim: victim.any_rank().send_signal(number)


def _out_of_memory(victim: Victim) -> None:
    """No page more than it has."""
    rank = victim.any_rank()
    rank.rlimit(psutil.RLIMIT_AS, (rank.memory_info().vms // 4, -1))


def _launcher_killed(victim: Victim) -> None:
    victim.random.choice(victim.launchers()).kill()


def _all_ranks_killed(victim: Victim) -> None:
    for rank in victim.ranks():
        rank.kill()


def _slow(victim: Victim) -> None:
    rank = victim.any_rank()
    rank.suspend()
    time.sleep(2.0)
    rank.resume()


def _terminated(victim: Victim) -> None:
    for rank in victim.ranks():
        rank.terminate()


def _everything_killed(victim: Victim) -> None:
    for process in [victim.supervisor, *victim.supervisor.children(recursive=True)]:
        process.kill()


def _disk_full(victim: Victim) -> None:
    filler = victim.run.parent / "filler"
    try:
        with filler.open("wb", buffering=0) as file:
            while True:
                file.write(b"0" * 65536)
    except OSError:
        pass
    time.sleep(4.0)
    filler.unlink()


def _damaged_checkpoint(victim: Victim) -> None:
    """The newest one, and then a crash, so that somebody looks at it."""
    folders = sorted((victim.run / "checkpoints").glob("step-*"))
    if folders:
        files = [path for path in folders[-1].iterdir() if path.suffix == ".pt"]
        file = max(files, key=lambda path: path.stat().st_size)
        os.truncate(file, file.stat().st_size // 2)
    victim.any_rank().kill()


def _tracking_locked(victim: Victim) -> None:
    """MLflow's database, for a while, by a writer that does not end."""

    def hold() -> None:
        with sqlite3.connect(victim.server.database, timeout=30) as database:
            database.execute("BEGIN EXCLUSIVE")
            time.sleep(5.0)
            database.rollback()

    threading.Thread(target=hold, daemon=True).start()


def _tracking_gone(victim: Victim) -> None:
    """Its server is killed, a rank too, and the server comes back."""
    victim.server.kill()
    victim.any_rank().kill()
    time.sleep(4.0)
    victim.server.start()


FAULTS: dict[str, Callable[[Victim], None]] = {
    "a rank is killed (SIGKILL)": _signalled(signal.SIGKILL),
    "a rank crashes (SIGSEGV)": _signalled(signal.SIGSEGV),
    "a rank has no memory left": _out_of_memory,
    "a rank is stopped for good (SIGSTOP)": _signalled(signal.SIGSTOP),
    "a rank stands still for two seconds": _slow,
    "all ranks are killed": _all_ranks_killed,
    "a launcher is killed": _launcher_killed,
    "the run worker is killed": lambda victim: victim.supervisor.kill(),
    "everything is killed": _everything_killed,
    "the ranks are told to stop (SIGTERM)": _terminated,
    "the disk is full for four seconds": _disk_full,
    "the newest checkpoint is damaged, and a rank killed": _damaged_checkpoint,
    "MLflow's database is locked for five seconds": _tracking_locked,
    "MLflow is away for four seconds, and a rank killed": _tracking_gone,
}
