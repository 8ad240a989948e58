"""What happens inside the layers: norms of activations, gradients, updates and weights, attention, dead units.

Measured in single steps (``TrainingSettings.inspect_every``), so that it costs little: the step itself is only watched,
and one row is read once more without gradients.

For each layer (``blocks.N`` or ``layers.N``), the embedding and the output layer:

- ``weight_norm``, ``gradient_norm``, ``update_norm``: Euclidean, over all parameters of the layer; the gradient is that
  of the mean loss, before clipping. ``update_ratio`` is update / weight; about 1e-3 is usual (a rule of thumb).
- ``activation_rms``: root mean square of what the layer gives to the next one.
- ``attention_entropy``: nats, mean over heads and queries; 0 looks at one token, log(n) at n alike.
- ``dead_share``: units of the feed-forward block that no token of the row moves (below a thousandth of the largest), of
  all experts together; an expert that no token goes to is dead.

And ``logits``: their standard deviation and their largest absolute value.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from training.models import LanguageModel
from training.models.attention import watch_attention
from training.tensor_parallel import LayerShare, is_part

LAYERS = ("blocks", "layers")


def layer_of(name: str) -> str:
    """The layer that a parameter belongs to: ``blocks.3``, or its first name."""
    parts = name.split(".")
    return ".".join(parts[:2]) if parts[0] in LAYERS else parts[0]


class StepStatistics:
    """Statistics of one step: made before it, told of its gradients, asked after it. By all ranks together."""

    def __init__(self, module: LanguageModel, *, ranks: int, share: LayerShare | None = None) -> None:
        """Remember the weights: each rank some of them where several have the same.

        Args:
            module: The model.
            ranks: Processes.
            share: Of this rank, where ranks share layers.
        """
        self._module, self._ranks, self._share = module, ranks, share
        rank = torch.distributed.get_rank() if ranks > 1 else 0
        tensor_ranks = 1 if share is None else share.ranks
        self._counted = {
            name
            for number, (name, parameter) in enumerate(module.named_parameters())
            if number % (ranks // tensor_ranks) == rank // tensor_ranks
            and (is_part(parameter) or rank % tensor_ranks == 0)
        }
        self._mine = {
            name: parameter
            for name, parameter in module.named_parameters()
            if hasattr(parameter, "ds_tensor") or name in self._counted
        }
        self._before = {name: _local(parameter).detach().clone() for name, parameter in self._mine.items()}
        self._gradients: dict[str, float] = defaultdict(float)

    def gradients(self) -> None:
        """Called after the last backward pass of the step and before the optimizer."""
        from deepspeed.utils import safe_get_full_grad

        for name, parameter in self._module.named_parameters():
            gradient = parameter.grad if parameter.grad is not None else safe_get_full_grad(parameter)
            if gradient is not None:
                counted = name in self._counted
                self._gradients[layer_of(name)] += float(gradient.float().square().sum()) if counted else 0.0

    def finish(self, row: Tensor) -> dict[str, dict[str, float]]:
        """Statistics by layer, after the step.

        Args:
            row: int64 [1, time], read once more for activations.
        """
        weights: dict[str, float] = defaultdict(float)
        updates: dict[str, float] = defaultdict(float)
        for name, _ in self._module.named_parameters():
            weights[layer_of(name)] += 0.0
            updates[layer_of(name)] += 0.0
        for name, parameter in self._mine.items():
            now = _local(parameter).detach().float()
            weights[layer_of(name)] += float(now.square().sum())
            updates[layer_of(name)] += float((now - self._before[name].float()).square().sum())
        gradients = [self._gradients.get(layer, 0.0) for layer in weights]
        sums = torch.tensor([list(weights.values()), list(updates.values()), gradients], device=row.device)
        if self._ranks > 1:
            torch.distributed.all_reduce(sums)
        found: dict[str, dict[str, float]] = {}
        for layer, weight, update, gradient in zip(weights, *sums.sqrt().tolist(), strict=True):
            found[layer] = {"weight_norm": weight, "update_norm": update, "update_ratio": update / max(weight, 1e-12)}
            if layer in self._gradients:
                found[layer]["gradient_norm"] = gradient
        for layer, values in activations(self._module, row, self._share).items():
            found.setdefault(layer, {}).update(values)
        # What overflows has no place in a record; a loss that does is found by the training.
        return {
            layer: {name: value for name, value in values.items() if math.isfinite(value)}
            for layer, values in found.items()
        }


def _local(parameter: Tensor) -> Tensor:
    """The part of a parameter that lies on this rank."""
    part: Tensor = getattr(parameter, "ds_tensor", parameter)
    return part


@torch.no_grad()
def activations(module: LanguageModel, row: Tensor, share: LayerShare | None = None) -> dict[str, dict[str, float]]:
    """What layers give to each other for one row int64 [1, time], as if in evaluation."""
    found: dict[str, dict[str, float]] = defaultdict(dict)
    dead: dict[str, list[float]] = defaultdict(list)
    hooks = []

    def record_output(layer: str) -> Any:
        def hook(_: nn.Module, inputs: Any, output: Any) -> None:
            values = output[0] if isinstance(output, tuple) else output
            found[layer]["activation_rms"] = float(values.float().square().mean().sqrt())

        return hook

    def record_units(layer: str) -> Any:
        def hook(_: nn.Module, inputs: Any) -> None:
            units = inputs[0].float().abs().flatten(0, -2)
            largest = units.amax(0) if len(units) else units.new_zeros(units.shape[-1])
            most = largest.max()
            if share is not None:
                torch.distributed.all_reduce(most, torch.distributed.ReduceOp.MAX, group=share.group)
            dead[layer].append(float((largest <= 1e-3 * most).float().mean()))

        return hook

    for name, child in module.named_modules():
        parts = name.split(".")
        if name == "embedding" or (len(parts) == 2 and parts[0] in LAYERS):
            hooks.append(child.register_forward_hook(record_output(layer_of(name))))
        if parts[-1] == "down" and isinstance(child, nn.Linear):
            hooks.append(child.register_forward_pre_hook(record_units(layer_of(name))))
    training = module.training
    module.eval()
    try:
        with watch_attention() as entropies:
            logits = module.forward(row)
    finally:
        module.train(training)
        for hook in hooks:
            hook.remove()
    assert isinstance(logits, Tensor)
    found["logits"] = {"deviation": float(logits.float().std()), "largest": float(logits.float().abs().max())}
    for layer, shares in dead.items():
        found[layer]["dead_share"] = sum(shares) / len(shares)
    for number, entropy in enumerate(entropies):
        found[f"blocks.{number}"]["attention_entropy"] = entropy
    return dict(found) if share is None else _means(found, share, row.device)


def _means(
    found: Mapping[str, Mapping[str, float]], share: LayerShare, device: torch.device
) -> dict[str, dict[str, float]]:
    """Over the ranks that share layers, each with as many heads and units."""
    means = torch.tensor([value for values in found.values() for value in values.values()], device=device)
    torch.distributed.all_reduce(means, group=share.group)
    ordered = iter((means / share.ranks).tolist())
    return {layer: {name: next(ordered) for name in values} for layer, values in found.items()}
