"""A training that is one of many: started by DeepSpeed's launcher, an MLflow child run, stopped when it is told to.

No Dagster in it: a command starts one after the other and decides by their validation losses.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mlflow import MlflowClient

from assets.language_model.launchers.local import rank_environment
from assets.language_model.provenance import code_commit
from assets.language_model.settings import LanguageModelSettings
from assets.language_model.supervision import TrainerError, TrainerRefusedError, train_supervised
from assets.language_model.tracking import (
    TrackedTraining,
    TrackingError,
    dataset_input,
    log_changed,
    open_experiment,
    open_tracking,
    tracking_errors,
)
from assets.language_model.training_run import CHECKPOINTS, MODEL, TrainingRun
from training.artifact import Artifact
from training.preflight import check_run
from training.settings import SettingsError
from training.shards import ShardError

PARENT = "mlflow.parentRunId"
SEND_SECONDS = 10.0

Watch = Callable[[int, float], bool]
"""Called with step and validation loss (nats a token) of each validation, in order; true stops the training."""


@dataclass(frozen=True)
class TrainingData:
    """What is trained on.

    Attributes:
        shards: Token shards by dump.
        weights: Share of the samples by dump.
        vocabulary: The vocabulary of the shards.
    """

    shards: Mapping[str, Artifact]
    weights: Mapping[str, float]
    vocabulary: Artifact

    def identity(self) -> dict[str, Any]:
        """What the data is, for fingerprints."""
        return {
            "vocabulary": self.vocabulary.manifest.digest,
            "token_shards": [[dump, artifact.manifest.digest] for dump, artifact in self.shards.items()],
            "weights": dict(self.weights),
        }


@dataclass(frozen=True)
class Ending:
    """How a training ended.

    Attributes:
        state: finished; stopped by ``Watch``; refused by the trainer, which says why (its loss became infinite, say);
            failed without a word of its own.
        losses: Validation loss by step, up to the one that it was stopped after.
        reason: Why it was refused or failed, else empty.
    """

    state: Literal["finished", "stopped", "refused", "failed"]
    losses: dict[int, float]
    reason: str = ""


@dataclass(frozen=True)
class Family:
    """The MLflow run whose children are the trainings."""

    client: MlflowClient
    experiment_id: str
    parent: TrackedTraining

    @classmethod
    def start(cls, experiment: str, *, name: str, fingerprint: str, parameters: Mapping[str, Any]) -> Family:
        """Open the parent run of this fingerprint, or start it.

        Raises:
            TrackingError: If MLflow does not answer.
        """
        client = open_tracking()
        experiment_id = open_experiment(client, experiment)
        parent = TrackedTraining.start(
            client,
            experiment_id,
            name=name,
            fingerprint=fingerprint,
            parameters=parameters,
            tags={"corpusline.code": code_commit()},
            inputs=[],
        )
        return cls(client, experiment_id, parent)

    def child(
        self, run: TrainingRun, settings: LanguageModelSettings, data: TrainingData, *, name: str, fingerprint: str
    ) -> TrackedTraining:
        """Open the child run of this fingerprint, or start it.

        Raises:
            TrackingError: If MLflow does not answer.
        """
        return TrackedTraining.start(
            self.client,
            self.experiment_id,
            name=name,
            fingerprint=fingerprint,
            parameters=settings.shown(),
            tags={PARENT: self.parent.run_id, "corpusline.code": code_commit(), "training_run": str(run.folder)},
            inputs=[
                dataset_input(
                    dump, digest=artifact.manifest.digest, folder=artifact.folder, counts=artifact.manifest.counts
                )
                for dump, artifact in data.shards.items()
            ],
        )

    def log(self, metrics: Mapping[str, float], files: Sequence[Path]) -> None:
        """Add the parent's own numbers and files.

        Raises:
            TrackingError: If MLflow does not answer.
        """
        log_changed(self.client, self.parent.run_id, metrics, step=0)
        with tracking_errors():
            for path in files:
                self.client.log_artifact(self.parent.run_id, str(path))

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """While trainings are made; the parent is finished, failed or killed afterwards."""
        status = "KILLED"
        try:
            yield
            status = "FINISHED"
        except Exception:
            status = "FAILED"
            raise
        finally:
            with suppress(TrackingError):
                self.parent.finish(status)


def train_followed(
    run: TrainingRun,
    settings: LanguageModelSettings,
    data: TrainingData,
    *,
    family: Family,
    name: str,
    fingerprint: str,
    watch: Watch = lambda step, loss: False,
    keep_model: bool = False,
) -> Ending:
    """Train to the end or until it is stopped, going on from the newest checkpoint in the run's folder.

    What is returned depends on the losses alone, not on when they were looked at. Checkpoints are removed at the end.

    Args:
        run: The training's folder. One that is finished is read, not trained again.
        settings: The training and how it is started.
        data: What is trained on.
        family: Its MLflow run is a child of this one's.
        name: Name of that run.
        fingerprint: That run is found by it.
        watch: Decides at each validation.
        keep_model: Leave the exported model in the folder.

    Raises:
        TrackingError: If MLflow does not answer at the beginning or the end.
    """
    try:
        configured = run.configure(
            settings.training,
            data={dump: artifact.folder for dump, artifact in data.shards.items()},
            weights=data.weights,
            vocabulary=data.vocabulary.folder,
            launch=settings.launch,
            continue_from=None if settings.continue_from is None else Path(settings.continue_from),
        )
        check_run(configured, ranks=settings.launch.ranks)
    except (SettingsError, ShardError) as error:
        return Ending("refused", {}, str(error))
    tracked = family.child(run, settings, data, name=name, fingerprint=fingerprint)
    followed = _Followed(run, tracked, watch)
    status = "KILLED"
    try:
        ending = _train(run, settings, followed)
        status = "KILLED" if ending.state == "stopped" else "FINISHED" if ending.state == "finished" else "FAILED"
    finally:
        tracked.send(run.records())
        tracked.finish(status)
    for folder in (CHECKPOINTS,) if keep_model else (CHECKPOINTS, MODEL):
        shutil.rmtree(run.folder / folder, ignore_errors=True)
    return ending


def _train(run: TrainingRun, settings: LanguageModelSettings, followed: _Followed) -> Ending:
    """Run the trainer until it ends or is to stop."""
    ending = Ending("finished", followed.losses)
    try:
        if not train_supervised(
            run, settings.launch, environment=rank_environment(settings.launch), tick=followed.look
        ):
            ending = Ending("failed", followed.losses, f"stopped by a signal, see {run.log}")
    except TrainerRefusedError as error:
        ending = Ending("refused", followed.losses, str(error))
    except TrainerError as error:
        ending = Ending("failed", followed.losses, str(error))
    followed.look()
    return Ending("stopped", followed.losses) if followed.stop else ending


class _Followed:
    """What a training has written so far, looked at again and again."""

    def __init__(self, run: TrainingRun, tracked: TrackedTraining, watch: Watch) -> None:
        self.run, self.tracked, self.watch = run, tracked, watch
        self.losses: dict[int, float] = {}
        self.stop = False
        self.sent = time.monotonic()

    def look(self) -> bool:
        """Ask about each validation that is new; whether the training is to stop."""
        records = self.run.records()
        for record in records:
            step, loss = int(record["step"]), record.get("validation_loss")
            if self.stop or loss is None or step in self.losses:
                continue
            self.losses[step] = float(loss)
            self.stop = self.watch(step, float(loss))
        if time.monotonic() - self.sent > SEND_SECONDS:
            self.tracked.send(records)
            self.sent = time.monotonic()
        return self.stop
