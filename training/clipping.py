"""Clipping of gradients where DeepSpeed leaves them as they are: in float32 without ZeRO."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.utils import clip_grads_with_norm_, get_total_norm


def clip_before_step(optimizer: torch.optim.Optimizer, *, largest: float) -> None:
    """Scale gradients to a largest norm before each step (Pascanu et al. 2013, arXiv:1211.5063, algorithm 1).

    The norm before is kept where DeepSpeed's engine looks for it (``get_global_grad_norm``).

    Args:
        optimizer: torch's own, of whole parameters.
        largest: Of the norm of all gradients together; 0 only measures.
    """

    def clip(stepped: torch.optim.Optimizer, *others: Any) -> None:
        parameters = [
            parameter for group in stepped.param_groups for parameter in group["params"] if parameter.grad is not None
        ]
        norm = get_total_norm([parameter.grad for parameter in parameters if parameter.grad is not None])
        if largest:
            clip_grads_with_norm_(parameters, largest, norm)
        stepped._global_grad_norm = norm  # type: ignore[attr-defined]

    optimizer.register_step_pre_hook(clip)
