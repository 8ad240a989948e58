"""What a scaling law leaves for people: its numbers as JSON, and a picture."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from assets.language_model.scaling_law.fit import SAME_RATIO, Law, Point, Prediction
from training.artifact import write_atomically

RESULTS, PICTURE = "scaling-law.json", "scaling-law.png"
MANY_EPOCHS = 4.0
"""Passes over the text after which another one teaches clearly less than new text (Muennighoff et al. 2023)."""


@dataclass(frozen=True)
class Measured:
    """A training of the ladder.

    Attributes:
        name: Layers, width and tokens.
        parameters: Of the model.
        tokens: Trained on.
        loss: Validation loss, nats a token.
        residual: log of the measured minus log of the fitted loss.
        epochs: Passes over the source that was repeated most.
    """

    name: str
    parameters: int
    tokens: int
    loss: float
    residual: float
    epochs: float


@dataclass(frozen=True)
class Check:
    """The target, trained.

    Attributes:
        loss: Validation loss, nats a token.
        error: Measured minus predicted, as a share of the predicted.
        inside: Whether it lies within the interval; None where there is no interval.
        epochs: Passes over the source that was repeated most.
    """

    loss: float
    error: float
    inside: bool | None
    epochs: float


@dataclass(frozen=True)
class ScalingLaw:
    """A law, what it was fitted to, and what it predicts.

    Attributes:
        folder: Where its files are.
        preset: What is predicted.
        points: The ladder.
        law: Fitted to it.
        prediction: Of the target.
        best_parameters, best_tokens: What the law would rather do with the target's operations, if it has two
            variables.
        check: The target's own loss, where it was trained.
        mlflow_run: The parent of the trainings' MLflow runs.
    """

    folder: Path
    preset: str
    points: list[Measured]
    law: Law
    prediction: Prediction
    best_parameters: float | None
    best_tokens: float | None
    check: Check | None
    mlflow_run: str

    @property
    def warnings(self) -> list[str]:
        """Why the prediction may be worth less than its interval says."""
        passes = [point.epochs for point in self.points] + ([self.check.epochs] if self.check else [])
        edge = self.law.at_the_edge()
        found = []
        if max(passes) > MANY_EPOCHS:
            found.append(
                f"text was repeated {max(passes):.0f} times, of which the law knows nothing: use more text or fewer "
                "tokens"
            )
        if edge:
            found.append(
                f"the trainings do not determine {' and '.join(edge)}: give more of them, longer ones, and sizes "
                "further apart of one shape"
            )
        return found

    def as_json(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return asdict(self) | {"folder": str(self.folder), "warnings": self.warnings}


def write_report(result: ScalingLaw) -> list[Path]:
    """Write the files of the result into its folder."""
    paths = [result.folder / RESULTS, result.folder / PICTURE]
    write_atomically(paths[0], json.dumps(result.as_json(), indent=1, ensure_ascii=False))
    picture(result).savefig(paths[1], metadata={"Software": None})
    return paths


def picture(result: ScalingLaw) -> Figure:
    """Losses over parameters, one line for each number of tokens a parameter, and the target with its interval."""
    figure = Figure(figsize=(7, 4.5), dpi=100, layout="constrained")
    axes = figure.add_subplot()
    expected = result.prediction
    least = min(point.parameters for point in result.points)
    sizes = np.geomspace(least, max(expected.parameters, *(point.parameters for point in result.points)), 60)
    for ratio, points in _lines(result.points).items():
        (line,) = axes.plot(
            [point.parameters for point in points],
            [point.loss for point in points],
            "o",
            label=f"{ratio:.3g} tokens a parameter",
        )
        axes.plot(sizes, [result.law.loss(size, ratio * size) for size in sizes], color=line.get_color(), linewidth=1)
    spread = None
    if expected.low is not None and expected.high is not None:
        spread = [[expected.loss - expected.low], [expected.high - expected.loss]]
    axes.errorbar([expected.parameters], [expected.loss], spread, fmt="s", color="black", capsize=4, label="predicted")
    if result.check is not None:
        axes.plot([expected.parameters], [result.check.loss], "*", color="tab:red", markersize=12, label="measured")
    axes.set_xscale("log")
    axes.set_xlabel("parameters")
    axes.set_ylabel("validation loss, nats a token")
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    return figure


def _lines(points: list[Measured]) -> dict[float, list[Point]]:
    lines: dict[float, list[Point]] = {}
    for measured in points:
        ratio = measured.tokens / measured.parameters
        near = next((known for known in lines if abs(known / ratio - 1) <= SAME_RATIO), ratio)
        lines.setdefault(near, []).append(Point(measured.parameters, measured.tokens, measured.loss))
    return lines
