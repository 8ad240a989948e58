"""Ranks on this machine, started by DeepSpeed's launcher."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil

from assets.language_model.launchers.processes import LaunchedProcess, process_group
from assets.language_model.launchers.programs import TRAINER
from assets.language_model.launchers.settings import LaunchSettings
from assets.language_model.launchers.shared_memory import remove_abandoned_shared_memory
from training.events import Event, append_event
from training.node_facts import node_facts, table
from training.run_settings import load_run_settings
from training.settings import SettingsError
from training.stop_run import stop_run


@contextmanager
def launch_local(
    config: Path, settings: LaunchSettings, *, environment: Mapping[str, str], log: Path
) -> Iterator[LaunchedProcess]:
    """See ``assets.language_model.launchers.launch``.

    Raises:
        SettingsError: If the port asked for is in use, or something is wrong with this machine.
    """
    stop_run(config, grace_seconds=settings.grace_seconds)
    remove_abandoned_shared_memory()
    _check(config, settings, environment)
    try:
        with process_group(
            local_command(config, settings), environment=environment, log=log, grace_seconds=settings.grace_seconds
        ) as process:
            yield LaunchedProcess(process)
    finally:
        remove_abandoned_shared_memory()


def local_command(config: Path, settings: LaunchSettings) -> list[str]:
    """The command line of the real DeepSpeed launcher for a trainer configuration file.

    Raises:
        SettingsError: If the port asked for is in use.
    """
    return [
        sys.executable,
        "-m",
        "deepspeed.launcher.runner",
        "--num_gpus",
        str(settings.processes),
        "--master_addr",
        "127.0.0.1",
        "--master_port",
        str(_port(settings.port)),
        str(TRAINER),
        "--config",
        str(config),
    ]


def _check(config: Path, settings: LaunchSettings, environment: Mapping[str, str]) -> None:
    """Look at this machine without starting anything."""
    run = load_run_settings(config)
    hidden = environment.get("DS_ACCELERATOR") == "cpu" or environment.get("CUDA_VISIBLE_DEVICES") == ""
    gpus = not hidden and shutil.which("nvidia-smi") is not None
    facts = node_facts(run, ranks=settings.processes, gpus=gpus)
    if facts.problems:
        raise SettingsError(f"this machine is not fit for the training: {'; '.join(facts.problems)}")
    append_event(Path(run.output), Event("progress", f"this machine is fit for the training\n{table([facts])}"))


def rank_environment(settings: LaunchSettings) -> dict[str, str]:
    """This process's variables, and for ranks on this machine an equal share of its cores where nothing is said."""
    if settings.launcher not in ("local", "torchrun"):
        return dict(os.environ)
    cores = psutil.cpu_count(logical=False) or 1
    threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, cores // settings.processes))
    return {**os.environ, "OMP_NUM_THREADS": threads}


def _port(asked: int) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", asked))
        except OSError:
            raise SettingsError(f"port {asked} is in use: choose another 'port', or 0 for a free one") from None
        return int(probe.getsockname()[1])
