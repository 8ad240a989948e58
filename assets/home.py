"""Where Corpusline reads its catalogue and writes everything: two environment variables with defaults."""

from __future__ import annotations

import os
from pathlib import Path


def home_folder() -> Path:
    """``CORPUSLINE_HOME``, by default ``corpusline-home`` in the working folder, as an absolute path."""
    return Path(os.environ.get("CORPUSLINE_HOME") or "corpusline-home").absolute()


def catalogue_path() -> Path:
    """``CORPUSLINE_SOURCES``, by default ``sources.yaml`` in the working folder, as an absolute path."""
    return Path(os.environ.get("CORPUSLINE_SOURCES") or "sources.yaml").absolute()


def outputs_folder(stage: str, dump: str | None = None) -> Path:
    """Where the artifacts of a stage (and of one dump, where it is partitioned) are kept."""
    folder = home_folder() / "outputs" / stage
    return folder / dump if dump else folder


def downloads_folder() -> Path:
    """Fetched source files, named by their content; models of the registry that were made elsewhere."""
    return home_folder() / "downloads"


def proofs_folder() -> Path:
    """Which encoders were proved for which vocabularies; may be removed at any time."""
    return home_folder() / "proofs"


def training_runs_folder() -> Path:
    """Working folders of trainings: checkpoints, metrics, TensorBoard files. They are resumed, not renamed."""
    return home_folder() / "training-runs"


def tracking_folder() -> Path:
    """MLflow's SQLite file and artifacts, unless ``MLFLOW_TRACKING_URI`` names another place."""
    return home_folder() / "mlflow"
