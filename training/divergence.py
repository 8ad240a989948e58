"""Where a loss stopped being a number: which layer, which step, which documents."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from training.loader import SampleReader
from training.models import LanguageModel
from training.shards import Shards

_MOST_NAMED = 8


class DivergedError(RuntimeError):
    """The loss is no finite number any more; the message says where, and what to change."""


def first_wrong_layer(module: LanguageModel, tokens: Tensor) -> str:
    """The first parameter that is no finite number, or else the first layer that makes one of these rows so.

    Args:
        module: The model; where ranks have parts of its weights called by all together.
        tokens: int64 [batch, time].
    """
    parts = ((name, getattr(parameter, "ds_tensor", parameter)) for name, parameter in module.named_parameters())
    wrong = next((name for name, part in parts if not bool(torch.isfinite(part).all())), None)
    found: list[str] = []

    def watch(name: str) -> Any:
        def hook(_: nn.Module, inputs: Any, output: Any) -> None:
            values = output[0] if isinstance(output, tuple) else output
            if isinstance(values, Tensor) and values.is_floating_point() and not bool(torch.isfinite(values).all()):
                found.append(name)

        return hook

    leaves = [(name, child) for name, child in module.named_modules() if name and not list(child.children())]
    hooks = [child.register_forward_hook(watch(name)) for name, child in leaves]
    try:
        with torch.no_grad():
            module.forward(tokens)
    finally:
        for hook in hooks:
            hook.remove()
    # Not before: what is wrong on one rank may be right on another, which waits for it in the layers.
    if wrong:
        return f"the weights of {wrong} are no finite numbers"
    if found:
        return f"{found[0]} is the first layer whose values are no finite numbers"
    return "weights and values of the layers are finite, the gradients were not"


def documents_of_step(reader: SampleReader, sources: list[Shards], step: int) -> list[str]:
    """Ids of the documents that a step of the order reads, in its order, each once."""
    first, batch, _ = reader.order.step(step)
    found: dict[str, None] = {}
    for number in range(first, first + batch):
        source, positions = reader.positions(number)
        inside = positions[positions >= 0]
        for run in np.split(inside, np.flatnonzero(np.diff(inside) != 1) + 1):
            if run.size:
                for span in sources[source].train.spans(int(run[0]), run.size):
                    found.setdefault(span.doc_id)
    return list(found)


def first_of_many(documents: list[str]) -> str:
    """The first few of many documents, for a message."""
    shown = ", ".join(documents[:_MOST_NAMED])
    return shown if len(documents) <= _MOST_NAMED else f"{shown} and {len(documents) - _MOST_NAMED} more"
