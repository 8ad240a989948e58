"""An exponential moving average of the weights (Polyak and Juditsky 1992; Morales-Brogueira et al., arXiv:2411.18704).

Each rank keeps a part of every parameter in float32: 4 bytes a parameter over all ranks together, whatever the ZeRO
stage. What is saved is cut the same way, and is cut anew where another number of ranks goes on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

NAME = "average-{rank:05d}.safetensors"


class WeightAverage:
    """The average of a module's weights; all ranks make it and use it together."""

    def __init__(self, module: nn.Module, *, decay: float, rank: int, ranks: int) -> None:
        """Begin with the weights as they are.

        Args:
            module: Whole on every rank, or sharded by ZeRO-3.
            decay: Share of the average that stays in a step.
            rank, ranks: Whose part it is.
        """
        self._module, self._decay, self._rank, self._ranks = module, decay, rank, ranks
        self._parts = {name: self._part(parameter).float().clone() for name, parameter in module.named_parameters()}

    @torch.no_grad()
    def update(self) -> None:
        """After a step: average = decay * average + (1 - decay) * weights."""
        parts = list(self._parts.values())
        now = [self._part(parameter).float() for _, parameter in self._module.named_parameters()]
        torch._foreach_lerp_(parts, now, 1 - self._decay)

    def path(self, folder: Path) -> Path:
        """Of the file with this rank's part in a checkpoint's folder."""
        return folder / NAME.format(rank=self._rank)

    def taken(self) -> dict[str, Tensor]:
        """A copy of this rank's part on the CPU."""
        return {name: part.to("cpu", copy=True).contiguous() for name, part in self._parts.items()}

    def load(self, folder: Path) -> None:
        """Read the parts that any number of ranks have saved.

        Raises:
            OSError, KeyError: If they are not all there.
        """
        files = sorted(folder.glob(NAME.format(rank=0).replace("00000", "*")))
        if not files:
            raise FileNotFoundError(f"{folder} holds no average of the weights; set 'averaging' to 0")
        saved = [load_file(file) for file in files]
        for name, parameter in self._module.named_parameters():
            whole = torch.cat([parts[name] for parts in saved])[: _size(parameter)]
            self._parts[name].copy_(self._cut(whole, parameter).to(self._parts[name].device))

    @torch.no_grad()
    def full(self, name: str, parameter: Tensor) -> Tensor:
        """The whole average of a parameter, float32, on every rank."""
        part = self._parts[name]
        whole = part
        if self._ranks > 1:
            parts = [torch.empty_like(part) for _ in range(self._ranks)]
            torch.distributed.all_gather(parts, part)
            whole = torch.cat(parts)
        return whole[: _size(parameter)].view(getattr(parameter, "ds_shape", parameter.shape))

    def _part(self, parameter: Tensor) -> Tensor:
        """This rank's part of a parameter, flat; the last one is filled up with zeros."""
        sharded: Any = getattr(parameter, "ds_tensor", None)
        if sharded is not None:
            flat: Tensor = sharded.detach().flatten()
            return flat
        return self._cut(parameter.detach().flatten(), parameter)

    def _cut(self, flat: Tensor, parameter: Tensor) -> Tensor:
        length = -(-_size(parameter) // self._ranks)
        part = flat[self._rank * length : (self._rank + 1) * length]
        return part if len(part) == length else torch.nn.functional.pad(part, (0, length - len(part)))


def _size(parameter: Tensor) -> int:
    size: int = getattr(parameter, "ds_numel", parameter.numel())
    return size


def read_average(folder: Path, shapes: Mapping[str, torch.Size]) -> dict[str, Tensor]:
    """The whole averages of a checkpoint, float32 on the CPU."""
    saved = [load_file(file) for file in sorted(folder.glob(NAME.format(rank=0).replace("00000", "*")))]
    return {
        name: torch.cat([parts[name] for parts in saved])[: shape.numel()].view(shape) for name, shape in shapes.items()
    }


def averaged_weights(average: WeightAverage, named: Iterable[tuple[str, Tensor]], *, keep: bool) -> dict[str, Tensor]:
    """All averages by name, on the CPU; by all ranks together, kept where ``keep`` is."""
    weights = {}
    for name, parameter in named:
        whole = average.full(name, parameter)
        if keep:
            weights[name] = whole.cpu()
    return weights
