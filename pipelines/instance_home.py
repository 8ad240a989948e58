"""A Dagster home beside ``CORPUSLINE_HOME``, for those who keep their outputs elsewhere than in the repository."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from assets.home import home_folder
from training.artifact import write_atomically

REPOSITORY = Path(__file__).parents[1]
DEFAULT_HOME = "corpusline-home"


def prepare_dagster_home() -> Path:
    """Write ``CORPUSLINE_HOME/dagster/dagster.yaml``: this project's, with its folders moved there.

    A file that is already there is left as it is, since its owner may have changed it.

    Returns:
        The folder to name in ``DAGSTER_HOME``.
    """
    folder = home_folder() / "dagster"
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / "dagster.yaml"
    if not target.exists():
        settings = yaml.safe_load((REPOSITORY / "dagster.yaml").read_text(encoding="utf-8"))
        write_atomically(target, yaml.safe_dump(_moved(settings, str(home_folder())), sort_keys=False))
    return folder


def _moved(value: Any, home: str) -> Any:
    if isinstance(value, dict):
        return {key: _moved(item, home) for key, item in value.items()}
    if isinstance(value, str) and value.split("/")[0] == DEFAULT_HOME:
        return home + value.removeprefix(DEFAULT_HOME)
    return value
