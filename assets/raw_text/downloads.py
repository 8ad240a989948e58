"""The folder of downloads: each file under its SHA-256, put there whole or not at all, and hashed again when used.

Layout: ``<folder>/<sha256>/<file name>``, and ``<folder>/addresses/<key>`` with the SHA-256 that an address had at a
version its server named.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from assets.raw_text.errors import RawTextError
from training.artifact import file_sha256, remove_abandoned, write_atomically

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


def stored(folder: Path, sha256: str) -> Path | None:
    """The file with this hash, if it was fetched before and is still what it was.

    A file that was damaged or changed is removed, so that it is fetched again.
    """
    path = next(iter(sorted((folder / sha256).glob("*"))), None)
    if path is None or file_sha256(path) == sha256:
        return path
    with partial_folder(folder) as partial:
        path.parent.rename(partial / sha256)
    return None


@contextmanager
def partial_folder(folder: Path) -> Iterator[Path]:
    """A folder to download into, beside the finished ones; gone at the end, whatever happens."""
    folder.mkdir(parents=True, exist_ok=True)
    remove_abandoned(folder)
    partial = folder / f".download.partial-{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
    partial.mkdir()
    try:
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def store(folder: Path, file: Path, *, expected: str | None, where: str) -> Path:
    """Move a file, the only one in its partial folder, to its place.

    Args:
        folder: The folder of downloads.
        file: The complete file.
        expected: The SHA-256 it must have, if that is known.
        where: Names the source in errors.

    Raises:
        RawTextError: If it has another.
    """
    found = file_sha256(file)
    if expected and found != expected:
        raise wrong_sha256(where, expected, found)
    with file.open("rb") as written:
        os.fsync(written.fileno())
    try:
        file.parent.rename(folder / found)
    except OSError:
        # Another process stored the same bytes first.
        if not stored(folder, found):
            raise
    path = stored(folder, found)
    assert path is not None
    return path


def wrong_sha256(where: str, expected: str, found: str) -> RawTextError:
    """The error for a file that is not the one the catalogue means."""
    return RawTextError(
        f"{where} has the wrong sha256: expected {expected}, found {found}; nothing of it was opened. "
        "If the new file is the one you want, write its sha256 in the catalogue"
    )


def remember(folder: Path, address: str, sha256: str) -> None:
    """Note what an address, with its version, led to."""
    addresses = folder / "addresses"
    addresses.mkdir(parents=True, exist_ok=True)
    write_atomically(addresses / _key(address), sha256)


def recall(folder: Path, address: str) -> Path | None:
    """The stored file that an address, with its version, led to."""
    note = folder / "addresses" / _key(address)
    return stored(folder, note.read_text(encoding="utf-8")) if note.is_file() else None


@contextmanager
def disk_errors(folder: Path, where: str) -> Iterator[None]:
    """Turn 'no space left' into an error that says which disk and how much is left on it."""
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        free = shutil.disk_usage(folder).free
        raise RawTextError(
            f"{where}: no space left on the disk of {folder} ({free / 1e9:,.2f} GB free, or a quota is reached); "
            "free some, or set CORPUSLINE_HOME to a larger disk"
        ) from None


def _key(address: str) -> str:
    return hashlib.blake2b(address.encode(), digest_size=16).hexdigest()
