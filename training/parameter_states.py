"""What a checkpoint of DeepSpeed's holds of each parameter, whatever ZeRO stage has written it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from training.models import ModelSettings
from training.optimizer_settings import OptimizerSettings
from training.optimizers import parameter_groups
from training.snapshot import load_data
from training.tensor_parallel import joined

WEIGHT, STEP = "fp32", "step"
PLAIN = "mp_rank_{part:02d}_model_states.pt"
"""All of stage 0, for each of the ranks that share layers."""
_OF_RANK = "zero_pp_rank_{rank}_mp_rank_00_{kind}_states.pt"

ParameterState = tuple[nn.Parameter, dict[str, Any]]
"""A parameter, and of it: ``WEIGHT`` and the optimizer's tensors by their names, whole; ``STEP``, a number."""


def plain_states(
    folder: Path, module: nn.Module, model: ModelSettings, optimizer: OptimizerSettings, *, parts: int = 1
) -> Iterator[ParameterState]:
    """Of stage 0: PyTorch numbers an optimizer's parameters in the order of its groups.

    Args:
        folder: Of the checkpoint.
        module: The model.
        model, optimizer: Its settings.
        parts: Ranks that shared layers.
    """
    contents = [load_data(folder / PLAIN.format(part=part), map_location="cpu") for part in range(parts)]
    parameters = dict(module.named_parameters())
    weights = [plain_weights(content, module, model, optimizer) for content in contents]
    for number, name in enumerate(_in_groups(module, model, optimizer)):
        states = [
            {WEIGHT: whole[name], **_plain_state(content["optimizer"], number)}
            for whole, content in zip(weights, contents, strict=True)
        ]
        yield parameters[name], {key: joined(name, [state[key] for state in states]) for key in states[0]}


def plain_weights(
    content: Mapping[str, Any], module: nn.Module, model: ModelSettings, optimizer: OptimizerSettings
) -> Mapping[str, Tensor]:
    """Of stage 0, by name: in bfloat16 the masters that DeepSpeed keeps, in the order of the optimizer's groups.

    Args:
        content: Of a rank's file.
        module: The model.
        model, optimizer: Its settings.
    """
    masters = content.get("optimizer", {}).get("fp32_groups")
    if masters is None:
        weights: Mapping[str, Tensor] = content["module"]
        return weights
    ordered = [master for group in masters for master in group]
    return dict(zip(_in_groups(module, model, optimizer), ordered, strict=True))


def _in_groups(module: nn.Module, model: ModelSettings, optimizer: OptimizerSettings) -> list[str]:
    """Names of the parameters in the order of the optimizer's groups."""
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    groups = parameter_groups(module, model, optimizer)
    return [names[id(parameter)] for group in groups for parameter in group["params"]]


def _plain_state(states: Mapping[str, Any], number: int) -> Mapping[str, Any]:
    """Nothing where an optimizer keeps nothing: SGD without momentum."""
    state: Mapping[str, Any] = states.get("optimizer_state_dict", states)["state"].get(number, {})
    return state


def universal_states(folder: Path, module: nn.Module) -> Iterator[ParameterState]:
    """Of DeepSpeed's universal form, which is made of checkpoints of stages 1 and 2."""
    for name, parameter in module.named_parameters():
        values = {}
        for path in sorted((folder / "zero" / name).glob("*.pt")):
            value = load_data(path, map_location="cpu")
            values[path.stem] = value["param"] if isinstance(value, dict) else value
        yield parameter, values


def partitioned_states(folder: Path, module: nn.Module, *, ranks: int) -> Iterator[ParameterState]:
    """Of stage 3: each rank has an equal share of every parameter, one after the other in flat groups.

    Args:
        folder: Of the checkpoint.
        module: The model.
        ranks: That have written it.
    """
    parameters = dict(module.named_parameters())
    groups = load_data(folder / _OF_RANK.format(rank=0, kind="model"), map_location="cpu")["param_shapes"]
    shares = [_flat_groups(folder / _OF_RANK.format(rank=rank, kind="optim")) for rank in range(ranks)]
    for number, shapes in enumerate(groups):
        begin = 0
        for name, shape in shapes.items():
            count = prod(shape)
            # The last shares are filled up.
            share = -(-count // ranks)
            yield (
                parameters[name],
                {
                    key: torch.cat([flat[number][key][begin : begin + share] for flat in shares])[:count].view(shape)
                    if _is_flat(value)
                    else value
                    for key, value in shares[0][number].items()
                },
            )
            begin += share


def _flat_groups(path: Path) -> list[Mapping[str, Any]]:
    """One rank's shares, by flat group."""
    content = load_data(path, map_location="cpu")["optimizer_state_dict"]
    states = content["optimizer_state_dict"]["state"]
    return [{WEIGHT: flat, **states.get(number, {})} for number, flat in enumerate(content["fp32_flat_groups"])]


def _is_flat(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dim() == 1
