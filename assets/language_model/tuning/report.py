"""What a study leaves for people: its results as JSON, the best settings for the launchpad, and a picture."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml
from matplotlib.figure import Figure

from assets.language_model.tuning.study import Trial
from training.artifact import write_atomically

RESULTS, BEST, PICTURE = "results.json", "best.yaml", "tuning.png"


@dataclass(frozen=True)
class Tuning:
    """A finished study.

    Attributes:
        folder: Where its files are.
        preset: What was tuned.
        steps: Of a trial.
        trials: All of them, in order.
        best: The complete one of the lowest validation loss.
        importances: Share of the losses' variance by setting; empty if too few trials are complete.
        mlflow_run: The parent of the trials' MLflow runs.
    """

    folder: Path
    preset: str
    steps: int
    trials: list[Trial]
    best: Trial
    importances: dict[str, float]
    mlflow_run: str

    def as_json(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return asdict(self) | {"folder": str(self.folder)}


def write_report(tuning: Tuning, configuration: Mapping[str, Any]) -> list[Path]:
    """Write the study's files into its folder.

    Args:
        tuning: The study.
        configuration: The preset's run configuration.

    Returns:
        The files.
    """
    paths = [tuning.folder / name for name in (RESULTS, BEST, PICTURE)]
    write_atomically(paths[0], json.dumps(tuning.as_json(), indent=1, ensure_ascii=False))
    write_atomically(paths[1], best_configuration(tuning, configuration))
    picture(tuning).savefig(paths[2], metadata={"Software": None})
    return paths


def best_configuration(tuning: Tuning, configuration: Mapping[str, Any]) -> str:
    """The preset's run configuration with the best trial's values, as YAML; the training's length is the preset's."""
    content = copy.deepcopy(dict(configuration))
    settings = content
    for key in ("ops", "language_model", "config", "training"):
        settings = settings.setdefault(key, {})
    for key, value in tuning.best.values.items():
        *groups, last = key.split(".")
        group = settings
        for name in groups:
            group = group.setdefault(name, {})
        group[last] = value
    return (
        f"# {tuning.preset} with the best of {len(tuning.trials)} trials of {tuning.steps} steps: validation loss "
        f"{tuning.best.loss:.4f} nats a token.\n" + yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    )


def picture(tuning: Tuning) -> Figure:
    """Validation losses of all trials over the steps, and what explains their differences."""
    figure = Figure(figsize=(10, 4), dpi=100, layout="constrained")
    losses, shares = figure.subplots(1, 2, width_ratios=(3, 2))
    for trial in tuning.trials:
        best = trial.number == tuning.best.number
        style = {"color": "tab:green", "linewidth": 2.5, "zorder": 3} if best else {"color": "tab:gray", "alpha": 0.6}
        stopped = trial.state != "complete"
        losses.plot(
            list(trial.losses),
            list(trial.losses.values()),
            label=f"trial {trial.number}, the best" if best else None,
            linestyle=":" if stopped else "-",
            marker="x" if stopped else ".",
            markevery=[-1],
            **style,
        )
    losses.set_xlabel("step (dotted: stopped)")
    losses.set_ylabel("validation loss, nats a token")
    losses.legend()
    losses.grid(alpha=0.3)
    shares.barh(list(tuning.importances)[::-1], list(tuning.importances.values())[::-1])
    shares.set_xlabel("share of the variance of the final losses")
    if not tuning.importances:
        shares.text(0.5, 0.5, "too few complete trials", ha="center", transform=shares.transAxes)
    return figure
