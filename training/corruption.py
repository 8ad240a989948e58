"""Weights that silently differ: a bit that flipped in one rank's memory.

Data-parallel ranks hold the same weights, so sums of their bits must agree. Where ZeRO keeps masters, a weight is also
a rounding of its master, which is compared on the rank that holds that; under ZeRO-3 nothing else can be. What is
flipped in a master before it is used reaches all copies and cannot be seen. Where ranks share layers, those that have
the same parts of them are compared.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from training.artifact import write_atomically

DISAGREEMENT = "disagreement.json"
_BITS = {2: torch.int16, 4: torch.int32, 8: torch.int64}


class CorruptionError(RuntimeError):
    """The weights of ranks differ where they must be the same; what is in memory cannot be trusted."""


@dataclass(frozen=True)
class Disagreement:
    """Weights that differ.

    Attributes:
        step: Optimizer steps done.
        parameter: The first that differs.
        ranks: Those that differ from the others; empty where there is no majority.
        sums: Sum of the parameter's bits by rank; of parted layers each rank has its own part.
    """

    step: int
    parameter: str
    ranks: tuple[int, ...]
    sums: tuple[int, ...]

    def __str__(self) -> str:
        """In words."""
        if self.ranks:
            which = "rank " + ", ".join(map(str, self.ranks))
            return f"after step {self.step} the weights of {self.parameter} on {which} differ from what they must be"
        return (
            f"after step {self.step} the weights of {self.parameter} differ between ranks, and there is no majority: "
            "which one is wrong is seen when the step is computed again"
        )


def bit_sum(tensor: Tensor) -> Tensor:
    """Sum of a tensor's elements taken as integers, modulo 2^64; any one flipped bit changes it. int64, no shape."""
    return tensor.detach().contiguous().view(_BITS[tensor.element_size()]).sum(dtype=torch.int64)


class Copy(NamedTuple):
    """What a rank has of a parameter.

    Attributes:
        sum: Of its bits; 0 under ZeRO-3.
        right: Whether it is as its master, rounded; None where it has none.
        known: Whether the master is of all of it.
    """

    sum: int
    right: bool | None
    known: bool


def copies_by_name(module: nn.Module, *, ranks: int) -> dict[str, list[Copy]]:
    """What each rank has of each parameter; called by all together after a step."""
    mine = {name: _copy(parameter) for name, parameter in module.named_parameters()}
    found: list[dict[str, Copy]] = [mine] * ranks
    torch.distributed.all_gather_object(found, mine)
    return {name: [copies[name] for copies in found] for name in mine}


def find_disagreement(
    copies_by_name: Mapping[str, Sequence[Copy]], *, step: int, tensor_ranks: int = 1
) -> Disagreement | None:
    """Compare the weights of all ranks.

    Args:
        copies_by_name: What each rank has of each parameter.
        step: Optimizer steps done.
        tensor_ranks: That share layers.
    """
    for name, copies in copies_by_name.items():
        sums = tuple(copy.sum for copy in copies)
        faulty = tuple(rank for rank, copy in enumerate(copies) if copy.right is False)
        if faulty:
            return Disagreement(step, name, faulty, sums)
        # Ranks that share layers may each sum an embedding's gradient in another order, so only replicas are compared.
        for replicas in (range(number, len(copies), tensor_ranks) for number in range(tensor_ranks)):
            values = [sums[rank] for rank in replicas]
            if len(set(values)) > 1:
                # Who has a master of the whole weight knows what it must be.
                known = [sums[rank] for rank in replicas if copies[rank].right and copies[rank].known]
                most = known[0] if known else max(set(values), key=values.count)
                others = tuple(rank for rank in replicas if sums[rank] != most)
                majority = values.count(most) > len(values) / 2
                return Disagreement(step, name, others if known or majority else (), sums)
    return None


def _copy(parameter: nn.Parameter) -> Copy:
    right, size = _as_master(parameter)
    return Copy(0 if hasattr(parameter, "ds_tensor") else int(bit_sum(parameter)), right, size == parameter.numel())


def _as_master(parameter: nn.Parameter) -> tuple[bool | None, int]:
    """Whether this rank's part of a weight is its master, rounded, and the part's size; None where it has no master."""
    master: Tensor | None = None
    sharded: Tensor | None = getattr(parameter, "ds_tensor", None)
    if sharded is not None and hasattr(parameter, "_z3_optimizer"):
        master = parameter._z3_optimizer.get_local_fp32_param(parameter)
        part = sharded.detach().flatten()
    elif (mapping := getattr(parameter, "_hp_mapping", None)) is not None:
        master = mapping.get_hp_fragment()
        address = mapping.lp_fragment_address
        part = parameter.detach().flatten()[address.start : address.start + address.numel]
    if master is None:
        return None, 0
    rounded = master.detach().flatten()[: part.numel()].to(part.dtype)
    return torch.equal(rounded.to(part.device), part), part.numel()


def remember_disagreement(run: Path, found: Disagreement) -> None:
    """Keep it, to be judged when its step has been computed again."""
    write_atomically(run / DISAGREEMENT, json.dumps(asdict(found)))


def judge(run: Path, copies_by_name: Mapping[str, Sequence[Copy]], *, step: int) -> str:
    """Which rank was wrong, once the step of a disagreement without a majority is computed again; else nothing."""
    path = run / DISAGREEMENT
    if not path.is_file():
        return ""
    found = json.loads(path.read_text(encoding="utf-8"))
    if found["step"] != step:
        return ""
    path.unlink()
    if found["ranks"]:
        return ""
    copies = copies_by_name[found["parameter"]]
    wrong = [number for number, value in enumerate(found["sums"]) if value != copies[number].sum]
    return (
        f"step {step} computed again: the weights of {found['parameter']} had been wrong on rank "
        + ", ".join(map(str, wrong))
        + "; if it is the same one again, take its machine out"
    )
