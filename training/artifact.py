"""A stage's output: a folder that is complete exactly when it holds a manifest, and never changes after that.

Layout under a root folder: ``<root>/<fingerprint>/`` with the stage's files and ``manifest.json``. The folder is
written under a temporary name beside its final one and renamed when the manifest, its last file, is on disk. A folder
without a manifest is rubbish and may be removed at any time.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

MANIFEST = "manifest.json"
FORMAT = 1


class ArtifactError(RuntimeError):
    """An output folder is missing, incomplete or damaged; the message names the file and the remedy."""


@dataclass(frozen=True)
class FileEntry:
    """One file of an artifact: ``path`` relative to the folder in POSIX form, ``size`` in bytes, ``sha256`` in hex."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What an artifact is made of.

    Attributes:
        kind: The stage that wrote it, e.g. ``token_shards``.
        fingerprint: Hash of kind, inputs, settings and code version; the folder's name.
        digest: Hash of the files' paths and contents alone. Two builds with equal bytes have equal digests, so what
            is downstream of an upstream change that changed no byte stays fresh.
        code_version: The stage's code version.
        inputs: Digest of each input, by name.
        settings: The settings it was built with.
        counts: The stage's own numbers (rows, tokens, bytes).
        files: Every file but the manifest, by path.
    """

    kind: str
    fingerprint: str
    digest: str
    code_version: str
    inputs: dict[str, Any]
    settings: dict[str, Any]
    counts: dict[str, int]
    files: tuple[FileEntry, ...]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(entry.size for entry in self.files)


@dataclass(frozen=True)
class Artifact:
    """A complete output folder. ``reused`` says that it was there already and nothing was computed."""

    folder: Path
    manifest: Manifest
    reused: bool = False


def fingerprint(value: Any) -> str:
    """First 32 hex digits of the SHA-256 of the value's canonical JSON (sorted keys, UTF-8, no spaces).

    Raises:
        TypeError: If the value holds anything that has no one stable encoding (sets, objects, NaN, non-string keys).
    """
    _check_stable(value, "value")
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def code_hash(folder: Path, files: Iterable[Path]) -> str:
    """Twelve digits that change with the name or a byte of any of some files below a folder."""
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes in hex, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def artifact_fingerprint(
    *, kind: str, inputs: Mapping[str, Any], settings: Mapping[str, Any], code_version: str
) -> str:
    """The name of the folder that ``build_artifact`` makes for the same arguments."""
    return fingerprint({"kind": kind, "inputs": dict(inputs), "settings": dict(settings), "code_version": code_version})


def build_artifact(
    root: Path,
    *,
    kind: str,
    inputs: Mapping[str, Any],
    settings: Mapping[str, Any],
    code_version: str,
    produce: Callable[[Path], Mapping[str, int]],
) -> Artifact:
    """Return the artifact for these inputs and settings, calling ``produce`` only if it is not there yet.

    Args:
        root: Folder that holds this stage's artifacts (of one partition, where the stage is partitioned).
        kind: The stage's name.
        inputs: Digest of each input by name.
        settings: JSON-like settings; everything the output depends on beside inputs and code.
        code_version: Changed by whoever changes what ``produce`` writes.
        produce: Writes the files into the folder it is given and returns the counts for the manifest.

    Raises:
        Whatever ``produce`` raises; nothing is left behind then but other complete artifacts.
    """
    name = artifact_fingerprint(kind=kind, inputs=inputs, settings=settings, code_version=code_version)
    folder = root / name
    if is_complete(folder):
        return Artifact(folder, read_manifest(folder), reused=True)
    root.mkdir(parents=True, exist_ok=True)
    remove_abandoned(root)
    partial = root / f".{name}.partial-{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
    partial.mkdir()
    try:
        counts = produce(partial)
        files = _list_files(partial)
        manifest = Manifest(
            kind=kind,
            fingerprint=name,
            digest=fingerprint([[entry.path, entry.sha256] for entry in files]),
            code_version=code_version,
            inputs=dict(inputs),
            settings=dict(settings),
            counts=dict(counts),
            files=files,
        )
        record = {"format": FORMAT} | asdict(manifest)
        write_atomically(partial / MANIFEST, json.dumps(record, indent=1, sort_keys=True, ensure_ascii=False))
        try:
            partial.rename(folder)
        except OSError:
            # Another process finished the same artifact first: its bytes are as good as ours.
            if not is_complete(folder):
                shutil.rmtree(folder, ignore_errors=True)
                partial.rename(folder)
        _sync_folder(root)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return Artifact(folder, read_manifest(folder))


def is_complete(folder: Path) -> bool:
    """Whether the folder holds a manifest."""
    return (folder / MANIFEST).is_file()


def read_manifest(folder: Path) -> Manifest:
    """Read a folder's manifest.

    Raises:
        ArtifactError: If there is none, or it is not one of ours.
    """
    path = folder / MANIFEST
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        if fields.pop("format") != FORMAT:
            raise ValueError("unknown format")
        fields["files"] = tuple(FileEntry(**entry) for entry in fields["files"])
        return Manifest(**fields)
    except FileNotFoundError:
        raise ArtifactError(f"{folder} has no {MANIFEST}: it was never completed; run the stage again") from None
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{path} is damaged ({error}); remove the folder and run the stage again") from None


def open_artifact(folder: Path) -> Artifact:
    """Open a complete folder and check that every file is there with its size.

    Raises:
        ArtifactError: Naming the first file that is missing or has another size.
    """
    manifest = read_manifest(folder)
    for entry in manifest.files:
        path = folder / entry.path
        size = path.stat().st_size if path.is_file() else None
        if size != entry.size:
            found = "is missing" if size is None else f"has {size} bytes instead of {entry.size}"
            raise ArtifactError(f"{path} {found}; remove the folder {folder} and run the stage again")
    return Artifact(folder, manifest, reused=True)


def verify(folder: Path) -> Manifest:
    """Check every file's size and SHA-256 against the manifest.

    Raises:
        ArtifactError: Naming the first file that differs.
    """
    manifest = open_artifact(folder).manifest
    for entry in manifest.files:
        if file_sha256(folder / entry.path) != entry.sha256:
            raise ArtifactError(f"{folder / entry.path} is damaged; remove the folder {folder} and run the stage again")
    return manifest


def write_atomically(path: Path, text: str) -> None:
    """Write a text file so that a reader sees either the old content or all of the new."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def remove_abandoned(root: Path) -> None:
    """Remove the unfinished folders left under ``root`` by processes of this machine that are no more."""
    for partial in root.glob(".*.partial-*"):
        host, process, _ = partial.name.rpartition(".partial-")[2].rsplit("-", 2)
        if host == socket.gethostname() and not psutil.pid_exists(int(process)):
            shutil.rmtree(partial, ignore_errors=True)


def _list_files(folder: Path) -> tuple[FileEntry, ...]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    for path in paths:
        with path.open("rb") as file:
            os.fsync(file.fileno())
    return tuple(
        FileEntry(path.relative_to(folder).as_posix(), path.stat().st_size, file_sha256(path)) for path in paths
    )


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check_stable(value: Any, where: str) -> None:
    if value is None or isinstance(value, str | bool | int):
        return
    if isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            raise TypeError(f"{where} is {value}, which has no stable encoding")
        return
    if isinstance(value, list | tuple):
        for position, item in enumerate(value):
            _check_stable(item, f"{where}[{position}]")
        return
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise TypeError(f"{where} has the key {key!r}, which is no string")
            _check_stable(item, f"{where}.{key}")
        return
    raise TypeError(f"{where} is a {type(value).__name__}, which has no stable encoding")
