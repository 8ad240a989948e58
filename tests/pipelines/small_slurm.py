"""A Slurm of two nodes on this machine: munged, slurmctld and two slurmd, all in a folder of the test."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from two_nodes import search_path, skip_without

NEEDED = {"slurmctld": "slurm-wlm", "slurmd": "slurm-wlm", "sbatch": "slurm-wlm", "munged": "munge"}


@contextmanager
def small_slurm(folder: Path) -> Iterator[Path]:
    """Start it, wait until both nodes are idle, and stop it.

    Yields:
        Its configuration, for SLURM_CONF.
    """
    skip_without(NEEDED)
    ports = free_ports(3)
    configuration = folder / "slurm.conf"
    configuration.write_text(
        f"ClusterName=small\nSlurmctldHost={socket.gethostname()}(127.0.0.1)\nSlurmctldPort={ports[0]}\n"
        "SlurmUser=root\nSlurmdUser=root\nAuthType=auth/munge\nCryptoType=crypto/munge\n"
        # A job that is queued again waits until its credentials have expired.
        f"AuthInfo=socket={folder}/munge.socket,cred_expire=5\n"
        f"StateSaveLocation={folder}/state\nSlurmdSpoolDir={folder}/spool-%n\n"
        f"SlurmctldPidFile={folder}/slurmctld.pid\nSlurmdPidFile={folder}/slurmd-%n.pid\n"
        f"SlurmctldLogFile={folder}/slurmctld.log\nSlurmdLogFile={folder}/slurmd-%n.log\n"
        "ProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\nMpiDefault=none\nReturnToService=2\nKillWait=5\n"
        "SlurmdParameters=config_overrides\nSelectType=select/linear\nSchedulerParameters=sched_interval=1\n"
        f"NodeName=n1 NodeHostname={socket.gethostname()} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2\n"
        f"NodeName=n2 NodeHostname={socket.gethostname()} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2\n"
        "PartitionName=main Nodes=n1,n2 Default=YES MaxTime=INFINITE\n"
    )
    for name in ("state", "spool-n1", "spool-n2"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o600)
    munge = [f"--{name}-file={folder / f'munge.{name}'}" for name in ("key", "log", "pid", "seed")]
    environment = {**os.environ, "SLURM_CONF": str(configuration), "PATH": search_path()}
    daemons: list[subprocess.Popen[bytes]] = []

    def start(*command: str) -> None:
        with (folder / "daemons.log").open("ab") as log:
            daemons.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))

    try:
        start("munged", "--foreground", "--force", f"--socket={folder}/munge.socket", *munge)
        wait_until(lambda: (folder / "munge.socket").exists(), folder)
        start("slurmctld", "-D")
        for node in ("n1", "n2"):
            start("slurmd", "-D", "-N", node)
        wait_until(lambda: query(environment, "sinfo", "--noheader", "--format=%D %T") == "2 idle", folder)
        yield configuration
    finally:
        query(environment, "scancel", "--user=root", "--state=RUNNING,PENDING")
        for process in reversed(daemons):
            process.terminate()
        for process in daemons:
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()


def query(environment: dict[str, str], *command: str) -> str:
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False).stdout.strip()


def wait_until(ready: Callable[[], bool], folder: Path) -> None:
    deadline = time.monotonic() + 60
    while not ready():
        log = folder / "daemons.log"
        assert time.monotonic() < deadline, log.read_text() if log.exists() else "nothing came"
        time.sleep(0.2)


def free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports
