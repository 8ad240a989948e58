"""DeepSpeed's hostfile, and which of its nodes are there."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from assets.language_model.launchers.settings import SshSettings
from training.settings import SettingsError

_LINE = re.compile(r"^(\S+)\s+slots=(\d+)\s*(?:#.*)?$")


def read_hostfile(path: Path, *, processes: int) -> list[str]:
    """The nodes, in order.

    Args:
        path: A line ``name slots=8`` for each node; empty lines and comments between them.
        processes: Ranks that each has to have slots for.

    Raises:
        SettingsError: Naming the file and the line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"'ssh.hostfile' {path} cannot be read: {error}") from None
    nodes: list[str] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        found = _LINE.match(line.strip())
        if not found:
            raise SettingsError(f"{path}, line {number}: '{line.strip()}' is no node; write 'name slots={processes}'")
        name, slots = found[1], int(found[2])
        if name in nodes:
            raise SettingsError(f"{path}, line {number}: node {name} stands there twice")
        if slots < processes:
            raise SettingsError(
                f"{path}, line {number}: node {name} has slots={slots}, and 'processes' = {processes} are asked for"
            )
        nodes.append(name)
    if not nodes:
        raise SettingsError(f"{path} names no node; write a line 'name slots={processes}' for each")
    return nodes


def ssh_options(settings: SshSettings) -> list[str]:
    """Options with which ssh asks nothing, and gives up nodes that do not answer."""
    alive = max(1, settings.silent_seconds // 3)
    return [
        *settings.options,
        *("-o", "BatchMode=yes"),
        *("-o", f"ConnectTimeout={settings.connect_seconds}"),
        *("-o", f"ServerAliveInterval={alive}"),
        *("-o", "ServerAliveCountMax=3"),
    ]


def on_node(node: str, command: str, settings: SshSettings) -> list[str]:
    """The command line that runs a line of shell on a node."""
    return ["ssh", *ssh_options(settings), node, command]


def unreachable(nodes: Sequence[str], settings: SshSettings) -> dict[str, str]:
    """Why nodes do not answer, by node; all are asked at once.

    Raises:
        SettingsError: If there is no ssh here.
    """

    def ask(node: str) -> str:
        limit = settings.connect_seconds + settings.silent_seconds
        try:
            answer = subprocess.run(
                on_node(node, "true", settings), capture_output=True, text=True, timeout=limit, check=False
            )
        except subprocess.TimeoutExpired:
            return f"no answer within {limit} s"
        except FileNotFoundError:
            raise SettingsError("'launcher' = 'ssh' needs ssh here; install openssh-client") from None
        words = answer.stderr.strip().splitlines() or [f"ssh ended with exit code {answer.returncode}"]
        return words[-1] if answer.returncode else ""

    with ThreadPoolExecutor(min(64, len(nodes))) as pool:
        return {node: why for node, why in zip(nodes, pool.map(ask, nodes), strict=True) if why}


def choose_nodes(
    nodes: Sequence[str], away: Mapping[str, str], *, fewest: int, most: int, fits: Mapping[int, bool]
) -> list[str]:
    """The nodes to start on: as many as can be used with the same batch, the first ones first.

    Args:
        nodes: Of the hostfile.
        away: Why some are not there, by node.
        fewest: Fewer are refused.
        most: More are left alone.
        fits: Whether the batch can be divided among that many.

    Raises:
        SettingsError: Naming the nodes that are away, or what does not divide.
    """
    there = [node for node in nodes if node not in away]
    missing = "; ".join(f"node {node} is away: {why}" for node, why in away.items())
    if len(there) < fewest:
        raise SettingsError(
            f"{len(there)} of {len(nodes)} nodes of the hostfile answer, and at least {fewest} are needed"
            + (f": {missing}" if missing else "")
        )
    counts = range(min(len(there), most), fewest - 1, -1)
    count = next((count for count in counts if fits[count]), None)
    if count is None:
        raise SettingsError(
            f"the batch cannot be divided among {fewest} to {min(len(there), most)} nodes: change 'batch', "
            "'micro_batch' or 'min_nodes'" + (f" ({missing})" if missing else "")
        )
    return there[:count]
