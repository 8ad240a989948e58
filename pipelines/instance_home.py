"""Which Dagster instance this is: the repository's, or one below ``CORPUSLINE_HOME`` if outputs are kept elsewhere."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import yaml

from assets.home import home_folder
from assets.lineage import artifact_of
from training.artifact import write_atomically
from training.settings import SettingsError

REPOSITORY = Path(__file__).parents[1]
DEFAULT_HOME = "corpusline-home"
CONFIGURATION = "dagster.yaml"


def prepare_dagster_home() -> Path:
    """Write ``CORPUSLINE_HOME/dagster/dagster.yaml``: this project's, with its folders moved there.

    A file that is already there is left as it is, since its owner may have changed it.

    Returns:
        The folder to name in ``DAGSTER_HOME``.
    """
    folder = home_folder() / "dagster"
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / CONFIGURATION
    if not target.exists():
        settings = yaml.safe_load((REPOSITORY / CONFIGURATION).read_text(encoding="utf-8"))
        write_atomically(target, yaml.safe_dump(_moved(settings, str(home_folder())), sort_keys=False))
    return folder


@contextmanager
def dagster_instance() -> Iterator[dg.DagsterInstance]:
    """The instance of ``DAGSTER_HOME``, else the one below ``CORPUSLINE_HOME``, else that of this folder.

    Raises:
        SettingsError: If there is none.
    """
    if os.environ.get("DAGSTER_HOME"):
        folder = Path(os.environ["DAGSTER_HOME"])
    elif os.environ.get("CORPUSLINE_HOME"):
        folder = prepare_dagster_home()
    else:
        folder = Path.cwd()
    if not (folder / CONFIGURATION).is_file():
        raise SettingsError(
            f"{folder} has no {CONFIGURATION}: change to the repository's folder, or set CORPUSLINE_HOME or "
            "DAGSTER_HOME"
        )
    with dg.DagsterInstance.from_config(str(folder)) as instance:
        yield instance


@dataclass(frozen=True)
class NewestVersion:
    """The model version that was materialized last.

    Attributes:
        folder: The model's folder.
        name: Name of the registered model in MLflow.
        version: Its version.
        run_id: The Dagster run that made or confirmed it.
    """

    folder: Path
    name: str
    version: str
    run_id: str


def newest_version() -> NewestVersion:
    """The newest materialization of the asset ``model_version``.

    Raises:
        SettingsError: If there is none.
        ArtifactError: If its folder is gone.
    """
    with dagster_instance() as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey("model_version"))
    if event is None or event.asset_materialization is None:
        raise SettingsError("there is no model version yet: run `make demo`, or the job raw_to_model")
    folder = artifact_of(event.asset_materialization).folder
    metadata = {key: str(value.value) for key, value in event.asset_materialization.metadata.items()}
    return NewestVersion(folder, metadata["name"], metadata["version"], event.run_id)


def _moved(value: Any, home: str) -> Any:
    if isinstance(value, dict):
        return {key: _moved(item, home) for key, item in value.items()}
    if isinstance(value, str) and value.split("/")[0] == DEFAULT_HOME:
        return home + value.removeprefix(DEFAULT_HOME)
    return value
