"""What a checkpoint of DeepSpeed's holds of each parameter, whatever ZeRO stage has written it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from training.checkpoint import Checkpoint
from training.full_weights import full_shape
from training.models import ModelSettings, build_model
from training.optimizer_settings import OptimizerSettings
from training.optimizers import parameter_groups
from training.snapshot import load_data
from training.tensor_parallel import joined, part_shape

WEIGHT, STEP, MOMENTUM = "fp32", "step", "momentum_buffer"
PLAIN = "mp_rank_{part:02d}_model_states.pt"
"""All of stage 0, for each of the ranks that share layers."""
_OF_RANK = "*zero_pp_rank_{rank}_mp_rank_{part:02d}_{kind}_states.pt"
"""Of the other stages; in bfloat16 its name begins with that."""

ParameterState = tuple[nn.Parameter, dict[str, Any]]
"""A parameter, and of it: ``WEIGHT`` and the optimizer's tensors by their names, whole; ``STEP``, a number."""


def whole_states(
    folder: Path, checkpoint: Checkpoint, module: nn.Module, model: ModelSettings, optimizer: OptimizerSettings
) -> Iterator[ParameterState]:
    """Of all parameters.

    Args:
        folder: Of the checkpoint.
        checkpoint: Its record.
        module: The model.
        model, optimizer: Its settings.
    """
    ranks, parts = checkpoint.ranks, checkpoint.tensor_ranks
    if checkpoint.zero_stage == 0:
        yield from plain_states(folder, module, model, optimizer, parts=parts)
    elif checkpoint.zero_stage == 3:
        yield from partitioned_states(folder, module, ranks=ranks)
    else:
        parameters = dict(module.named_parameters())
        for name, state in sliced_states(folder, whole_shapes(model), ranks=ranks, parts=parts):
            yield parameters[name], state


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
    """Names of the parameters in the order of the optimizer's groups; muon puts larger matrices first."""
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    found: list[nn.Parameter] = []
    for group in parameter_groups(module, model, optimizer):
        of_muon = group.get("use_muon", False)
        found += sorted(group["params"], key=full_shape, reverse=True) if of_muon else group["params"]
    return [names[id(parameter)] for parameter in found]


def _plain_state(states: Mapping[str, Any], number: int) -> Mapping[str, Any]:
    """Nothing where an optimizer keeps nothing: SGD without momentum."""
    state: Mapping[str, Any] = states.get("optimizer_state_dict", states)["state"].get(number, {})
    return state


def whole_shapes(model: ModelSettings) -> dict[str, torch.Size]:
    """Of all parameters, by name."""
    with torch.device("meta"):
        return {name: value.shape for name, value in build_model(model).named_parameters()}


def sliced_states(
    folder: Path, shapes: Mapping[str, torch.Size], *, ranks: int, parts: int = 1
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Of stages 1 and 2, by name: each rank has a slice of every group of parameters, laid flat one after the other.

    Args:
        folder: Of the checkpoint.
        shapes: Of whole parameters.
        ranks: That have written it.
        parts: Ranks that shared layers.
    """
    slices = [[_slices(folder, rank, part, shapes) for rank in range(ranks // parts)] for part in range(parts)]
    for name, shape in shapes.items():
        states = [_put_together([one[name] for one in of_part if name in one]) for of_part in slices]
        of_part = part_shape(name, shape, parts)
        yield (
            name,
            {
                key: joined(name, [state[key].view(of_part) for state in states]) if _is_flat(value) else value
                for key, value in states[0].items()
            },
        )


def _slices(folder: Path, rank: int, part: int, shapes: Mapping[str, torch.Size]) -> dict[str, dict[str, Any]]:
    """What a rank has of each parameter."""
    content = load_data(_file(folder, rank, "optim", part=part), map_location="cpu")
    zero = content["optimizer_state_dict"]
    optimizer = zero["base_optimizer_state"]
    groups = zip(
        optimizer["param_groups"], zero["single_partition_of_fp32_groups"], zero["param_slice_mappings"], strict=True
    )
    found = {}
    for number, (group, flat, places) in enumerate(groups):
        states = optimizer["state"].get(number, {})
        values = {WEIGHT: flat, **{key: value for key, value in states.items() if value is not None}}
        whole = {}
        if group.get("use_muon") and places and not _is_offloaded(content["ds_config"]):
            whole = _whole_momenta(values.pop(MOMENTUM), {name: shapes[name] for name in places})
        for name, place in places.items():
            found[name] = {
                key: value[place.start : place.start + place.numel] if _is_flat(value) else value
                for key, value in values.items()
            } | whole.get(name, {})
    return found


def _is_offloaded(deepspeed: Mapping[str, Any]) -> bool:
    is_so: bool = deepspeed["zero_optimization"]["offload_optimizer"]["device"] != "none"
    return is_so


def _whole_momenta(momentum: Tensor, shapes: Mapping[str, torch.Size]) -> dict[str, dict[str, Tensor]]:
    """Of the matrices that a rank has a slice of: muon orthogonalises whole ones, except where states are offloaded."""
    parts = torch.split(momentum, [shape.numel() for shape in shapes.values()])
    return {name: {MOMENTUM: part.view(shape)} for (name, shape), part in zip(shapes.items(), parts, strict=True)}


def _put_together(slices: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A parameter's flat values from those of the ranks, in their order."""
    return {
        key: torch.cat([one[key] for one in slices]) if _is_flat(value) else value for key, value in slices[0].items()
    }


def partitioned_states(folder: Path, module: nn.Module, *, ranks: int) -> Iterator[ParameterState]:
    """Of stage 3: each rank has an equal share of every parameter, one after the other in flat groups.

    Args:
        folder: Of the checkpoint.
        module: The model.
        ranks: That have written it.
    """
    parameters = dict(module.named_parameters())
    groups = load_data(_file(folder, 0, "model"), map_location="cpu")["param_shapes"]
    shares = [_flat_groups(_file(folder, rank, "optim")) for rank in range(ranks)]
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


def _file(folder: Path, rank: int, kind: str, *, part: int = 0) -> Path:
    """Of a rank.

    Raises:
        FileNotFoundError: If it is not there.
    """
    pattern = _OF_RANK.format(rank=rank, part=part, kind=kind)
    found = next(folder.glob(pattern), None)
    if found is None:
        raise FileNotFoundError(f"{folder} has no file {pattern}")
    return found


def _flat_groups(path: Path) -> list[Mapping[str, Any]]:
    """One rank's shares, by flat group."""
    content = load_data(path, map_location="cpu")["optimizer_state_dict"]
    states = content["optimizer_state_dict"]["state"]
    return [{WEIGHT: flat, **states.get(number, {})} for number, flat in enumerate(content["fp32_flat_groups"])]


def _is_flat(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dim() == 1
