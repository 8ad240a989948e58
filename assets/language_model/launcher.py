"""Start the trainer through the DeepSpeed launcher as a process group of its own, and follow it through Dagster Pipes.

Dagster's own ``PipesSubprocessClient`` interrupts only its direct child and never kills, which leaves the ranks behind.
Here the whole group is asked to stop (the trainer then writes a checkpoint) and, after a time, killed.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
from pydantic import Field

import training
from training.settings import Settings, SettingsError

TRAINER = Path(training.__file__).parent / "train.py"
POLL_SECONDS = 0.5
ERROR_LINES = 30
PR_SET_PDEATHSIG = 1


class TrainerError(RuntimeError):
    """The trainer ended without its final report; the message holds its exit code and last words."""


class LaunchSettings(Settings):
    """How ranks are started on this machine."""

    processes: int = Field(1, ge=1, description="Ranks: one an accelerator, or a share of the CPU's cores each.")
    port: int = Field(0, ge=0, le=65535, description="TCP port of the ranks' rendezvous; 0 takes a free one.")
    grace_seconds: float = Field(
        120.0, gt=0, description="Time for the ranks to write a checkpoint when the run is cancelled."
    )


def trainer_command(config: Path, launch: LaunchSettings) -> list[str]:
    """The command line of the real DeepSpeed launcher for a trainer configuration file.

    Raises:
        SettingsError: If the port asked for is in use.
    """
    return [
        sys.executable,
        "-m",
        "deepspeed.launcher.runner",
        "--num_gpus",
        str(launch.processes),
        "--master_addr",
        "127.0.0.1",
        "--master_port",
        str(_port(launch.port)),
        str(TRAINER),
        "--config",
        str(config),
    ]


def run_trainer(
    context: dg.AssetExecutionContext,
    config: Path,
    launch: LaunchSettings,
    *,
    environment: Mapping[str, str],
    log: Path,
    tick: Callable[[], None],
) -> list[Any]:
    """Run the trainer to its end.

    Args:
        context: The asset's context; its Pipes session carries the trainer's log lines and messages.
        config: The trainer's configuration file.
        launch: Ranks, port, time to stop.
        environment: Variables beside this process's own.
        log: File that gets the ranks' standard output and error, also shown in Dagster's compute log.
        tick: Called about twice a second and once at the end, to look at what the trainer has written.

    Returns:
        The custom messages that the trainer sent.

    Raises:
        TrainerError: If it exits with another code than 0.
        BaseException: An interrupt (a cancelled run) is raised on after every rank has ended.
    """
    with (
        dg.open_pipes_session(
            context=context,
            context_injector=dg.PipesTempFileContextInjector(),
            message_reader=dg.PipesTempFileMessageReader(),
        ) as session,
        process_group(
            trainer_command(config, launch),
            environment={**os.environ, **environment, **session.get_bootstrap_env_vars()},
            log=log,
            grace_seconds=launch.grace_seconds,
        ) as process,
    ):
        context.log.info(f"trainer started: process {process.pid}, {launch.processes} rank(s), log {log}")
        while process.poll() is None:
            time.sleep(POLL_SECONDS)
            tick()
        tick()
    if process.returncode != 0:
        raise TrainerError(
            f"the trainer ended with exit code {process.returncode}; the end of {log}:\n{last_lines(log, ERROR_LINES)}"
        )
    return list(session.get_custom_messages())


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


def rank_environment(launch: LaunchSettings) -> dict[str, str]:
    """This process's variables, and an equal share of the cores for each rank where nothing else is said."""
    cores = psutil.cpu_count(logical=False) or 1
    threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, cores // launch.processes))
    return {**os.environ, "OMP_NUM_THREADS": threads}


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


def _port(asked: int) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", asked))
        except OSError:
            raise SettingsError(f"port {asked} is in use: choose another 'port', or 0 for a free one") from None
        return int(probe.getsockname()[1])
