"""All weights of a DeepSpeed model in one place, whatever ZeRO has made of them."""

from __future__ import annotations

from typing import Any

import torch
from deepspeed.runtime.fp16.unfused_optimizer import FP16_UnfusedOptimizer
from deepspeed.utils import safe_get_full_fp32_param
from torch import Tensor, nn

from training.tensor_parallel import LayerShare


def full_weights(engine: Any, is_first_rank: bool, share: LayerShare | None = None) -> dict[str, Tensor]:
    """Every parameter of a DeepSpeed engine's model in float32, from the masters where there are some.

    Called by all ranks together; only the first one gets the tensors, one at a time, in its host's memory.
    """
    weights = {}
    without_zero = masters_without_zero(engine.optimizer)
    for name, parameter in engine.module.named_parameters():
        master = without_zero.get(id(parameter), safe_get_full_fp32_param(parameter))
        value = (parameter if master is None else master).detach().float()
        if share is not None:
            value = share.whole(name, value.view(parameter.shape))
        if is_first_rank:
            weights[name] = value.cpu().view(full_shape(parameter) if share is None else value.shape)
    return weights


def masters_without_zero(optimizer: Any) -> dict[int, nn.Parameter]:
    """In float32, by the ids of the parameters in bfloat16, under stage 0; elsewhere none."""
    if not isinstance(optimizer, FP16_UnfusedOptimizer):
        return {}
    pairs = zip(optimizer.fp16_groups, optimizer.fp32_groups, strict=True)
    return {id(half): full for low, high in pairs for half, full in zip(low, high, strict=True)}


def full_shape(parameter: Tensor) -> torch.Size:
    """The shape of a parameter, also where ZeRO-3 has laid it flat."""
    shape: torch.Size = getattr(parameter, "ds_shape", parameter.shape)
    return shape
