"""Ranks on this machine, started by DeepSpeed's launcher."""

from __future__ import annotations

import base64
import json
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


@contextmanager
def launch_local(
    config: Path, settings: LaunchSettings, *, environment: Mapping[str, str], log: Path
) -> Iterator[LaunchedProcess]:
    """See ``assets.language_model.launchers.launch``.

    Raises:
        SettingsError: If the port asked for is in use, or something is wrong with this machine.
    """
    variables = dict(environment)
    if variables.get("CUDA_VISIBLE_DEVICES") == "":
        # GPUs are hidden, and the launcher would show them again.
        variables["DS_ACCELERATOR"] = "cpu"
    command = local_command(config, settings, visible=variables.get("CUDA_VISIBLE_DEVICES"))
    _check(config, settings, variables)
    try:
        with process_group(command, environment=variables, log=log, grace_seconds=settings.grace_seconds) as process:
            yield LaunchedProcess(process)
    finally:
        remove_abandoned_shared_memory()


def local_command(config: Path, settings: LaunchSettings, *, visible: str | None = None) -> list[str]:
    """The command line of DeepSpeed's launcher of one machine for a trainer configuration file.

    Args:
        config: The file.
        settings: How many ranks, and their port.
        visible: GPUs to use, as in ``CUDA_VISIBLE_DEVICES``; the first ones of them.

    Raises:
        SettingsError: If the port asked for is in use, or there are fewer GPUs than ranks.
    """
    return [
        sys.executable,
        "-u",
        # Not `deepspeed.launcher.runner`, which does no more here than start this one, and overlooks the variable.
        "-m",
        "deepspeed.launcher.launch",
        f"--world_info={_world(settings.processes, visible)}",
        "--master_addr=127.0.0.1",
        f"--master_port={free_port(settings.port)}",
        str(TRAINER),
        "--config",
        str(config),
    ]


def _world(processes: int, visible: str | None) -> str:
    """Which devices ranks use, as DeepSpeed's launcher wants it: JSON in base64."""
    devices: list[int | str] = list(range(processes))
    if visible:
        named = [name.strip() for name in visible.split(",")]
        if len(named) < processes:
            raise SettingsError(
                f"'processes' = {processes}, and CUDA_VISIBLE_DEVICES names {len(named)}: {visible}; name as many"
            )
        devices = [int(name) if name.isdigit() else name for name in named[:processes]]
    return base64.urlsafe_b64encode(json.dumps({"localhost": devices}).encode()).decode()


def _check(config: Path, settings: LaunchSettings, environment: Mapping[str, str]) -> None:
    """Look at this machine without starting anything."""
    run = load_run_settings(config)
    gpus = environment.get("DS_ACCELERATOR") != "cpu" and shutil.which("nvidia-smi") is not None
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


def free_port(asked: int = 0) -> int:
    """A port of this machine that nobody listens at: the one asked for, or any.

    Raises:
        SettingsError: If it is in use.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", asked))
        except OSError:
            raise SettingsError(f"port {asked} is in use: choose another 'port', or 0 for a free one") from None
        return int(probe.getsockname()[1])
