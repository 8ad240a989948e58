"""Ranks on the nodes of a hostfile, started by DeepSpeed through pdsh and ssh."""

from __future__ import annotations

import random
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from assets.language_model.launchers.hostfile import choose_nodes, on_node, read_hostfile, ssh_options, unreachable
from assets.language_model.launchers.launched import Launched
from assets.language_model.launchers.processes import process_group
from assets.language_model.launchers.programs import NODE_CHECK, STOP_RUN, TRAINER, check_arguments
from assets.language_model.launchers.settings import LaunchSettings, SshSettings
from training.artifact import write_atomically
from training.events import Event, append_event
from training.run_settings import load_run_settings
from training.settings import SettingsError

ENVIRONMENT = ".deepspeed_env"
PASSED_ON = ("CUDA_", "DS_", "FI_", "GLOO_", "HF_HUB_OFFLINE", "NCCL_", "OMP_", "PYTHON", "TORCH", "TRITON_", "UCX_")
# After a node has failed the others break off by themselves, or hang.
_OTHERS_SECONDS = 10.0
_FAILED = re.compile(r"pdsh@\S+: (\S+): ssh exited with exit code (\d+)")
_SSH_FAILED = 255
_EXPANDED = re.compile(r'([\\"$`])')


@contextmanager
def launch_ssh(
    config: Path, settings: LaunchSettings, *, environment: Mapping[str, str], log: Path
) -> Iterator[Launched]:
    """See ``assets.language_model.launchers.launch``. Nodes that do not answer are left out, if enough do.

    Raises:
        SettingsError: If pdsh is missing, the hostfile is wrong, or too few nodes answer.
    """
    if shutil.which("pdsh") is None:
        raise SettingsError("'launcher' = 'ssh' needs pdsh here, which DeepSpeed starts its nodes with; install it")
    run = config.parent
    all_nodes = read_hostfile(Path(settings.ssh.hostfile or ""), processes=settings.processes)
    away = unreachable(all_nodes, settings.ssh)
    nodes = choose_nodes(
        all_nodes,
        away,
        fewest=settings.fewest,
        most=settings.most,
        fits=_fitting(config, settings),
    )
    _tell(run, settings, nodes, all_nodes, away)
    _stop_on_nodes([node for node in all_nodes if node not in away], config, settings.ssh, settings.grace_seconds)
    hostfile = run / "hostfile"
    write_atomically(hostfile, "".join(f"{node} slots={settings.processes}\n" for node in nodes))
    variables = node_variables(environment, settings)
    write_atomically(run / ENVIRONMENT, "".join(f"{name}={value}\n" for name, value in sorted(variables.items())))
    pdsh = dict(environment) | {"PDSH_SSH_ARGS_APPEND": " ".join(ssh_options(settings.ssh))}
    for name in [name for name in pdsh if name.startswith("MLFLOW")]:
        # DeepSpeed would write them, and so passwords, into the nodes' command lines.
        del pdsh[name]
    begin = log.stat().st_size if log.exists() else 0
    with process_group(
        ["sh", "-c", ssh_command(config, hostfile, nodes, settings, variables)],
        environment=pdsh,
        log=log,
        grace_seconds=_OTHERS_SECONDS,
        folder=run,
    ) as process:
        returning = tuple(node for node in away if len(nodes) < settings.most)
        launched = _SshRanks(process, log, begin, config, settings, tuple(nodes), returning)
        try:
            yield launched
        finally:
            launched.stop()


def node_variables(environment: Mapping[str, str], settings: LaunchSettings) -> dict[str, str]:
    """Variables that are set on every node.

    Args:
        environment: Of this process.
        settings: Name the interface, and further variables.
    """
    # They stand between double quotes in a shell's line, here and at DeepSpeed's.
    passed = {
        name: _EXPANDED.sub(r"\\\1", value)
        for name, value in environment.items()
        if (name.startswith(PASSED_ON) or name in settings.ssh.pass_on) and "\n" not in value
    }
    if settings.interface:
        passed |= dict.fromkeys(("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"), settings.interface)
    # An equal share of a node's own cores.
    passed.setdefault("OMP_NUM_THREADS", f"$((($(nproc) + {settings.processes} - 1) / {settings.processes}))")
    # What is installed beside this Python, as ninja is, was not found by a shell that nobody has logged in to.
    return passed | {"PATH": f"{Path(sys.executable).parent}:$PATH"}


def ssh_command(
    config: Path, hostfile: Path, nodes: Sequence[str], settings: LaunchSettings, variables: Mapping[str, str]
) -> str:
    """The line of shell that checks the nodes and then trains on them."""
    port = settings.port or random.SystemRandom().randint(20000, 29999)
    address = nodes[0].rpartition("@")[2]
    check = {"RANK": "%n", "WORLD_SIZE": len(nodes), "MASTER_ADDR": address, "MASTER_PORT": port}
    on_nodes = [f'export {name}="{value}";' for name, value in {**variables, **check}.items()]
    arguments = check_arguments(config, processes=settings.processes, nodes=nodes)
    on_nodes.append(shlex.join([sys.executable, str(NODE_CHECK), *arguments]))
    first = ["pdsh", "-R", "ssh", "-S", "-f", "1024", "-w", ",".join(nodes), " ".join(on_nodes)]
    then = [
        *(sys.executable, "-m", "deepspeed.launcher.runner"),
        *("--hostfile", str(hostfile), "--num_gpus", str(settings.processes)),
        # Another port, since connections of the check may linger.
        *("--master_addr", address, "--master_port", str(port + 1)),
        *("--launcher", "pdsh", "--force_multi", "--no_ssh_check"),
        *(str(TRAINER), "--config", str(config)),
    ]
    return f"{shlex.join(first)} && exec {shlex.join(then)}"


@dataclass
class _SshRanks(Launched):
    """DeepSpeed's launcher, and what it says of its nodes.

    Attributes:
        process: The launcher.
        log: Its output.
        begin: Where this start's output begins in it.
        config: The trainer's configuration file.
        settings: How ranks are started.
        nodes: On which they run.
        returning: Nodes that are taken back when they answer.
    """

    process: subprocess.Popen[bytes]
    log: Path
    begin: int
    config: Path
    settings: LaunchSettings
    nodes: tuple[str, ...]
    returning: tuple[str, ...]
    _reason: str = ""
    _failed: tuple[int, float] | None = None
    _back: str = ""
    _question: tuple[str, subprocess.Popen[bytes]] | None = None
    _asked: float = field(default_factory=time.monotonic)

    @property
    def name(self) -> str:
        """See ``Launched``."""
        return f"process {self.process.pid} on {', '.join(self.nodes)}"

    @property
    def again(self) -> bool:
        """See ``Launched``."""
        return bool(self._back)

    @property
    def reason(self) -> str:
        """See ``Launched``."""
        return self._reason

    def poll(self) -> int | None:
        """See ``Launched``."""
        code = self.process.poll()
        self._read()
        if code is not None:
            return code
        if self._failed is not None and time.monotonic() > self._failed[1] + _OTHERS_SECONDS:
            # pdsh waits for all nodes, and those that hang do so for long.
            return self._failed[0]
        self._look_for_returned()
        return None

    def stop(self) -> None:
        """Ask the ranks on all nodes to stop, and end them; then their launcher ends by itself."""
        grace = self.settings.grace_seconds if self.process.poll() is None and self._failed is None else 1.0
        _stop_on_nodes(self.nodes, self.config, self.settings.ssh, grace)
        try:
            self.process.wait(timeout=_OTHERS_SECONDS)
        except subprocess.TimeoutExpired:
            return

    def _read(self) -> None:
        """Look for what pdsh says of a node that has failed."""
        if self._failed is not None:
            return
        with self.log.open("rb") as file:
            file.seek(self.begin)
            text = file.read()
        # Up to the last whole line.
        text = text[: text.rfind(b"\n") + 1]
        self.begin += len(text)
        found = _FAILED.search(text.decode("utf-8", "replace"))
        if found:
            code = int(found[2])
            self._failed = (1 if code == _SSH_FAILED else code, time.monotonic())
            if code == _SSH_FAILED:
                self._reason = f"lost node {found[1]}: its ssh connection broke off"

    def _look_for_returned(self) -> None:
        """Ask a node that was left out whether it is there again; stop the ranks, to start on all, if it is."""
        if self._back or not self.returning:
            return
        if self._question is not None:
            node, question = self._question
            if question.poll() is None:
                return
            self._question = None
            if question.returncode == 0:
                self._back = node
                self._reason = f"was stopped after a checkpoint, since node {node} answers again"
                command = _stop_command(self.config, self.settings.grace_seconds)
                for member in self.nodes:
                    subprocess.Popen(
                        on_node(member, command, self.settings.ssh),
                        stdout=subprocess.DEVNULL,
                        stderr=subprocess.DEVNULL,
                        stdin=subprocess.DEVNULL,
                    )
            return
        if time.monotonic() - self._asked > self.settings.ssh.look_again_seconds:
            self._asked = time.monotonic()
            node, *others = self.returning
            self.returning = (*others, node)
            question = subprocess.Popen(
                on_node(node, "true", self.settings.ssh),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                stdin=subprocess.DEVNULL,
            )
            self._question = (node, question)


def _fitting(config: Path, settings: LaunchSettings) -> dict[int, bool]:
    """Whether the global batch can be divided among a number of nodes."""
    training = load_run_settings(config).training

    def fits(nodes: int) -> bool:
        try:
            for phase in training.phases:
                training.gradient_accumulation(phase.batch or 0, nodes * settings.processes)
        except SettingsError:
            return False
        return True

    return {nodes: fits(nodes) for nodes in range(settings.fewest, settings.most + 1)}


def _tell(
    run: Path, settings: LaunchSettings, nodes: Sequence[str], all_nodes: Sequence[str], away: Mapping[str, str]
) -> None:
    """Say on which nodes it starts, where that is not what was asked for."""
    if len(nodes) == settings.nodes and not away:
        return
    left_out = "".join(f"; node {node} is left out: {why}" for node, why in away.items())
    unused = [node for node in all_nodes if node not in nodes and node not in away]
    if unused and len(nodes) < settings.nodes:
        left_out += f"; the batch cannot be divided with node(s) {', '.join(unused)} as well"
    append_event(
        run,
        Event(
            "nodes",
            f"the training runs on {len(nodes)} of {settings.nodes} nodes ({', '.join(nodes)}) with the same "
            f"batch{left_out}",
            details={"nodes": list(nodes), "away": dict(away)},
        ),
    )


def _stop_command(config: Path, grace_seconds: float) -> str:
    return shlex.join([sys.executable, str(STOP_RUN), "--config", str(config), "--grace-seconds", str(grace_seconds)])


def _stop_on_nodes(nodes: Sequence[str], config: Path, settings: SshSettings, grace_seconds: float) -> None:
    """Stop what runs of this training on nodes; returns when it has ended, or a node does not answer."""
    command = _stop_command(config, grace_seconds)
    asked = [
        subprocess.Popen(
            on_node(node, command, settings),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
        )
        for node in nodes
    ]
    deadline = time.monotonic() + grace_seconds + settings.connect_seconds + settings.silent_seconds
    for process in asked:
        try:
            process.wait(timeout=max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
