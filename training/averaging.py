"""An exponential moving average of the weights (Polyak and Juditsky 1992; Morales-Brogueira et al., arXiv:2411.18704).

The first weights, which are random, are no part of it: with the plain average 0.999 they would be a third of it after a
thousand steps. So the weights of the steps are weighted as Adam weights its gradients (arXiv:1412.6980, section 3).

Each rank keeps a part of every parameter in float32: 4 bytes a parameter over all ranks that have it together, whatever
the ZeRO stage. What is saved is cut the same way, and is cut anew where another number of ranks goes on, or ranks share
layers otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from training.full_weights import full_shape
from training.tensor_parallel import LayerShare, joined, part_shape, whole_shape

NAME = "average-{rank:05d}.safetensors"


class WeightAverage:
    """The average of a module's weights; all ranks make it and use it together."""

    def __init__(
        self, module: nn.Module, *, decay: float, rank: int, ranks: int, share: LayerShare | None = None
    ) -> None:
        """Before the first step, or before ``load``.

        Args:
            module: Whole on every rank, or sharded by ZeRO-3.
            decay: Share of the average that stays in a step.
            rank, ranks: Whose part it is.
            share: Of this rank, where ranks share layers.
        """
        self._module, self._decay, self._share = module, decay, share
        self._file = NAME.format(rank=rank)
        # Those that have the same parts of layers divide them further.
        self._tensor_ranks = 1 if share is None else share.ranks
        self._rank, self._ranks = rank // self._tensor_ranks, ranks // self._tensor_ranks
        self._parts = {name: self._part(parameter).float().clone() for name, parameter in module.named_parameters()}

    @torch.no_grad()
    def update(self, steps: int) -> None:
        """After a step: average = sum over steps of decay^(steps - step) * weights, divided by the sum of the factors.

        Args:
            steps: How many have changed the weights, this one counted in.
        """
        parts = list(self._parts.values())
        now = [self._part(parameter).float() for _, parameter in self._module.named_parameters()]
        torch._foreach_lerp_(parts, now, (1 - self._decay) / (1 - self._decay**steps))

    def path(self, folder: Path) -> Path:
        """Of the file with this rank's part in a checkpoint's folder."""
        return folder / self._file

    def taken(self) -> dict[str, Tensor]:
        """A copy of this rank's part on the CPU."""
        return {name: part.to("cpu", copy=True).contiguous() for name, part in self._parts.items()}

    def load(self, folder: Path, *, tensor_ranks: int = 1) -> None:
        """Read the parts that any number of ranks have saved.

        Args:
            folder: Of the checkpoint.
            tensor_ranks: Ranks that shared layers then.

        Raises:
            OSError, KeyError: If they are not all there.
        """
        named = dict(self._module.named_parameters())
        shapes = {name: whole_shape(name, full_shape(value), self._tensor_ranks) for name, value in named.items()}
        for name, whole in _averages(folder, shapes, tensor_ranks):
            mine = whole if self._share is None else self._share.part(name, whole)
            self._parts[name].copy_(self._cut(mine.flatten(), named[name]).to(self._parts[name].device))

    @torch.no_grad()
    def full(self, name: str, parameter: Tensor) -> Tensor:
        """The whole average of a parameter, float32, on every rank."""
        part = self._parts[name]
        whole = part
        if self._ranks > 1:
            parts = [torch.empty_like(part) for _ in range(self._ranks)]
            torch.distributed.all_gather(parts, part, group=None if self._share is None else self._share.replicas)
            whole = torch.cat(parts)
        whole = whole[: full_shape(parameter).numel()].view(full_shape(parameter))
        return whole if self._share is None else self._share.whole(name, whole)

    def _part(self, parameter: Tensor) -> Tensor:
        """This rank's part of a parameter, flat; the last one is filled up with zeros."""
        sharded: Any = getattr(parameter, "ds_tensor", None)
        if sharded is not None:
            flat: Tensor = sharded.detach().flatten()
            return flat
        return self._cut(parameter.detach().flatten(), parameter)

    def _cut(self, flat: Tensor, parameter: Tensor) -> Tensor:
        length = -(-full_shape(parameter).numel() // self._ranks)
        part = flat[self._rank * length : (self._rank + 1) * length]
        return part if len(part) == length else torch.nn.functional.pad(part, (0, length - len(part)))


def read_average(folder: Path, shapes: Mapping[str, torch.Size], *, tensor_ranks: int = 1) -> dict[str, Tensor]:
    """The whole averages of a checkpoint, float32 on the CPU.

    Args:
        folder: Of the checkpoint.
        shapes: Of whole parameters.
        tensor_ranks: Ranks that shared layers then.

    Raises:
        OSError, KeyError: If they are not all there.
    """
    return dict(_averages(folder, shapes, tensor_ranks))


def _averages(folder: Path, shapes: Mapping[str, torch.Size], tensor_ranks: int) -> Iterator[tuple[str, Tensor]]:
    files = sorted(folder.glob(NAME.format(rank=0).replace("00000", "*")))
    if not files:
        raise FileNotFoundError(f"{folder} holds no average of the weights; set 'averaging' to 0")
    saved = [load_file(file) for file in files]
    for name, shape in shapes.items():
        of_part = part_shape(name, shape, tensor_ranks)
        flat = [torch.cat([one[name] for one in saved[number::tensor_ranks]]) for number in range(tensor_ranks)]
        yield name, joined(name, [values[: of_part.numel()].view(of_part) for values in flat])


def averaged_weights(average: WeightAverage, named: Iterable[tuple[str, Tensor]], *, keep: bool) -> dict[str, Tensor]:
    """All averages by name, on the CPU; by all ranks together, kept where ``keep`` is."""
    weights = {}
    for name, parameter in named:
        whole = average.full(name, parameter)
        if keep:
            weights[name] = whole.cpu()
    return weights
