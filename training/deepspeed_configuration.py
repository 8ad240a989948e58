"""DeepSpeed's own configuration: what our settings say, and what a user's file adds to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from deepspeed.accelerator import get_accelerator

from training.models import ModelSettings, parameter_count
from training.run_settings import ParallelSettings, TrainingSettings
from training.settings import SettingsError

AUTO = "auto"

# Which of our settings says what a key of DeepSpeed's says.
_OURS = {
    "train_batch_size": "batch",
    "train_micro_batch_size_per_gpu": "parallel.micro_batch",
    "gradient_accumulation_steps": "batch and parallel.micro_batch",
    "gradient_clipping": "optimizer.gradient_clipping",
    "bf16.enabled": "parallel.precision",
    "zero_optimization.stage": "parallel.zero_stage",
    "zero_optimization.offload_optimizer.device": "parallel.offload_optimizer",
    "checkpoint.load_universal": "the number of ranks",
}
_INSTEAD = {
    "optimizer": "optimizer",
    "scheduler": "schedule",
    "fp16": "parallel.precision",
    "amp": "parallel.precision",
}
# Ours only because DeepSpeed's own defaults are worse; a user knows better.
_FREE = (
    "zero_optimization.reduce_bucket_size",
    "zero_optimization.allgather_bucket_size",
    "zero_optimization.stage3_param_persistence_threshold",
    "zero_optimization.offload_optimizer.pin_memory",
    "steps_per_print",
)
# Optimizer states that are offloaded may lie on a disk.
_FARTHER = ["cpu", "nvme"]


def precision(settings: ParallelSettings) -> torch.dtype:
    """The type of weights and activations: what is asked for, or bfloat16 where the hardware multiplies it."""
    if settings.precision == AUTO:
        if get_accelerator().device_name() == "cpu":
            # AVX512-BF16 alone was half as fast as float32 at widths from 96 to 1,024.
            fast = torch.cpu._is_amx_tile_supported()
        else:
            fast = get_accelerator().is_bf16_supported()
        return torch.bfloat16 if fast else torch.float32
    return torch.float32 if settings.precision == "float32" else torch.bfloat16


def is_plain(settings: ParallelSettings) -> bool:
    """Whether DeepSpeed takes the optimizer as it is: in float32 without ZeRO."""
    return settings.zero_stage == 0 and precision(settings) == torch.float32


def deepspeed_configuration(settings: TrainingSettings, ranks: int, *, universal: bool = False) -> dict[str, Any]:
    """DeepSpeed's own configuration for these settings on that many ranks.

    Args:
        settings: Of the training; ``parallel.deepspeed`` adds to what they say.
        ranks: Processes.
        universal: Whether a checkpoint in DeepSpeed's universal form will be loaded.

    Raises:
        SettingsError: If ``parallel.deepspeed`` says otherwise than the settings; every such key is named.
    """
    parallel = settings.parallel
    zero: dict[str, Any] = {
        "stage": parallel.zero_stage,
        # DeepSpeed's own are a gigabyte also for a small model.
        "reduce_bucket_size": bucket_size(settings.model),
        "allgather_bucket_size": bucket_size(settings.model),
        # Only vectors are kept whole on every rank under stage 3.
        "stage3_param_persistence_threshold": 10 * settings.model.width,
    }
    if settings.optimizer.name == "muon" and parallel.zero_stage == 3:
        # Muon needs whole gradients.
        zero["reduce_scatter"] = False
    if parallel.offload_optimizer:
        zero["offload_optimizer"] = {"device": "cpu", "pin_memory": get_accelerator().device_name() != "cpu"}
    elif parallel.zero_stage:
        zero["offload_optimizer"] = {"device": "none"}
    accumulation = settings.gradient_accumulation(settings.phases[0].batch or 0, ranks)
    ours = {
        "train_batch_size": parallel.micro_batch * accumulation * ranks // parallel.tensor_ranks,
        "train_micro_batch_size_per_gpu": parallel.micro_batch,
        "gradient_accumulation_steps": accumulation,
        "gradient_clipping": 0.0 if is_plain(parallel) else settings.optimizer.largest_norm,
        "bf16": {"enabled": precision(parallel) == torch.bfloat16},
        "zero_optimization": zero,
        # The optimizers are torch's own and ours, which DeepSpeed accepts with ZeRO only when told so.
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "checkpoint": {"load_universal": universal},
        "steps_per_print": 1 << 62,
    }
    wrong = conflicts(ours, parallel.deepspeed)
    if wrong:
        raise SettingsError("'parallel.deepspeed' does not fit the other settings: " + "; ".join(wrong))
    return merged(ours, parallel.deepspeed)


def bucket_size(model: ModelSettings) -> int:
    """Parameters that are brought together at once: an eighth of the model, within bounds."""
    return min(max(parameter_count(model) // 8, 1 << 16), 500_000_000)


def conflicts(ours: Mapping[str, Any], theirs: Mapping[str, Any], prefix: str = "") -> list[str]:
    """What a user's configuration says otherwise than our settings, a sentence a key."""
    found = []
    for key, value in theirs.items():
        name = f"{prefix}{key}"
        if name in _INSTEAD and not (isinstance(value, Mapping) and value.get("enabled") is False):
            found.append(f"'{name}' is set here by '{_INSTEAD[name]}'; leave it out")
        elif isinstance(value, Mapping) and isinstance(ours.get(key), Mapping):
            found += conflicts(ours[key], value, f"{name}.")
        elif key in ours and value not in (AUTO, ours[key]) and name not in _FREE and [ours[key], value] != _FARTHER:
            setting = _OURS.get(name)
            remedy = f"change it or '{setting}'" if setting else "leave it out"
            found.append(f"'{name}' is {value!r} there and {ours[key]!r} by our settings; {remedy}")
    return found


def merged(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    """Our configuration with what a user's adds; its "auto" is what ours has."""
    result = dict(ours)
    for key, value in theirs.items():
        if isinstance(value, Mapping):
            inner = ours.get(key)
            result[key] = merged(inner if isinstance(inner, Mapping) else {}, value)
        elif value != AUTO:
            result[key] = value
    return result
