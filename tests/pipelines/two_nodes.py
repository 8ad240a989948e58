"""Two machines on this one: network namespaces joined by a bridge, each with host name, processes and sshd."""

from __future__ import annotations

import itertools
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

_calls = itertools.count()
NEEDED = {
    "ip": "iproute2",
    "unshare": "util-linux",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "sshd": "openssh-server",
    "pdsh": "pdsh",
}


@dataclass(frozen=True)
class Nodes:
    """The two of them.

    Attributes:
        addresses: Of each, which are their names in the hostfile.
        namespaces: Of each.
        hostfile: DeepSpeed's, with two slots a node.
        ssh: Options of ssh with which they let one in.
    """

    addresses: tuple[str, str]
    namespaces: tuple[str, str]
    hostfile: Path
    ssh: list[str]

    def link(self, node: int, state: str) -> None:
        """Take a node's interface down, or up again."""
        run("ip", "-n", self.namespaces[node], "link", "set", "eth0", state)


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)


def skip_without(programs: dict[str, str]) -> None:
    """Skip a test where it cannot be done, and say why."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces and daemons need root")
    missing = {package for program, package in programs.items() if shutil.which(program, path=search_path()) is None}
    if missing:
        pytest.skip(f"programs are missing: apt-get install {' '.join(sorted(missing))}")


def search_path() -> str:
    return f"{os.environ['PATH']}:/usr/sbin:/sbin"


@contextmanager
def two_nodes(folder: Path) -> Iterator[Nodes]:
    """Set them up, wait until both answer, and take them down."""
    skip_without(NEEDED)
    # The kernel takes its time to remove what an earlier test has left.
    number = (os.getpid() + next(_calls) * 61) % 200 + 20
    bridge, namespaces = f"clb{number}", (f"cl{number}a", f"cl{number}b")
    addresses = (f"10.77.{number}.1", f"10.77.{number}.2")
    daemons: list[subprocess.Popen[bytes]] = []
    try:
        run("ip", "link", "add", bridge, "type", "bridge")
        run("ip", "addr", "add", f"10.77.{number}.254/24", "dev", bridge)
        run("ip", "link", "set", bridge, "up")
        for namespace, address in zip(namespaces, addresses, strict=True):
            run("ip", "netns", "add", namespace)
            run("ip", "link", "add", f"{namespace}v", "type", "veth", "peer", "name", "eth0", "netns", namespace)
            run("ip", "link", "set", f"{namespace}v", "master", bridge, "up")
            run("ip", "-n", namespace, "addr", "add", f"{address}/24", "dev", "eth0")
            for interface in ("lo", "eth0"):
                run("ip", "-n", namespace, "link", "set", interface, "up")
        options = keys(folder)
        for namespace in namespaces:
            daemons.append(daemon(namespace, folder))
        for address in addresses:
            answers(address)
        hostfile = folder / "hostfile"
        hostfile.write_text("".join(f"{address} slots=2\n" for address in addresses))
        yield Nodes(addresses, namespaces, hostfile, options)
    finally:
        for process in daemons:
            process.kill()
            process.wait()
        for namespace in namespaces:
            subprocess.run(["ip", "link", "del", f"{namespace}v"], capture_output=True, check=False)
            subprocess.run(["ip", "netns", "del", namespace], capture_output=True, check=False)
        subprocess.run(["ip", "link", "del", bridge], capture_output=True, check=False)


def keys(folder: Path) -> list[str]:
    """Keys of host and user, and the options of ssh that use them."""
    for name in ("host", "user"):
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name))
    (folder / "authorized").write_text((folder / "user.pub").read_text())
    (folder / "sshd_config").write_text(
        f"HostKey {folder / 'host'}\nAuthorizedKeysFile {folder / 'authorized'}\nStrictModes no\nUsePAM no\n"
        "PermitRootLogin yes\nPasswordAuthentication no\nPidFile none\nMaxStartups 100\n"
    )
    (folder / "ssh_config").write_text(
        f"Host *\nIdentityFile {folder / 'user'}\nIdentitiesOnly yes\nUserKnownHostsFile /dev/null\n"
        "StrictHostKeyChecking no\nLogLevel ERROR\nUser root\n"
    )
    return ["-F", str(folder / "ssh_config")]


def daemon(namespace: str, folder: Path) -> subprocess.Popen[bytes]:
    """An sshd; with it end all processes of its node."""
    Path("/run/sshd").mkdir(exist_ok=True)
    sshd = shutil.which("sshd", path=search_path())
    inside = f"hostname {namespace}; exec {sshd} -D -e -f {folder / 'sshd_config'}"
    command = ["ip", "netns", "exec", namespace, "unshare", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc"]
    with (folder / f"{namespace}.log").open("wb") as log:
        return subprocess.Popen([*command, "sh", "-c", inside], stdout=log, stderr=log)


def answers(address: str) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection((address, 22), timeout=1).close()
            return
        except OSError:
            assert time.monotonic() < deadline, f"{address} does not answer"
            time.sleep(0.1)
