"""Token shards on object storage, of which a bounded part is kept on this machine's disk.

Files are fetched whole when a token of them is first asked for, checked against their hash, and the ones that were not
used for longest are removed when the room is needed. Made for an order that stays in few files for a while
(``training.permutation.ChunkedPermutation``). What a URI held before it got another ``shards.json`` is not used.
Processes may share the folder: a file that several want is fetched by one of them, while the others wait. A removed
file keeps its room on the disk until each process that has it mapped asks for another file of its folder. A storage
that does not answer is asked again for half a minute.
"""

from __future__ import annotations

import copy
import hashlib
import logging
import os
import secrets
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self, TypeVar

import pyarrow as pa
from pyarrow.fs import FileSelector, FileSystem, FileType

from training.process_lock import process_lock
from training.shards.format import ShardError, StorageError
from training.shards.maps import forget_maps

_BLOCK_BYTES = 8 << 20
_PARTIAL = ".partial-"
_ABANDONED_SECONDS = 3600
"""After so long without a byte more, whoever fetched a file is no more."""
PAUSES_SECONDS = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Before a storage that does not answer is asked again."""

log = logging.getLogger(__name__)
Answer = TypeVar("Answer")


def is_remote(folder: str) -> bool:
    """Whether a folder of shards is named by a URI."""
    return "://" in folder


class RemoteFolder:
    """A folder of shards behind a URI.

    Attributes:
        uri: As given.
        local: Where its files are kept on this machine.
    """

    def __init__(self, uri: str, cache: Path, *, limit_bytes: int) -> None:
        """Open a folder.

        Args:
            uri: Understood by ``pyarrow.fs``: s3://, gs://, abfss://, hdfs://, file://.
            cache: Folder for files of all remote folders together.
            limit_bytes: Most bytes of the files in it.

        Raises:
            ShardError: If nobody understands the URI.
        """
        self.uri = uri.rstrip("/")
        self.local = cache / hashlib.sha256(self.uri.encode()).hexdigest()[:16]
        self._cache = cache
        self._limit = limit_bytes
        self._room = cache / ".room.lock"
        self._changed = 0
        try:
            self._system, self._root = FileSystem.from_uri(self.uri)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise ShardError(f"{uri} cannot be opened: {error}") from None
        self.local.mkdir(parents=True, exist_ok=True)

    def described_by(self, description: bytes) -> Self:
        """The folder as this ``shards.json`` describes it, whose files are kept apart from those of any other."""
        described = copy.copy(self)
        identity = hashlib.sha256(self.uri.encode() + b"\0" + description)
        described.local = self._cache / identity.hexdigest()[:16]
        described.local.mkdir(parents=True, exist_ok=True)
        return described

    def sizes(self) -> dict[str, int]:
        """Bytes of every file by name.

        Raises:
            StorageError: If the storage does not answer.
        """
        selector = FileSelector(self._root, allow_not_found=True)
        found = _patiently(lambda: self._system.get_file_info(selector), f"{self.uri} cannot be listed")
        return {info.base_name: info.size or 0 for info in found if info.type == FileType.File}

    def read(self, name: str) -> bytes:
        """The bytes of a small file as it is there now; nothing is kept here.

        Raises:
            ShardError: If it is missing.
            StorageError: If the storage does not answer.
        """
        return _patiently(lambda: self._read(name), f"{self.uri}/{name} cannot be fetched")

    def fetch(self, name: str, *, sha256: str | None = None) -> Path:
        """A file on this machine, fetched unless it is there.

        Args:
            name: In the folder.
            sha256: What its bytes hash to.

        Raises:
            ShardError: If it is missing or damaged, or larger than the limit.
            StorageError: If the storage does not answer.
        """
        path = self.local / name
        if not _used(path):
            where = f"{self.uri}/{name}"
            _patiently(lambda: self._fetch(name, path, sha256, where), f"{where} cannot be fetched")
        changed = self.local.stat().st_mtime_ns
        if changed != self._changed:
            # Here or in another process, a file may have been removed that is mapped.
            self._changed = changed
            forget_maps()
        return path

    def _read(self, name: str) -> bytes:
        self._size(name)
        with self._system.open_input_stream(f"{self._root}/{name}") as stream:
            return stream.read()

    def _size(self, name: str) -> int:
        info = self._system.get_file_info(f"{self._root}/{name}")
        if info.type != FileType.File:
            raise ShardError(f"{self.uri}/{name} is missing; copy the folder there again")
        return info.size or 0

    def _fetch(self, name: str, path: Path, sha256: str | None, where: str) -> None:
        with process_lock(self._cache / f".{self.local.name}-{name}.lock"):
            if _used(path):
                return
            partial = self.local / f"{_PARTIAL}{name}-{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
            size = self._size(name)
            try:
                with process_lock(self._room), partial.open("wb") as file:
                    self._make_room(size, where)
                    # Counted from now on by whoever makes room.
                    file.truncate(size)
                digest = self._download(f"{self._root}/{name}", partial)
                if sha256 is not None and digest != sha256:
                    raise ShardError(
                        f"{where} is damaged: its bytes do not match its hash; copy the folder there again"
                    )
                with process_lock(self._room):
                    # Else who counts just now would find neither name.
                    partial.rename(path)
            finally:
                partial.unlink(missing_ok=True)

    def _download(self, source: str, target: Path) -> str:
        state = hashlib.sha256()
        with self._system.open_input_stream(source) as stream, target.open("r+b") as file:
            while block := stream.read(_BLOCK_BYTES):
                state.update(block)
                file.write(block)
            file.truncate()
            file.flush()
            # Else a loss of power may leave the name and not the bytes, which are not hashed again.
            os.fsync(file.fileno())
        return state.hexdigest()

    def _make_room(self, size: int, where: str) -> None:
        if size > self._limit:
            raise ShardError(
                f"{where} has {size} bytes, 'cache_gigabytes' allows {self._limit}; raise it, or write smaller shards"
            )
        begun = time.time_ns() - _ABANDONED_SECONDS * 10**9
        kept = []
        for path in self._cache.glob("*/*"):
            try:
                state = path.stat()
            except FileNotFoundError:
                # Another process removed it just now.
                continue
            kept.append((state.st_mtime_ns, state.st_size, path))
        used = sum(length for _, length, _ in kept)
        for modified, length, path in sorted(kept):
            if used + size <= self._limit:
                return
            if path.name.startswith(_PARTIAL) and modified > begun:
                continue
            path.unlink(missing_ok=True)
            forget_maps()
            used -= length


def _used(path: Path) -> bool:
    """Whether a file is there; if so, it was used just now."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    return True


def _patiently(question: Callable[[], Answer], problem: str) -> Answer:
    """An answer of the storage, which may be away for a while.

    Raises:
        StorageError: If it is still away after all pauses.
    """
    for pause in PAUSES_SECONDS:
        try:
            return question()
        except OSError as error:
            log.warning("%s, asked again in %.0f s: %s", problem, pause, error)
            time.sleep(pause)
    try:
        return question()
    except OSError as error:
        raise StorageError(f"{problem}: {error}") from None
