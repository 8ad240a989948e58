"""Weights and optimizer states of whole parameters, put where an engine has them, whatever its ZeRO stage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import deepspeed
import deepspeed.comm as dist
import torch
from deepspeed.utils.mixed_precision_linkage import lazy_init_hp_params_optimizer_state
from torch import Tensor, nn

from training.full_weights import masters_without_zero
from training.parameter_states import MOMENTUM, STEP, WEIGHT, ParameterState
from training.tensor_parallel import LayerShare


def put_all(engine: Any, states: Iterator[ParameterState], share: LayerShare | None = None) -> None:
    """Put parameters and their states into an engine that has done no step, by all ranks together.

    Args:
        engine: DeepSpeed's engine.
        states: Of all parameters, whole, in any order that is the same on all ranks.
        share: Of this rank, where ranks share layers.
    """
    optimizer = engine.optimizer
    masters = masters_without_zero(optimizer)
    is_plain = isinstance(optimizer, torch.optim.Optimizer)
    zero = None if is_plain or masters else _Zero(engine)
    names = {id(parameter): name for name, parameter in engine.module.named_parameters()}
    for parameter, whole in states:
        values = whole if share is None else _part(names[id(parameter)], whole, share)
        if zero is not None:
            zero.put(parameter, values)
        elif is_plain:
            _put_into_plain(parameter, optimizer, values)
        else:
            _put_into_plain(masters[id(parameter)], optimizer.optimizer, values)
            parameter.copy_(masters[id(parameter)])


def _part(name: str, whole: Mapping[str, Any], share: LayerShare) -> dict[str, Any]:
    """What of a parameter's states this rank has, where ranks share layers."""
    return {key: value if key == STEP else share.part(name, value) for key, value in whole.items()}


def _put_into_plain(parameter: nn.Parameter, optimizer: torch.optim.Optimizer, values: Mapping[str, Any]) -> None:
    state = optimizer.state[parameter]
    for key, value in values.items():
        if key == WEIGHT:
            parameter.copy_(value.view_as(parameter))
        elif key == STEP:
            state[key] = _as_step(value, optimizer, parameter.device)
        else:
            state[key] = value.to(parameter.device, parameter.dtype, copy=True).view_as(parameter)


def _as_step(value: Any, optimizer: torch.optim.Optimizer, device: torch.device) -> Tensor | int:
    """A count of steps: PyTorch's Adam has it in tensors, DeepSpeed's optimizers in numbers."""
    if isinstance(optimizer, torch.optim.Adam):
        return torch.as_tensor(value, dtype=torch.float32).to(device, copy=True)
    return int(value)


class _Zero:
    """Where ZeRO has weights and states: in flat masters of groups of parameters, of which each rank has a part."""

    def __init__(self, engine: Any) -> None:
        self._device, self._zero, self._states = engine.device, engine.optimizer, engine.optimizer.optimizer.state
        self._of_stage_3 = hasattr(self._zero, "fp32_partitioned_groups_flat")
        groups, flats = (
            (self._zero.fp16_groups, self._zero.fp32_partitioned_groups_flat)
            if self._of_stage_3
            else (self._zero.bit16_groups, self._zero.single_partition_of_fp32_groups)
        )
        self._groups = {
            id(parameter): (group, flat) for group, flat in zip(groups, flats, strict=True) for parameter in group
        }
        self._momenta = {} if self._of_stage_3 or self._zero.cpu_offload else _whole_momenta(self._zero)

    def put(self, parameter: nn.Parameter, values: Mapping[str, Any]) -> None:
        """A parameter's weight and states; what its group lacks is made, as DeepSpeed does in the first step."""
        group, flat = self._groups[id(parameter)]
        state = self._states[flat]
        for key, value in values.items():
            if key == STEP:
                state[key] = _as_step(value, self._zero.optimizer, flat.device)
            elif key == WEIGHT:
                self._set(parameter, value)
                self._copy(parameter, value)
            elif id(parameter) in self._momenta:
                self._momenta[id(parameter)].copy_(value.flatten())
            else:
                if key not in state:
                    state[key] = torch.zeros_like(flat)
                    if not self._of_stage_3:
                        lazy_init_hp_params_optimizer_state(group, flat, self._states)
                self._set(parameter, value, key)

    def _set(self, parameter: Any, value: Tensor, key: str | None = None) -> None:
        """This rank's part of the master, or of a state."""
        moved = value.float().to(self._device)
        if self._of_stage_3:
            # DeepSpeed's own function for whole values fails where ranks do not divide them.
            length = parameter.ds_tensor.numel()
            share = moved.flatten()[dist.get_rank() * length :][:length]
            self._zero.set_local_hp_param(nn.functional.pad(share, (0, length - share.numel())), parameter, key)
        else:
            parameter.set_full_hp_param(moved, key)

    def _copy(self, parameter: nn.Parameter, value: Tensor) -> None:
        """To what the model calculates with."""
        sharded = [parameter] if self._of_stage_3 else []
        with deepspeed.zero.GatheredParameters(sharded, modifier_rank=0, enabled=self._of_stage_3):
            if not sharded or dist.get_rank() == 0:
                parameter.data.copy_(value.view_as(parameter))


def _whole_momenta(zero: Any) -> dict[int, Tensor]:
    """Muon's momenta under stages 1 and 2, by the ids of this rank's matrices, made and flat.

    To orthogonalise it a rank has the whole momentum of each matrix that it has a part of, one after the other.
    """
    found: dict[int, Tensor] = {}
    for group, matrices in zip(zero.optimizer.param_groups, zero.params_in_partition, strict=True):
        if group.get("use_muon"):
            (flat,) = group["params"]
            sizes = [matrix.numel() for matrix in matrices]
            momentum = torch.zeros(sum(sizes), device=flat.device)
            zero.optimizer.state[flat] = {MOMENTUM: momentum}
            found |= {id(matrix): part for matrix, part in zip(matrices, torch.split(momentum, sizes), strict=True)}
    return found
