"""Stop what runs of a training on this machine, and let it write a checkpoint: ``stop_run.py --config run.yaml``.

Its ranks and launchers have the path of the configuration in their command lines.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil

PROGRAMS = ("train.py", "node_check.py")


def stop_run(config: Path, *, grace_seconds: float) -> int:
    """Ask the ranks of a training on this machine to stop; kill what is left of them after a time.

    Args:
        config: The trainer's configuration file.
        grace_seconds: Time for them to write a checkpoint.

    Returns:
        How many processes there were.
    """

    def members() -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter(["cmdline"]):
            command = process.info["cmdline"] or ()
            if str(config) in command and any(Path(word).name in PROGRAMS for word in command):
                found.append(process)
        return found

    return stop(members, grace_seconds)


def stop(find: Callable[[], list[psutil.Process]], grace_seconds: float) -> int:
    """Send SIGTERM to all processes found but DeepSpeed's and torchrun's launchers, then SIGKILL to what is left.

    Args:
        find: Finds them, again after they were asked: a rank may have started another process meanwhile.
        grace_seconds: Time between the two.

    Returns:
        How many were found at first.
    """
    members = find()
    # Launchers kill their ranks some time after a SIGTERM of their own, and end by themselves after their ranks.
    _signal([member for member in members if not _is_launcher(member)], signal.SIGTERM)
    _, alive = psutil.wait_procs(members, timeout=grace_seconds)
    remaining = {member.pid: member for member in [*alive, *find()]}
    _signal(list(remaining.values()), signal.SIGKILL)
    psutil.wait_procs(list(remaining.values()), timeout=10)
    return len(members)


def _is_launcher(process: psutil.Process) -> bool:
    try:
        return any(
            word.startswith("deepspeed.launcher.") or Path(word).name == "torchrun.py" for word in process.cmdline()
        )
    except psutil.Error:
        return False


def _signal(processes: Sequence[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            continue


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True, help="the training's file, as its ranks were given it")
    parser.add_argument("--grace-seconds", type=float, default=120.0, help="time for them to write a checkpoint")
    arguments = parser.parse_args()
    stop_run(arguments.config, grace_seconds=arguments.grace_seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
