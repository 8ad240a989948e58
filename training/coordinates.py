"""The coordinate check of width transfer: how far a few steps move what layers give, at several widths.

Under ``initialisation: mup`` the movement is the same at every width, so that a rate tuned on a narrow model holds for
a wide one; otherwise it grows with the width (Yang et al., arXiv:2203.03466, appendix D.1).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from training.initialisation import initialise
from training.models import ModelSettings, build_model
from training.optimizer_settings import OptimizerSettings
from training.optimizers import build_optimizer


def movements(
    model: ModelSettings, optimizer: OptimizerSettings, *, widths: Sequence[int], steps: int, seeds: int = 3
) -> dict[int, dict[str, float]]:
    """Root mean square of the change of the last hidden state and of the logits after some steps, by width.

    The shape is scaled with the width. Rows are random.

    Args:
        model: Shape at its own width, which is the base width of mup.
        optimizer: The optimizer.
        widths: Multiples of the model's width.
        steps: Optimizer steps on the same rows.
        seeds: First weights and rows that are averaged over.
    """
    found = {}
    for width in widths:
        moved = [_movement(widened(model, width), optimizer, steps=steps, seed=seed) for seed in range(seeds)]
        found[width] = {name: sum(values[name] for values in moved) / seeds for name in moved[0]}
    return found


def widened(model: ModelSettings, width: int) -> ModelSettings:
    """The shape at a multiple of its width: as many times the heads, a feed-forward block so much wider.

    Its own width is the base width of mup.
    """
    times = width // model.width
    return model.model_copy(
        update={
            "width": width,
            "heads": model.heads * times,
            "key_value_heads": model.key_value_count * times if model.architecture == "decoder" else None,
            "feed_forward_width": model.feed_forward_width * times,
            "base_width": model.width if model.initialisation == "mup" else None,
        }
    )


def _movement(shape: ModelSettings, settings: OptimizerSettings, *, steps: int, seed: int) -> dict[str, float]:
    network = build_model(shape)
    initialise(network, seed=seed)
    optimizer = build_optimizer(network, shape, settings)
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randint(shape.vocabulary_size, (4, shape.context + 1), generator=generator)
    with torch.no_grad():
        before = network.hidden(rows[:, :-1])
        logits_before = network.head(before)
    for _ in range(steps):
        objective, _ = network(rows[:, :-1], rows[:, 1:])
        optimizer.zero_grad()
        objective.backward()
        optimizer.step()
    with torch.no_grad():
        after = network.hidden(rows[:, :-1])
        logits_after = network.head(after)
    return {
        "hidden": float((after - before).square().mean().sqrt()),
        "logits": float((logits_after - logits_before).square().mean().sqrt()),
    }
