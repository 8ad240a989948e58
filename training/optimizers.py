"""Optimizers and their parameter groups, in the forms that ZeRO can shard.

Each group has a peak learning rate of its own, ``peak``, which the schedule scales. Weight decay is for matrices:
vectors (norms, biases) have none.
"""

from __future__ import annotations

from typing import Any

import torch
from deepspeed.accelerator import get_accelerator
from torch import Tensor, nn

from training.full_weights import full_shape
from training.models import ModelSettings
from training.optimizer_settings import OptimizerSettings


def is_matrix(parameter: Tensor) -> bool:
    """Whether it has two dimensions or more, also where ZeRO-3 has laid it flat."""
    return len(full_shape(parameter)) >= 2


def in_blocks(name: str) -> bool:
    """Whether it belongs to a layer, and not to the embedding or the output layer."""
    return not name.startswith(("embedding.", "positions.", "head."))


def width_scale(name: str, parameter: Tensor, model: ModelSettings) -> float:
    """What muP multiplies an Adam learning rate with (Yang et al., arXiv:2203.03466, table 3).

    base width / width for matrices of the layers and of the output, whose inputs grow with the width; 1 for the
    embedding and vectors.
    """
    if model.initialisation != "mup" or not is_matrix(parameter) or name.startswith(("embedding.", "positions.")):
        return 1.0
    return (model.base_width or model.width) / model.width


def build_optimizer(
    model: nn.Module, shape: ModelSettings, settings: OptimizerSettings, *, on_host: bool = False
) -> torch.optim.Optimizer:
    """The optimizer of a model's parameters.

    Args:
        model: Its parameters may be sharded by ZeRO-3.
        shape: The model's settings.
        settings: Which optimizer.
        on_host: Whether its states lie in the host's memory while the weights do not.
    """
    groups = parameter_groups(model, shape, settings)
    betas = (settings.beta1, settings.beta2)
    if settings.name == "muon":
        optimizer: torch.optim.Optimizer = _muon(groups)
    elif settings.name == "sgd":
        optimizer = torch.optim.SGD(groups, lr=settings.learning_rate, momentum=settings.beta1)
    elif settings.name == "lion":
        optimizer = Lion(groups, lr=settings.learning_rate, betas=betas)
    elif on_host:
        optimizer = _adam_on_host(groups, settings)
    else:
        adam = torch.optim.AdamW if settings.name == "adamw" else torch.optim.Adam
        optimizer = adam(groups, lr=settings.learning_rate, betas=betas, eps=settings.epsilon, fused=True)
    for group in optimizer.param_groups:
        group["peak"] = group["lr"]
    return optimizer


def _muon(groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    # Imported late, because it compiles its kernels.
    from deepspeed.runtime.zero.muon import original_muon
    from deepspeed.runtime.zero.muon.muon_optimizer import MuonWithAuxAdam

    if get_accelerator().device_name() == "cpu":
        # It would iterate in 16 bits, which most processors do not multiply, and stages would differ by the rounding.
        original_muon.ns_compute_dtype = lambda ns_method="gram": torch.float32
    optimizer: torch.optim.Optimizer = MuonWithAuxAdam(groups)
    return optimizer


def _adam_on_host(groups: list[dict[str, Any]], settings: OptimizerSettings) -> torch.optim.Optimizer:
    import deepspeed

    optimizer: torch.optim.Optimizer = deepspeed.ops.adam.DeepSpeedCPUAdam(
        groups,
        lr=settings.learning_rate,
        betas=(settings.beta1, settings.beta2),
        eps=settings.epsilon,
        adamw_mode=settings.name == "adamw",
    )
    return optimizer


def parameter_groups(model: nn.Module, shape: ModelSettings, settings: OptimizerSettings) -> list[dict[str, Any]]:
    """Parameters that share learning rate, weight decay and, under muon, the algorithm."""
    groups: dict[tuple[bool, float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        orthogonalised = settings.name == "muon" and is_matrix(parameter) and in_blocks(name)
        if settings.name == "muon":
            parameter.use_muon = orthogonalised  # type: ignore[attr-defined]  # read by DeepSpeed
        rate = settings.learning_rate
        if not orthogonalised:
            if settings.name == "muon" and settings.other_learning_rate is not None:
                rate = settings.other_learning_rate
            if settings.name != "sgd":
                rate *= width_scale(name, parameter, shape)
        decay = settings.weight_decay if is_matrix(parameter) else 0.0
        groups.setdefault((orthogonalised, rate, decay), []).append(parameter)
    return [
        {"params": parameters, "lr": rate, "weight_decay": decay, **_of_muon(orthogonalised, settings)}
        for (orthogonalised, rate, decay), parameters in groups.items()
    ]


def _of_muon(orthogonalised: bool, settings: OptimizerSettings) -> dict[str, Any]:
    if settings.name != "muon":
        return {}
    if orthogonalised:
        method = "standard" if get_accelerator().device_name() == "cuda" else "gram"
        return {"use_muon": True, "momentum": settings.momentum, "ns_method": method}
    return {"use_muon": False, "betas": (settings.beta1, settings.beta2), "eps": settings.epsilon}


class Lion(torch.optim.Optimizer):
    """Sign of an interpolated momentum (Chen et al., arXiv:2302.06675, algorithm 2); decoupled weight decay.

    torch has none, and DeepSpeed's needs its own kernels; elementwise, so ZeRO shards it as it is.
    """

    def __init__(self, groups: list[dict[str, Any]], *, lr: float, betas: tuple[float, float]) -> None:
        super().__init__(groups, {"lr": lr, "betas": betas, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient."""
        for group in self.param_groups:
            first, second = group["betas"]
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["exp_avg"] = torch.zeros_like(parameter)
                mean = state["exp_avg"]
                direction = mean.lerp(parameter.grad, 1 - first).sign_()
                parameter.mul_(1 - group["lr"] * group["weight_decay"]).add_(direction, alpha=-group["lr"])
                mean.lerp_(parameter.grad, 1 - second)
