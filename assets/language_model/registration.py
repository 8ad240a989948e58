"""Versions of the registered model: a new one is ``candidate``, and ``champion`` too if it beats the present one."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from assets.home import downloads_folder
from assets.language_model.tracking import shown_uri, tracking_errors, tracking_uri

CANDIDATE, CHAMPION = "candidate", "champion"
FINGERPRINT = "corpusline.fingerprint"
FOLDER = "corpusline.folder"
VALIDATION_SET = "corpusline.validation_set"
BITS_PER_BYTE = "corpusline.bits_per_byte"
COMPARISON = "corpusline.comparison"
# Until it was compared with the champion; a version that is found so was interrupted.
_PENDING = "pending"
_MISSING = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


class RegistrationError(RuntimeError):
    """The registry has no such version; the message says what to name instead."""


@dataclass(frozen=True)
class Registration:
    """A version in the registry.

    Attributes:
        version: Its number.
        champion: Whether it is the champion now.
        reason: Why, or why not.
    """

    version: str
    champion: bool
    reason: str


def register(
    client: MlflowClient,
    name: str,
    *,
    folder: Path,
    run_id: str,
    bits_per_byte: float,
    validation_set: str,
    tags: Mapping[str, str],
    fingerprint: str,
    score_other: Callable[[Path], float],
) -> Registration:
    """Make a version of this folder, unless it has one, and decide about the aliases.

    A version whose comparison was interrupted is compared by the next call.

    Args:
        client: Client of the tracking store.
        name: Name of the registered model.
        folder: The Hugging Face folder; its files are copied into the store.
        run_id: MLflow run of the training.
        bits_per_byte: Of this model on the validation set.
        validation_set: Identity of that set.
        tags: Further tags of the version.
        fingerprint: Identity of this model.
        score_other: Bits a byte on this validation set of the champion in a folder, where it was measured on another.

    Raises:
        TrackingError: If the store does not answer.
    """
    with tracking_errors():
        mlflow.set_tracking_uri(tracking_uri())
        try:
            client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        found = client.search_model_versions(f"name = '{name}' AND tags.`{FINGERPRINT}` = '{fingerprint}'")
        champion = _champion(client, name)
        if found and found[0].tags.get(COMPARISON) != _PENDING:
            version = str(found[0].version)
            known = champion is not None and str(champion.version) == version
            return Registration(version, known, "was registered before; nothing changed")
        own_tags = {
            **tags,
            FINGERPRINT: fingerprint,
            FOLDER: str(folder),
            VALIDATION_SET: validation_set,
            BITS_PER_BYTE: repr(bits_per_byte),
            COMPARISON: _PENDING,
        }
        version = str(found[0].version) if found else _create(client, name, folder=folder, run_id=run_id, tags=own_tags)
        client.set_registered_model_alias(name, CANDIDATE, version)
    if champion is not None and str(champion.version) == version:
        better, reason = True, "it is the champion already"
    else:
        better, reason = _compare(champion, bits_per_byte, validation_set, score_other)
    with tracking_errors():
        if better:
            client.set_registered_model_alias(name, CHAMPION, version)
        client.set_model_version_tag(name, version, COMPARISON, reason)
    return Registration(version, better, reason)


def version_folder(client: MlflowClient, name: str, which: str) -> Path:
    """Folder of a version: the one it was registered from if it is on this machine, else fetched from the store, once.

    Args:
        client: Client of the tracking store.
        name: Name of the registered model.
        which: An alias, or a version's number.

    Raises:
        TrackingError: If the store does not answer.
        RegistrationError: If there is no such version.
    """
    with tracking_errors():
        try:
            version = (
                client.get_model_version(name, which)
                if which.isdecimal()
                else client.get_model_version_by_alias(name, which)
            )
        except MlflowException as error:
            if error.error_code not in _MISSING:
                raise
            raise RegistrationError(
                f"no model '{name}' has the alias or version '{which}' in {shown_uri()}, and there is no such "
                "folder; run the job raw_to_model, or name another model"
            ) from None
    return _folder(version)


def _create(client: MlflowClient, name: str, *, folder: Path, run_id: str, tags: dict[str, str]) -> str:
    """A new version with the files of a folder; its number."""
    model = client.create_logged_model(
        client.get_run(run_id).info.experiment_id, name=name, source_run_id=run_id, model_type="language-model"
    )
    client.log_model_artifacts(model.model_id, str(folder))
    client.finalize_logged_model(model.model_id, "READY")
    created = client.create_model_version(
        name, source=f"models:/{model.model_id}", run_id=run_id, model_id=model.model_id, tags=tags
    )
    return str(created.version)


def _champion(client: MlflowClient, name: str) -> ModelVersion | None:
    try:
        return client.get_model_version_by_alias(name, CHAMPION)
    except MlflowException as error:
        if error.error_code not in _MISSING:
            raise
        return None


def _folder(version: ModelVersion) -> Path:
    own = Path(version.tags.get(FOLDER, ""))
    if own.is_absolute() and (own / "config.json").is_file():
        return own
    fetched = downloads_folder() / "models" / str(version.source).rpartition("/")[2]
    if not fetched.is_dir():
        fetched.parent.mkdir(parents=True, exist_ok=True)
        with tracking_errors(), tempfile.TemporaryDirectory(dir=fetched.parent) as scratch:
            mlflow.set_tracking_uri(tracking_uri())
            (Path(scratch) / "model").mkdir()
            Path(mlflow.artifacts.download_artifacts(version.source, dst_path=f"{scratch}/model")).rename(fetched)
    return fetched


def _compare(
    champion: ModelVersion | None,
    bits_per_byte: float,
    validation_set: str,
    score_other: Callable[[Path], float],
) -> tuple[bool, str]:
    if not math.isfinite(bits_per_byte):
        return False, f"it has {bits_per_byte} bits a byte"
    if champion is None:
        return True, "the first version"
    if champion.tags.get(VALIDATION_SET) == validation_set:
        present = float(champion.tags[BITS_PER_BYTE])
    else:
        try:
            present = score_other(_folder(champion))
        except (RuntimeError, OSError) as error:
            return False, (
                f"version {champion.version} was measured on another validation set and cannot be measured on this one "
                f"({error}); compare by hand and set the alias 'champion' in MLflow"
            )
    what = f"{bits_per_byte:.4f} bits a byte, version {champion.version} has {present:.4f} on the same documents"
    return bits_per_byte < present or not math.isfinite(present), what
