"""From settings to a DeepSpeed engine."""

from __future__ import annotations

from typing import Any

import deepspeed
import torch
from deepspeed.accelerator import get_accelerator
from torch import nn

from training.initialisation import copy_weights, initialise
from training.model import LanguageModel
from training.run_settings import OptimizerSettings, ParallelSettings, TrainingSettings


def precision(settings: ParallelSettings) -> torch.dtype:
    """The type of weights and activations: what is asked for, or bfloat16 where the hardware multiplies it."""
    if settings.precision == "auto":
        if get_accelerator().device_name() == "cpu":
            fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
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
    zero: dict[str, Any] = {"stage": settings.parallel.zero_stage}
    if settings.parallel.offload_optimizer and settings.parallel.zero_stage:
        zero["offload_optimizer"] = {"device": "cpu", "pin_memory": get_accelerator().device_name() != "cpu"}
    return {
        "train_micro_batch_size_per_gpu": settings.parallel.micro_batch,
        "gradient_accumulation_steps": settings.gradient_accumulation(settings.phases[0].batch or 0, ranks),
        "gradient_clipping": settings.optimizer.gradient_clipping,
        "bf16": {"enabled": precision(settings.parallel) == torch.bfloat16},
        "zero_optimization": zero,
        # AdamW is torch's own, which DeepSpeed accepts with ZeRO only when told so.
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "checkpoint": {"load_universal": universal},
        "steps_per_print": 1 << 62,
    }


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
    if parallel.zero_stage == 3:
        with deepspeed.zero.Init(config_dict_or_path=configuration, dtype=precision(parallel)):
            model = LanguageModel(settings.model, activation_checkpointing=parallel.activation_checkpointing)
    else:
        model = LanguageModel(settings.model, activation_checkpointing=parallel.activation_checkpointing)
    if initial is None:
        initialise(model, seed=settings.seed)
    else:
        copy_weights(initial, model)
    engine, *_ = deepspeed.initialize(
        model=model, optimizer=_optimizer(model, settings.optimizer, parallel), config=configuration
    )
    if parallel.compile:
        engine.compile()
    return engine


def _optimizer(model: nn.Module, settings: OptimizerSettings, parallel: ParallelSettings) -> torch.optim.Optimizer:
    def is_matrix(parameter: nn.Parameter) -> bool:
        return len(getattr(parameter, "ds_shape", parameter.shape)) >= 2

    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if is_matrix(p)], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters if not is_matrix(p)], "weight_decay": 0.0},
    ]
    arguments: dict[str, Any] = {
        "lr": settings.learning_rate,
        "betas": (settings.beta1, settings.beta2),
        "eps": settings.epsilon,
    }
    if parallel.offload_optimizer and get_accelerator().device_name() != "cpu":
        optimizer: torch.optim.Optimizer = deepspeed.ops.adam.DeepSpeedCPUAdam(groups, adamw_mode=True, **arguments)
        return optimizer
    return torch.optim.AdamW(groups, fused=True, **arguments)
