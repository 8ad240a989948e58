"""Whether a learning rate that is best for a narrow model is best for a wide one, with muP and without.

python -m benchmarks.width_transfer --input TEXT --json FILE --plot FILE.png

Two layers of several widths learn the characters of a text for some steps at several peak rates by AdamW, once with
first weights of one deviation and one rate for all (`normal`), once under muP with the narrowest as base width. Shown
are the mean losses of the last tenth of the steps, the best rate by width, and what it costs at the widest to take the
narrowest one's best; and the coordinate check: how far a few steps move the logits. Everything but DeepSpeed is what a
training uses.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from training.coordinates import movements, widened
from training.initialisation import initialise
from training.models import ModelSettings, build_model
from training.optimizer_settings import OptimizerSettings
from training.optimizers import build_optimizer
from training.run_settings import ScheduleSettings
from training.schedule import learning_rate_share

CONTEXT, BATCH = 64, 12
SCHEMES = ("normal", "mup")
RATES = tuple(2.0**power for power in (-10, -9, -8, -7, -6, -5))
SCHEDULE = ScheduleSettings.model_validate({"shape": "linear", "warmup": 0.1, "final": 0.0})
DIVERGED = 10.0
"""What a loss that is no number counts as, in nats."""


def main() -> None:
    """Parse the command line, train, print tables, draw, write the measures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", type=Path, required=True, help="a file of UTF-8 text")
    parser.add_argument("--widths", type=int, nargs="+", default=[128, 256, 512], help="multiples of the first")
    parser.add_argument("--steps", type=int, default=100, help="of each training")
    parser.add_argument("--json", type=Path, help="where to write the measures")
    parser.add_argument("--plot", type=Path, help="where to draw the losses and the coordinate check")
    options = parser.parse_args()
    torch._dynamo.config.disable = True
    text = options.input.read_text(encoding="utf-8")
    characters = sorted(set(text))
    numbers = {character: number for number, character in enumerate(characters)}
    tokens = torch.from_numpy(np.asarray([numbers[character] for character in text], dtype=np.int64))
    losses: dict[str, dict[int, list[float]]] = {scheme: {} for scheme in SCHEMES}
    moved: dict[str, dict[int, float]] = {}
    print(f"{'':<16}" + "".join(f"{rate:>9.5f}" for rate in RATES))
    for scheme in SCHEMES:
        narrow = shape(scheme, options.widths[0], len(characters))
        for width in options.widths:
            row = [train(widened(narrow, width), rate, tokens, steps=options.steps) for rate in RATES]
            losses[scheme][width] = row
            print(f"{scheme:<8}{width:>6}  " + "".join(f"{loss:>9.3f}" for loss in row), flush=True)
        found = movements(narrow, adam(2.0**-8), widths=options.widths, steps=4)
        moved[scheme] = {width: found[width]["logits"] for width in options.widths}
    measures = [row for scheme in SCHEMES for row in _measures(scheme, losses[scheme], moved[scheme])]
    for measure in measures:
        print(f"{measure['name']:<64}{measure['value']:>10.4f} {measure['unit']}")
    if options.json:
        content = {"rates": RATES, "losses": losses, "moved": moved, "measures": measures}
        options.json.write_text(json.dumps(content, indent=1), encoding="utf-8")
    if options.plot:
        draw(losses, moved, options.plot)


def shape(scheme: str, width: int, vocabulary_size: int) -> ModelSettings:
    """The narrowest model."""
    return ModelSettings.model_validate(
        {
            "vocabulary_size": vocabulary_size,
            "width": width,
            "layers": 2,
            "heads": max(1, width // 32),
            "feed_forward_width": 2 * width,
            "context": CONTEXT,
            "initialisation": scheme,
        }
    )


def adam(rate: float) -> OptimizerSettings:
    """AdamW at a peak rate, without decay."""
    return OptimizerSettings.model_validate({"name": "adamw", "learning_rate": rate, "weight_decay": 0.0})


def train(model: ModelSettings, rate: float, tokens: torch.Tensor, *, steps: int) -> float:
    """Mean loss in nats a character over the last tenth of the steps; the same rows for every model."""
    network = build_model(model)
    initialise(network, seed=0)
    optimizer = build_optimizer(network, model, adam(rate))
    generator = torch.Generator().manual_seed(0)
    last: list[float] = []
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * learning_rate_share(step, steps=steps, settings=SCHEDULE)
        starts = torch.randint(len(tokens) - CONTEXT, (BATCH, 1), generator=generator)
        rows = tokens[starts + torch.arange(CONTEXT + 1)]
        objective, nats = network(rows[:, :-1], rows[:, 1:])
        optimizer.zero_grad()
        objective.backward()
        optimizer.step()
        if step >= steps - max(1, steps // 10):
            last.append(float(nats.detach()))
    mean = sum(last) / len(last)
    return mean if math.isfinite(mean) else DIVERGED


def draw(losses: dict[str, dict[int, list[float]]], moved: dict[str, dict[int, float]], out: Path) -> None:
    """Losses over rates, a panel for each scheme and a line for each width; and the coordinate check."""
    figure = Figure(figsize=(12, 4), layout="constrained")
    panels = figure.subplots(1, 3)
    for panel, scheme in zip(panels, SCHEMES, strict=False):
        for width, row in losses[scheme].items():
            panel.plot(RATES, row, marker="o", label=f"width {width}")
            best = _best(row)
            panel.plot(RATES[best], row[best], marker="*", markersize=14, color=panel.lines[-1].get_color())
        panel.set(xscale="log", xlabel="peak learning rate", ylabel="loss, nats a character", title=scheme)
        panel.legend()
    panels[1].sharey(panels[0])
    for scheme in SCHEMES:
        panels[2].plot(list(moved[scheme]), list(moved[scheme].values()), marker="o", label=scheme)
    panels[2].set(
        xscale="log", yscale="log", xlabel="width", ylabel="root mean square", title="movement of the logits in 4 steps"
    )
    panels[2].legend()
    figure.savefig(out, dpi=110)


def _measures(scheme: str, losses: dict[int, list[float]], moved: dict[int, float]) -> list[dict[str, Any]]:
    widths = list(losses)
    narrow, wide = losses[widths[0]], losses[widths[-1]]
    chosen = _best(narrow)
    rows = [
        (f"{scheme}: best rate at {widths[-1]} / at {widths[0]}", RATES[_best(wide)] / RATES[chosen], ""),
        (f"{scheme}: loss at {widths[-1]} with the best rate of {widths[0]}", wide[chosen], "nats"),
        (f"{scheme}: loss at {widths[-1]} with its own best rate", min(wide), "nats"),
        (f"{scheme}: movement of logits at {widths[-1]} / at {widths[0]}", moved[widths[-1]] / moved[widths[0]], ""),
    ]
    return [{"name": name, "value": value, "unit": unit} for name, value, unit in rows]


def _best(row: Sequence[float]) -> int:
    return min(range(len(row)), key=row.__getitem__)


if __name__ == "__main__":
    main()
