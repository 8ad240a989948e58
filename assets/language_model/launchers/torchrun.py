"""Ranks under torchrun: an agent on this machine, and one on each other, which is started there by a script."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from assets.language_model.launchers.launched import Launched
from assets.language_model.launchers.processes import LaunchedProcess, process_group
from assets.language_model.launchers.programs import NODE_CHECK, TORCHRUN, TRAINER, check_arguments
from assets.language_model.launchers.settings import LaunchSettings
from training.artifact import write_atomically
from training.events import Event, append_event
from training.exit_codes import DONE, REFUSED, STOPPED

JOIN = "join.sh"


@contextmanager
def launch_torchrun(
    config: Path, settings: LaunchSettings, *, environment: Mapping[str, str], log: Path
) -> Iterator[Launched]:
    """See ``assets.language_model.launchers.launch``. With more than one node it waits for the others to join."""
    command = torchrun_command(config, settings)
    variables = rank_variables(settings)
    if settings.most > 1:
        join = config.parent / JOIN
        write_atomically(join, join_script(command, variables))
        append_event(
            config.parent,
            Event("nodes", f"waiting for {settings.fewest} node(s) at {settings.torchrun.endpoint}: run sh {join}"),
        )
    with process_group(
        ["sh", "-c", command],
        environment={**environment, **variables},
        log=log,
        grace_seconds=settings.grace_seconds,
        folder=config.parent,
    ) as process:
        yield LaunchedProcess(process)


def rank_variables(settings: LaunchSettings) -> dict[str, str]:
    """Variables that every agent needs."""
    variables = {"TORCH_ELASTIC_SHUTDOWN_TIMEOUT": str(max(1, round(settings.grace_seconds)))}
    if settings.interface:
        variables |= dict.fromkeys(("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"), settings.interface)
    return variables


def torchrun_command(config: Path, settings: LaunchSettings) -> str:
    """The line of shell that checks the nodes and then trains on them, the same on each."""
    agent = [sys.executable, str(TORCHRUN), "--max-restarts", "0", "--nproc-per-node"]

    def line(name: str, processes: int, *program: str) -> str:
        meeting = ["--standalone"]
        if settings.most > 1:
            nodes = f"{settings.fewest}:{settings.most}" if settings.fewest != settings.most else str(settings.nodes)
            meeting = ["--nnodes", nodes, "--rdzv-id", f"{config.parent.name[:12]}-{name}", "--rdzv-backend", "c10d"]
            meeting += ["--rdzv-endpoint", settings.torchrun.endpoint or ""]
            meeting += ["--rdzv-conf", f"join_timeout={settings.torchrun.join_seconds}"]
        return shlex.join([*agent, str(processes), *meeting, *program])

    check = line("check", 1, str(NODE_CHECK), *check_arguments(config, processes=settings.processes))
    return f"{check} && exec {line('train', settings.processes, str(TRAINER), '--config', str(config))}"


def join_script(command: str, variables: Mapping[str, str]) -> str:
    """What is run on every other node: an agent, started again until the training is done, refused or stopped."""
    exports = "".join(f"export {shlex.quote(f'{name}={value}')}\n" for name, value in sorted(variables.items()))
    return (
        "#!/bin/sh\n"
        "# Joins a training on this node, and joins it again where it is started again.\n"
        f"{exports}"
        "while :; do\n"
        f"    ({command})\n"
        "    code=$?\n"
        "    # Done; refused, and it says why; or stopped after a checkpoint.\n"
        f'    case "$code" in {DONE} | {REFUSED} | {STOPPED}) exit "$code" ;; esac\n'
        "    sleep 5\n"
        "done\n"
    )
