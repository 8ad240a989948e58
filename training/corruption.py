"""Weights that silently differ: a bit that flipped in one rank's memory.

Data-parallel ranks hold the same weights, so sums of their bits must agree. Where ZeRO keeps masters, a weight is also
a rounding of its master, which is compared on the rank that holds that; under ZeRO-3 nothing else can be. What is
flipped in a master before it is used reaches all copies and cannot be seen.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

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
        sums: Sum of the parameter's bits by rank.
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


def find_disagreement(module: nn.Module, *, step: int, rank: int, ranks: int) -> Disagreement | None:
    """Compare the weights of all ranks; called by all together after a step.

    Args:
        module: Under ZeRO-3 sharded, otherwise whole on every rank.
        step: Optimizer steps done.
        rank, ranks: Of this process.
    """
    named = list(module.named_parameters())
    whole = [not hasattr(parameter, "ds_tensor") for _, parameter in named]
    sums = [int(bit_sum(parameter)) if here else 0 for (_, parameter), here in zip(named, whole, strict=True)]
    by_master = [_as_master(parameter) for _, parameter in named]
    found: list[Any] = [None] * ranks
    torch.distributed.all_gather_object(found, (sums, by_master))
    for number, (name, parameter) in enumerate(named):
        by_rank = tuple(one[0][number] for one in found)
        masters = [one[1][number] for one in found]
        faulty = tuple(one for one, (right, _) in enumerate(masters) if right is False)
        if faulty:
            return Disagreement(step, name, faulty, by_rank)
        if len(set(by_rank)) > 1:
            # Who has a master of the whole weight knows what it must be.
            known = [by_rank[one] for one, (right, size) in enumerate(masters) if right and size == parameter.numel()]
            most = known[0] if known else max(set(by_rank), key=by_rank.count)
            others = tuple(one for one, value in enumerate(by_rank) if value != most)
            majority = by_rank.count(most) > ranks / 2
            return Disagreement(step, name, others if known or majority else (), by_rank)
    return None


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


def judge(run: Path, module: nn.Module, *, step: int) -> str:
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
    parameter = dict(module.named_parameters())[found["parameter"]]
    right = int(bit_sum(parameter))
    wrong = [number for number, value in enumerate(found["sums"]) if value != right]
    return (
        f"step {step} computed again: the weights of {found['parameter']} had been wrong on rank "
        + ", ".join(map(str, wrong))
        + "; if it is the same one again, take its machine out"
    )
