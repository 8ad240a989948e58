"""From settings to a DeepSpeed engine."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import deepspeed
import torch
from deepspeed.accelerator import get_accelerator

from training.clipping import clip_before_step
from training.initialisation import copy_weights, initialise
from training.models import LanguageModel, ModelSettings, build_model, parameter_count
from training.optimizers import build_optimizer
from training.run_settings import ParallelSettings, TrainingSettings


def precision(settings: ParallelSettings) -> torch.dtype:
    """The type of weights and activations: what is asked for, or bfloat16 where the hardware multiplies it."""
    if settings.precision == "auto":
        if get_accelerator().device_name() == "cpu":
            # AVX512-BF16 alone was half as fast as float32 at widths from 96 to 1,024.
            fast = torch.cpu._is_amx_tile_supported()
        else:
            fast = get_accelerator().is_bf16_supported()
        return torch.bfloat16 if fast else torch.float32
    return torch.bfloat16 if settings.precision == "bfloat16" else torch.float32


def deepspeed_configuration(settings: TrainingSettings, ranks: int, *, universal: bool = False) -> dict[str, Any]:
    """DeepSpeed's own configuration for these settings on that many ranks.

    Args:
        settings: Of the training.
        ranks: Processes.
        universal: Whether a checkpoint in DeepSpeed's universal form will be loaded.
    """
    zero: dict[str, Any] = {
        "stage": settings.parallel.zero_stage,
        # DeepSpeed's own are a gigabyte also for a small model.
        "reduce_bucket_size": bucket_size(settings.model),
        "allgather_bucket_size": bucket_size(settings.model),
        # Only vectors are kept whole on every rank under stage 3.
        "stage3_param_persistence_threshold": 10 * settings.model.width,
    }
    if settings.optimizer.name == "muon" and settings.parallel.zero_stage == 3:
        # Muon needs whole gradients.
        zero["reduce_scatter"] = False
    if settings.parallel.offload_optimizer and settings.parallel.zero_stage:
        zero["offload_optimizer"] = {"device": "cpu", "pin_memory": get_accelerator().device_name() != "cpu"}
    return {
        "train_micro_batch_size_per_gpu": settings.parallel.micro_batch,
        "gradient_accumulation_steps": settings.gradient_accumulation(settings.phases[0].batch or 0, ranks),
        "gradient_clipping": 0.0 if _plain(settings.parallel) else settings.optimizer.largest_norm,
        "bf16": {"enabled": precision(settings.parallel) == torch.bfloat16},
        "zero_optimization": zero,
        # The optimizers are torch's own and ours, which DeepSpeed accepts with ZeRO only when told so.
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "checkpoint": {"load_universal": universal},
        "steps_per_print": 1 << 62,
    }


def _plain(parallel: ParallelSettings) -> bool:
    """Whether DeepSpeed takes the optimizer as it is."""
    return parallel.zero_stage == 0 and precision(parallel) == torch.float32


def bucket_size(model: ModelSettings) -> int:
    """Parameters that are brought together at once: an eighth of the model, within bounds."""
    return min(max(parameter_count(model) // 8, 1 << 16), 500_000_000)


def build_engine(
    settings: TrainingSettings, ranks: int, *, initial: LanguageModel | None = None, universal: bool = False
) -> Any:
    """Make the model, its optimizer and DeepSpeed's engine around them.

    Args:
        settings: Of the training.
        ranks: Processes.
        initial: A model to start from instead of first weights.
        universal: Whether a checkpoint in DeepSpeed's universal form will be loaded.
    """
    configuration = deepspeed_configuration(settings, ranks, universal=universal)
    parallel = settings.parallel
    if not parallel.compile:
        # Muon's own functions, too.
        torch._dynamo.config.disable = True
    sharded = (
        deepspeed.zero.Init(config_dict_or_path=configuration, dtype=precision(parallel))
        if parallel.zero_stage == 3
        else nullcontext()
    )
    with sharded:
        model = build_model(
            settings.model, loss=settings.loss, activation_checkpointing=parallel.activation_checkpointing
        )
    if initial is None:
        initialise(model, seed=settings.seed)
    else:
        copy_weights(initial, model)
    on_host = parallel.offload_optimizer and get_accelerator().device_name() != "cpu"
    optimizer = build_optimizer(model, settings.model, settings.optimizer, on_host=on_host)
    if _plain(parallel):
        clip_before_step(optimizer, largest=settings.optimizer.largest_norm)
    engine, *_ = deepspeed.initialize(model=model, optimizer=optimizer, config=configuration)
    if ranks == 1 and not parallel.zero_stage:
        # There is nobody to share with, and gathering gradients for it costs as much as the optimizer.
        engine.enable_backward_allreduce = False
    if parallel.compile:
        engine.compile()
    return engine
