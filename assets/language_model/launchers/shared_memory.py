"""The shared memory in which DeepSpeed adds up gradients on a machine without accelerators.

A killed training leaves it behind, up to a gigabyte a rank, until the machine is started again.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

FOLDER = Path("/dev/shm")
_NAME = "deepspeed_allreduce_buffer_{user}_{address}_"
_ADDRESS = "127.0.0.1"


def remove_abandoned_shared_memory(folder: Path = FOLDER) -> list[Path]:
    """Remove that of this user's trainings on this machine whose rendezvous nobody listens at any more."""
    removed = []
    prefix = _NAME.format(user=os.getuid(), address=_ADDRESS)
    for path in sorted(folder.glob(f"{prefix}*")):
        port = path.name.removeprefix(prefix).split("_")[0]
        if port.isdigit() and not _listens(int(port)):
            path.unlink(missing_ok=True)
            removed.append(path)
    return removed


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((_ADDRESS, port)) == 0
