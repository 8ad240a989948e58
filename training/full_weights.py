"""All weights of a DeepSpeed model in one place, whatever ZeRO has made of them."""

from __future__ import annotations

import torch
from deepspeed.utils import safe_get_full_fp32_param
from torch import Tensor


def full_weights(model: torch.nn.Module, is_first_rank: bool) -> dict[str, Tensor]:
    """Every parameter of a DeepSpeed model in float32, from the masters where there are some.

    Called by all ranks together; only the first one gets the tensors, one at a time, in its host's memory.
    """
    weights = {}
    for name, parameter in model.named_parameters():
        value = safe_get_full_fp32_param(parameter)
        if is_first_rank:
            weights[name] = (parameter if value is None else value).detach().float().cpu().view(_shape(parameter))
    return weights


def _shape(parameter: torch.nn.Parameter) -> torch.Size:
    shape: torch.Size = getattr(parameter, "ds_shape", parameter.shape)
    return shape
