"""What the commands that train a preset many times begin with: their settings, the preset, and the newest data."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import yaml

from training.settings import Settings, SettingsError

if TYPE_CHECKING:
    from assets.language_model.followed_training import TrainingData
    from assets.language_model.settings import LanguageModelSettings

SettingsOf = TypeVar("SettingsOf", bound=Settings)


def read_settings(path: Path, kind: type[SettingsOf], changes: Mapping[str, Any]) -> SettingsOf:
    """Settings from a YAML file.

    Args:
        path: The file.
        kind: What it holds.
        changes: Values in place of the file's; None leaves the file's.

    Raises:
        SettingsError: If the file cannot be read or a key is wrong.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"{path} cannot be read as YAML: {error}") from None
    if not isinstance(content, dict):
        raise SettingsError(f"{path}: write the keys {', '.join(kind.model_fields)}")
    return kind.parse(content | {key: value for key, value in changes.items() if value is not None}, origin=str(path))


@dataclass(frozen=True)
class Preset:
    """A preset: its whole run configuration, and what it says of the asset ``language_model``."""

    name: str
    configuration: dict[str, Any]
    model: LanguageModelSettings


def open_preset(name: str) -> Preset:
    """A preset by its name, or a run configuration by its path.

    Raises:
        SettingsError: If there is none, or a key of it is wrong.
    """
    from assets.language_model.settings import LanguageModelSettings
    from pipelines.presets import load_preset

    configuration = load_preset(name)
    section = configuration.get("ops", {}).get("language_model", {}).get("config", {})
    return Preset(name, configuration, LanguageModelSettings.parse(section, origin=f"{name}, language_model"))


def newest_training_data(dumps: Sequence[str]) -> TrainingData:
    """The newest token shards of these dumps, of all if none is named, with the catalogue's weights; the vocabulary.

    Raises:
        SettingsError: If a dump is not in the catalogue, or something was not made yet.
        ArtifactError: If a folder is gone or incomplete.
    """
    import dagster as dg

    from assets.home import catalogue_path
    from assets.language_model.followed_training import TrainingData
    from assets.lineage import artifact_of
    from assets.raw_text.catalogue import load_catalogue
    from pipelines.export_command import newest_artifacts
    from pipelines.instance_home import dagster_instance

    shards = newest_artifacts("token_shards", dumps)
    with dagster_instance() as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey("vocabulary"))
    if event is None or event.asset_materialization is None:
        raise SettingsError("there is no vocabulary yet: run `make demo`, or the job text_stages")
    vocabulary = artifact_of(event.asset_materialization)
    catalogue = load_catalogue(catalogue_path())
    return TrainingData(shards, {dump: catalogue[dump].weight for dump in shards}, vocabulary)


@contextmanager
def orderly_end() -> Iterator[None]:
    """Let SIGTERM end this process as SIGINT does, so that trainings are stopped and write a checkpoint."""

    def end(number: int, frame: object) -> None:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
