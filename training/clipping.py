"""Clipping of gradients where DeepSpeed leaves them as they are: in float32 without ZeRO."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from training.tensor_parallel import LayerShare, is_part


def clip_before_step(optimizer: torch.optim.Optimizer, *, largest: float, share: LayerShare | None = None) -> None:
    """Scale gradients to a largest norm before each step (Pascanu et al. 2013, arXiv:1211.5063, algorithm 1).

    The norm before is kept where DeepSpeed's engine looks for it (``get_global_grad_norm``).

    Args:
        optimizer: torch's own, of whole parameters but for what ranks share.
        largest: Of the norm of all gradients together; 0 only measures.
        share: Of this rank, where ranks share layers.
    """

    def clip(stepped: torch.optim.Optimizer, *others: Any) -> None:
        parameters = [
            parameter for group in stepped.param_groups for parameter in group["params"] if parameter.grad is not None
        ]
        norm = _norm(parameters, share)
        if largest:
            clip_grads_with_norm_(parameters, largest, norm)
        stepped._global_grad_norm = norm  # type: ignore[attr-defined]

    optimizer.register_step_pre_hook(clip)


def _norm(parameters: list[nn.Parameter], share: LayerShare | None) -> torch.Tensor:
    """Of the gradients of the whole model; what every rank has counts once."""
    whole = get_total_norm([p.grad for p in parameters if p.grad is not None and (share is None or not is_part(p))])
    if share is None:
        return whole
    squares = get_total_norm([p.grad for p in parameters if p.grad is not None and is_part(p)]).square()
    torch.distributed.all_reduce(squares, group=share.group)
    return (whole.square() + squares).sqrt()
