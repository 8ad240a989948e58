"""What a machine is: code, packages, data, room and accelerators, as far as a training depends on them."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from training.artifact import code_hash, file_sha256
from training.run_settings import RunSettings
from training.shards import DESCRIPTION, is_remote

_CODE = Path(__file__).parent
PACKAGES = ("torch", "deepspeed", "numpy", "pyarrow", "tokenizers", "safetensors", "pydantic")
LEAST_FREE_BYTES = 1 << 28
"""Of memory for each rank, and on the disk of temporary files, where kernels are compiled and libraries spill."""
_QUERY = "name,driver_version,memory.total,ecc.errors.uncorrected.volatile.total"


@dataclass(frozen=True)
class Gpu:
    """A GPU as ``nvidia-smi`` sees it.

    Attributes:
        name: Its model.
        driver: Version of the driver.
        memory: As it is printed, in MiB.
        errors: Memory errors since it was started that could not be corrected.
    """

    name: str
    driver: str
    memory: str
    errors: int


@dataclass(frozen=True)
class NodeFacts:
    """A machine.

    Attributes:
        node: Its name.
        same: What has to be the same on all nodes, by what people call it.
        commit: Of the code, where it is a repository.
        free_disk: Bytes free where the run's folder is.
        free_temporary: Bytes free where temporary files are.
        free_memory: Bytes.
        cores: Of the CPU.
        gpus: All of them.
        ranks: How many run here.
        offset: Its clock minus the first node's, seconds.
        bandwidth: Of an all-reduce in which it took part, bytes a second; 0 if there was none.
        problems: What is wrong with it by itself.
    """

    node: str
    same: Mapping[str, str]
    commit: str = ""
    free_disk: int = 0
    free_temporary: int = 0
    free_memory: int = 0
    cores: int = 0
    gpus: Sequence[Gpu] = ()
    ranks: int = 1
    offset: float = 0.0
    bandwidth: float = 0.0
    problems: Sequence[str] = field(default_factory=tuple)


def node_name() -> str:
    """What people call this machine: Slurm's name for it, or its host name."""
    return os.environ.get("SLURMD_NODENAME") or socket.gethostname()


def node_facts(settings: RunSettings, *, ranks: int, gpus: bool) -> NodeFacts:
    """Look at this machine.

    Args:
        settings: The training.
        ranks: How many will run here.
        gpus: Whether they run on GPUs.
    """
    found, problems = _gpus() if gpus else ((), [])
    if gpus and len(found) < ranks and not problems:
        problems.append(f"it has {len(found)} GPU(s) for {ranks} rank(s)")
    problems += [
        f"its GPU {number} has had {gpu.errors} memory error(s) that could not be corrected; reset or replace it"
        for number, gpu in enumerate(found)
        if gpu.errors
    ]
    run, temporary = Path(settings.output), Path(tempfile.gettempdir())
    free_memory, free_temporary = psutil.virtual_memory().available, shutil.disk_usage(temporary).free
    if free_memory < LEAST_FREE_BYTES * ranks:
        problems.append(f"it has {free_memory / 1e9:.1f} GB of free memory for {ranks} rank(s); end what takes it")
    if free_temporary < LEAST_FREE_BYTES:
        problems.append(f"its folder {temporary} has {free_temporary / 1e9:.1f} GB free; free some, or set TMPDIR")
    same = {"Python": platform.python_version(), "code": code_hash(_CODE, _CODE.rglob("*.py"))}
    same |= {package: _version(package) for package in PACKAGES}
    same |= {f"data {source.folder}": _shards_hash(source.folder) for source in settings.data}
    same |= {"vocabulary": _file_hash(Path(settings.vocabulary) / "tokenizer.json")}
    if found:
        same |= {"GPUs": ", ".join(sorted({gpu.name for gpu in found})), "GPU driver": found[0].driver}
    return NodeFacts(
        node=node_name(),
        same=same,
        commit=_commit(),
        free_disk=shutil.disk_usage(run).free if run.is_dir() else 0,
        free_temporary=free_temporary,
        free_memory=free_memory,
        cores=psutil.cpu_count(logical=False) or 1,
        gpus=found,
        ranks=ranks,
        problems=[*problems, *([] if run.is_dir() else [f"it does not see the run's folder {run}; share the storage"])],
    )


def table(facts: Sequence[NodeFacts]) -> str:
    """The nodes for people, a line each."""
    rows = [("node", "ranks", "cores", "memory", "disk", "GPUs", "code", "torch", "clock")]
    for node in facts:
        rows.append(
            (
                node.node,
                str(node.ranks),
                str(node.cores),
                f"{node.free_memory / 1e9:.1f} GB free",
                f"{node.free_disk / 1e9:.1f} GB free",
                f"{len(node.gpus)} {node.gpus[0].name}" if node.gpus else "none",
                node.commit[:9] or node.same.get("code", "?"),
                node.same.get("torch", "?"),
                f"{node.offset:+.3f} s",
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "missing"


def _commit() -> str:
    try:
        command = ["git", "-C", str(_CODE), "rev-parse", "HEAD"]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def _shards_hash(folder: str) -> str:
    return "remote" if is_remote(folder) else _file_hash(Path(folder) / DESCRIPTION)


def _file_hash(path: Path) -> str:
    return file_sha256(path)[:12] if path.is_file() else "missing"


def _gpus() -> tuple[tuple[Gpu, ...], list[str]]:
    """The GPUs, and what is wrong with asking for them."""
    command = ["nvidia-smi", f"--query-gpu={_QUERY}", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    except FileNotFoundError:
        return (), ["it has no nvidia-smi"]
    except subprocess.TimeoutExpired:
        return (), ["its nvidia-smi does not answer; a GPU may have fallen off the bus"]
    except subprocess.CalledProcessError as error:
        return (), [f"its nvidia-smi fails: {(error.stdout or error.stderr).strip()}"]
    return tuple(parse_gpu(line) for line in answer.stdout.splitlines() if line.strip()), []


def parse_gpu(line: str) -> Gpu:
    """A line of ``nvidia-smi``; a card without error correction says ``[N/A]``."""
    name, driver, memory, errors = (part.strip() for part in line.split(","))
    return Gpu(name, driver, f"{memory} MiB", int(errors) if errors.isdigit() else 0)
