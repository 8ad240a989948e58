"""All weights of a DeepSpeed model in one place, whatever ZeRO has made of them."""

from __future__ import annotations

import torch
from deepspeed.utils import safe_get_full_fp32_param
from torch import Tensor

from training.tensor_parallel import LayerShare


def full_weights(model: torch.nn.Module, is_first_rank: bool, share: LayerShare | None = None) -> dict[str, Tensor]:
    """Every parameter of a DeepSpeed model in float32, from the masters where there are some.

    Called by all ranks together; only the first one gets the tensors, one at a time, in its host's memory.
    """
    weights = {}
    for name, parameter in model.named_parameters():
        master = safe_get_full_fp32_param(parameter)
        value = (parameter if master is None else master).detach().float()
        if share is not None:
            value = share.whole(name, value.view(parameter.shape))
        if is_first_rank:
            weights[name] = value.cpu().view(full_shape(parameter) if share is None else value.shape)
    return weights


def full_shape(parameter: Tensor) -> torch.Size:
    """The shape of a parameter, also where ZeRO-3 has laid it flat."""
    shape: torch.Size = getattr(parameter, "ds_shape", parameter.shape)
    return shape
