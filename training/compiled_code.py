"""Where a rank's compilers write, so that one which was killed harms no later training.

Both torch.compile and DeepSpeed's operations compile into folders that all programs of a user share otherwise: half a
file is loaded by the next program, and a lock that is left behind lets it wait for ever.
"""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
import socket
import tempfile
import time
from pathlib import Path

import psutil
import torch
from torch.utils.cpp_extension import get_default_build_root

INDUCTOR, EXTENSIONS = "TORCHINDUCTOR_CACHE_DIR", "TORCH_EXTENSIONS_DIR"
_NAME = "corpusline-compiled-{}"
_TAKEN = ".looked_at"
_MOMENT = 0.2  # seconds in which whoever has created a lock is seen to hold it


def set_compiler_folders() -> None:
    """Name folders for what is compiled, where none is given; remove locks that nobody holds any more.

    torch.compile gets a folder of the ranks that one launcher has started here. Operations, which take a minute to
    compile, are kept for later trainings of this machine: whether a lock's holder lives can be told only here, and
    the home folder may be one of many machines.
    """
    if INDUCTOR not in os.environ:
        temporary = Path(tempfile.gettempdir())
        for folder in temporary.glob(_NAME.format("*")):
            if not psutil.pid_exists(int(folder.name.rpartition("-")[2])):
                shutil.rmtree(folder, ignore_errors=True)
        os.environ[INDUCTOR] = str(temporary / _NAME.format(os.getppid()))
    if EXTENSIONS not in os.environ:
        versions = f"python{platform.python_version()}-torch{torch.__version__}"
        folder = Path(get_default_build_root()) / socket.gethostname() / versions
        folder.mkdir(parents=True, exist_ok=True)
        remove_abandoned_locks(folder)
        os.environ[EXTENSIONS] = str(folder)


def remove_abandoned_locks(folder: Path) -> list[Path]:
    """Remove locks of torch's compiler of operations (``FileBaton``) which no process of this machine holds open.

    Args:
        folder: With a folder for each operation; used by this machine alone.

    Returns:
        What was removed.
    """
    removed = []
    # One process looks at a time: it must not take away the lock that another has taken after its own look.
    with (folder / _TAKEN).open("w") as taken:
        fcntl.flock(taken, fcntl.LOCK_EX)
        for lock in sorted(folder.glob("*/lock")):
            if _held(lock):
                continue
            time.sleep(_MOMENT)
            if not _held(lock):
                lock.unlink(missing_ok=True)
                removed.append(lock)
    return removed


def _held(path: Path) -> bool:
    """Whether a process of this user has a file open."""
    try:
        wanted = path.stat()
    except FileNotFoundError:
        return True
    for process in psutil.process_iter():
        for descriptor in Path(f"/proc/{process.pid}/fd").glob("*"):
            try:
                found = descriptor.stat()
            except OSError:
                continue
            if (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino):
                return True
    return False
