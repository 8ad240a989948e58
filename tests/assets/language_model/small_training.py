"""A training of a model of a few thousand weights, in the folder that whoever supervises it makes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from assets.language_model.launchers.settings import LaunchSettings
from assets.language_model.training_run import TrainingRun
from training.run_settings import TrainingSettings


def configure_small(run: TrainingRun, data: dict[str, Any], *, launch: LaunchSettings, **training: Any) -> None:
    """Make the folder of a training of the counting documents; ``training`` says at least how many steps."""
    settings = {
        "batch": 8,
        "log_every": 1,
        "inspect_every": 0,
        "model": {"width": 32, "layers": 2, "heads": 4, "feed_forward_width": 64, "context": 32},
        "optimizer": {"learning_rate": 0.01},
        "parallel": {"zero_stage": 0, "micro_batch": 4, "compile": False, "precision": "float32"},
    } | training
    run.configure(
        TrainingSettings.model_validate(settings),
        data={Path(source["folder"]).name: Path(source["folder"]) for source in data["data"]},
        weights={"up": 1.0, "down": 2.0},
        vocabulary=Path(data["vocabulary"]),
        launch=launch,
    )
