"""A lock between processes, for what one of them is to do and the others are to find done."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def process_lock(path: Path) -> Iterator[None]:
    """Hold a lock that one thread of all processes holds at a time, of all machines where the file system locks so.

    Args:
        path: A file of this name is there while the lock is held.
    """
    while True:
        with path.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if not _is_there(path, file.fileno()):
                # The one before has removed it; whoever comes next locks a new one.
                continue
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return


def _is_there(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
