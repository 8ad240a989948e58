"""Whether a training fits into the memory that is free, before any of it is taken."""

from __future__ import annotations

import os

import psutil
import torch

from training.deepspeed_configuration import precision
from training.plan import memory
from training.run_settings import TrainingSettings
from training.settings import SettingsError

_GIB = 1 << 30


def free_memory(device: torch.device) -> int:
    """Bytes that one rank may take: of its GPU, or its share of the host's memory."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available) // int(os.environ.get("LOCAL_WORLD_SIZE", 1))


def check_memory(settings: TrainingSettings, *, ranks: int, free: int) -> None:
    """Refuse to start what will not fit; the estimate leaves out what libraries take for themselves.

    Args:
        settings: With the vocabulary's size.
        ranks: Processes.
        free: Bytes that each may take.

    Raises:
        SettingsError: With the memory needed and free, and what makes it smaller.
    """
    low = precision(settings.parallel) == torch.bfloat16
    needed = memory(settings, stage=settings.parallel.zero_stage, ranks=ranks, low_precision=low)
    if needed.total <= free:
        return
    parts = {
        "weights, gradients and optimizer": needed.states + needed.gathered,
        "activations": needed.activations,
        "logits": needed.logits,
    }
    shown = ", ".join(f"{name} {size / _GIB:.1f}" for name, size in parts.items())
    raise SettingsError(
        f"each rank needs about {needed.total / _GIB:.1f} GiB ({shown}) and has {free / _GIB:.1f} GiB free: lower "
        "'parallel.micro_batch' or 'model.context', raise 'parallel.zero_stage', turn on "
        "'parallel.activation_checkpointing' or 'parallel.offload_optimizer', use more ranks, or let several share a "
        "sequence by 'parallel.sequence_ranks' or every layer by 'parallel.tensor_ranks'"
    )
