"""The shared memory of DeepSpeed's ranks (``training.shared_memory``) that were killed while they met.

It has a name until all of them are there, and stays as long as it has one.
"""

from __future__ import annotations

import os
import re
import socket
from functools import lru_cache
from pathlib import Path

from training.shared_memory import FOLDER, NAME

_NAME = re.compile(NAME.format(user=os.getuid(), address=r"(?P<address>.+)", port=r"(?P<port>\d+)", rank=r"\d+"))


def remove_abandoned_shared_memory(folder: Path = FOLDER) -> list[Path]:
    """Remove that of this user's trainings on this machine whose rendezvous nobody listens at any more."""
    removed = []
    listens = lru_cache(_listens)
    for path in sorted(folder.glob(NAME.format(user=os.getuid(), address="*", port="*", rank="*"))):
        found = _NAME.fullmatch(path.name)
        if found and not listens(found["address"], int(found["port"])):
            path.unlink(missing_ok=True)
            removed.append(path)
    return removed


def _listens(address: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        try:
            return probe.connect_ex((address, port)) == 0
        except OSError:
            # The name of a machine that is not known here any more.
            return False
