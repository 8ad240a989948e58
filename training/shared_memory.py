"""The shared memory in which DeepSpeed's ranks add up gradients on a machine without accelerators."""

from __future__ import annotations

import os
from pathlib import Path

import torch.distributed as dist
from deepspeed.accelerator import get_accelerator

FOLDER = Path("/dev/shm")
NAME = "deepspeed_allreduce_buffer"


def unlink_shared_memory() -> None:
    """Take its name away, by all ranks once they have met: so it goes with the last of them, however that ends.

    DeepSpeed leaves it behind, up to a gigabyte a rank, until the machine is started again.
    """
    if get_accelerator().device_name() != "cpu":
        return
    dist.barrier()
    address, port = os.environ.get("MASTER_ADDR", ""), os.environ.get("MASTER_PORT", "")
    (FOLDER / f"{NAME}_{os.getuid()}_{address}_{port}_{dist.get_rank()}").unlink(missing_ok=True)
