"""The shared memory in which DeepSpeed's ranks add up gradients on a machine without accelerators."""

from __future__ import annotations

import os
from pathlib import Path

import torch.distributed as dist

FOLDER = Path("/dev/shm")
NAME = "deepspeed_allreduce_buffer_{user}_{address}_{port}_{rank}"
"""As DeepSpeed names it: whose it is, where the ranks meet, and of which of them."""


def unlink_shared_memory() -> None:
    """Take its name away, by all ranks once they have met: so it goes with the last of them, however that ends.

    DeepSpeed leaves it behind, up to a gigabyte a rank, until the machine is started again.
    """
    dist.barrier()
    address, port = os.environ.get("MASTER_ADDR", ""), os.environ.get("MASTER_PORT", "")
    name = NAME.format(user=os.getuid(), address=address, port=port, rank=dist.get_rank())
    (FOLDER / name).unlink(missing_ok=True)
