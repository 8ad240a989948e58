"""Layers shared by several ranks: each has a part of the heads and of the feed-forward's width.

Tensor parallelism (Shoeybi et al. 2019, arXiv:1909.08053, section 3): what makes queries, keys, values and the
feed-forward's inner values is parted by outputs (column-parallel), what comes after them by inputs (row-parallel), so
that a block sums twice in each direction. So is every expert of a mixture, with one sum of all; the router is whole on
every rank, as are embedding, output layer and norms. DeepSpeed's own layers for it (AutoTP) sum five times in the
backward pass, once for each matrix that is parted by outputs, and break a compiled graph at every sum; its groups of
ranks and its norms of gradients are used.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
import torch.nn.functional as F
from deepspeed.checkpoint.constants import (
    PARAMETER_TO_AVERAGE_PATTERNS,
    PARAMETER_WITH_ROW_PARALLELISM_PATTERNS,
    UNIVERSAL_CHECKPOINT_INFO,
)
from deepspeed.utils import groups
from torch import Tensor, nn
from torch.distributed._functional_collectives import all_reduce, wait_tensor

from training.float8 import Float8Linear, float8_product
from training.models.experts import Mixture

_COLUMN = re.compile(r"\.(attention\.(query|key|value)|feed_forward\.(experts\.\d+\.)?(gate|up))\.(weight|bias)$")
_ROW = re.compile(r"\.(attention\.output|feed_forward\.(experts\.\d+\.)?down)\.weight$")
_OF_HEADS = re.compile(r"\.attention\.(query|key)_norm\.")


class LayerShare(NamedTuple):
    """A rank's part of layers.

    Attributes:
        group: The ranks that share layers, one after the other.
        replicas: The ranks that have the same parts.
        number: Of this rank within the group.
        ranks: Of the group.
    """

    group: dist.ProcessGroup
    replicas: dist.ProcessGroup
    number: int
    ranks: int

    def part(self, name: str, whole: Tensor) -> Tensor:
        """This rank's part of a parameter, or of what an optimizer keeps in its shape."""
        dimension = parted_dimension(name)
        return whole if dimension is None else whole.chunk(self.ranks, dimension)[self.number].contiguous()

    def whole(self, name: str, part: Tensor) -> Tensor:
        """All parts of a parameter together, by all ranks of the group."""
        if parted_dimension(name) is None:
            return part
        parts = [torch.empty_like(part) for _ in range(self.ranks)]
        dist.all_gather(parts, part.contiguous(), group=self.group)
        return joined(name, parts)


def make_layer_share(ranks: int) -> LayerShare | None:
    """The share of this rank, where so many ranks one after the other share every layer; None for one.

    All ranks of the training have to call it.
    """
    if ranks == 1:
        return None
    groups._init_tp_mesh_device(tensor_model_parallel_size=ranks)
    group = groups.get_tensor_model_parallel_group()
    return LayerShare(group, groups.get_data_parallel_group(), dist.get_rank(group), ranks)


def parted_dimension(name: str) -> int | None:
    """The dimension in which ranks have parts of a parameter; None where each has all of it."""
    if _COLUMN.search(name):
        return 0
    return 1 if _ROW.search(name) else None


def part_shape(name: str, shape: torch.Size, ranks: int) -> torch.Size:
    """Of what a rank has of a parameter of a shape."""
    return torch.Size(size // ranks if at == parted_dimension(name) else size for at, size in enumerate(shape))


def whole_shape(name: str, shape: torch.Size, ranks: int) -> torch.Size:
    """Of a parameter, of which a rank has so much."""
    return torch.Size(size * ranks if at == parted_dimension(name) else size for at, size in enumerate(shape))


def joined(name: str, parts: Sequence[Tensor]) -> Tensor:
    """A parameter from what all ranks of a group have of it, or of its states."""
    dimension = parted_dimension(name)
    if dimension is None or len(parts) == 1 or not parts[0].dim():
        return parts[0]
    return torch.cat(list(parts), dimension)


def is_part(parameter: Tensor) -> bool:
    """Whether it is a part of a layer's weights, and others have other parts."""
    return getattr(parameter, "tensor_model_parallel", False)


def share_layers(model: nn.Module, share: LayerShare) -> None:
    """Let the layers of ranks that have parts of them work together; before there is an optimizer.

    Args:
        model: Of the shape ``ModelSettings.part``.
        share: Of this rank.
    """
    names = [name for name, _ in model.named_parameters()]
    whole = [f"{re.escape(name)}$" for name in names if parted_dimension(name) is None]
    by_inputs = [f"{re.escape(name)}$" for name in names if parted_dimension(name) == 1]
    # How DeepSpeed's universal checkpoints are put together; what is named in neither is parted by outputs.
    patterns = {PARAMETER_TO_AVERAGE_PATTERNS: whole, PARAMETER_WITH_ROW_PARALLELISM_PATTERNS: by_inputs}
    setattr(model, UNIVERSAL_CHECKPOINT_INFO, patterns)
    for name, parameter in model.named_parameters():
        if parted_dimension(name) is not None:
            # Others count once in DeepSpeed's norm of the gradients.
            parameter.tensor_model_parallel = True  # type: ignore[attr-defined]
        elif _OF_HEADS.search(name):
            parameter.register_hook(lambda gradient: _summed(gradient, share.group))  # type: ignore[no-untyped-call]
    mixtures = [layer for layer in model.modules() if isinstance(layer, Mixture)]
    for mixture in mixtures:
        # Each rank has a part of every expert: the sum is over what they have mixed, once, and not for each expert.
        mixture.register_forward_pre_hook(_Entrance(share.group, inputs=2))
        mixture.register_forward_hook(lambda _, inputs, part: _Sum.apply(part, share.group))  # type: ignore[no-untyped-call]
    of_mixtures = {expert for mixture in mixtures for expert in mixture}
    for layer in [layer for layer in model.modules() if layer not in of_mixtures]:
        for name in ("output", "down"):
            if isinstance(last := getattr(layer, name, None), nn.Linear):
                setattr(layer, name, _RowParallel(last, share.group))
                layer.register_forward_pre_hook(_Entrance(share.group))


class _Entrance:
    """What comes into a shared layer is whole on every rank; its gradient is the sum of theirs."""

    def __init__(self, group: dist.ProcessGroup, *, inputs: int = 1) -> None:
        self._group, self._inputs = group, inputs

    def __call__(self, _: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        copied = [_Copy.apply(x, self._group) for x in inputs[: self._inputs]]  # type: ignore[no-untyped-call]
        return *copied, *inputs[self._inputs :]


class _RowParallel(nn.Linear):
    """A linear layer of which each rank has a part of the inputs; the bias is added once, to the sum."""

    def __init__(self, part: nn.Linear, group: dist.ProcessGroup) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = part.weight.shape[1], part.weight.shape[0]
        self.weight, self.bias = part.weight, part.bias
        self._group = group
        self._float8 = isinstance(part, Float8Linear)

    def forward(self, x: Tensor) -> Tensor:
        """[..., inputs / ranks] to [..., outputs]."""
        product = float8_product if self._float8 and self.training else F.linear
        summed: Tensor = _Sum.apply(product(x, self.weight), self._group)  # type: ignore[no-untyped-call]
        return summed if self.bias is None else summed + self.bias


def _summed(part: Tensor, group: dist.ProcessGroup) -> Tensor:
    summed: Tensor = wait_tensor(all_reduce(part.contiguous(), "sum", group))  # type: ignore[no-untyped-call]
    return summed


class _Copy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: dist.ProcessGroup) -> Tensor:
        ctx.group = group
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _summed(gradient, ctx.group), None


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: dist.ProcessGroup) -> Tensor:
        return _summed(x, group)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None
