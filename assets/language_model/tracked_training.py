"""One training: supervised, told to Dagster while it goes, and remembered by MLflow.

Both are told from what the trainer writes in its folder, wherever its ranks run. A tracking store that is away delays
nothing: what it has missed is sent when it answers again.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import dagster as dg

from assets.language_model.launchers.local import rank_environment
from assets.language_model.provenance import lineage_tags
from assets.language_model.settings import LanguageModelSettings
from assets.language_model.supervision import TrainerError, train_supervised
from assets.language_model.tracking import TrackedTraining, TrackingError, dataset_input, open_experiment, open_tracking
from assets.language_model.training_run import TrainingRun, loss_curves
from assets.plots import curves
from training.artifact import Artifact
from training.events import Event, append_event, read_events
from training.preflight import check_run
from training.settings import SettingsError

# Rarely, since whatever runs here takes a core from the ranks for that time, and they wait for each other.
SEND_SECONDS = 10.0
PLOT_SECONDS = 60.0
TRACKING_SECONDS = 30.0


def open_tracked(
    context: dg.AssetExecutionContext,
    settings: LanguageModelSettings,
    run: TrainingRun,
    shards: Mapping[str, Artifact],
    *,
    fingerprint: str,
) -> TrackedTraining:
    """The MLflow run of this training, started or opened again."""
    client = open_tracking()
    experiment = open_experiment(client, settings.experiment)
    return TrackedTraining.start(
        client,
        experiment,
        name=fingerprint[:12],
        fingerprint=fingerprint,
        parameters=settings.shown(),
        tags=lineage_tags(context, fingerprint) | {"training_run": str(run.folder)},
        inputs=[
            dataset_input(
                dump, digest=artifact.manifest.digest, folder=artifact.folder, counts=artifact.manifest.counts
            )
            for dump, artifact in shards.items()
        ],
    )


def train_tracked(
    context: dg.AssetExecutionContext,
    settings: LanguageModelSettings,
    run: TrainingRun,
    shards: Mapping[str, Artifact],
    *,
    weights: Mapping[str, float],
    vocabulary: Path,
    fingerprint: str,
) -> None:
    """Train to the end in the run's folder, going on from its newest checkpoint if it has one.

    Args:
        context: Of the asset.
        settings: The training and how it is started.
        run: Its folder.
        shards: Token shards by dump.
        weights: Share of the samples by dump.
        vocabulary: Folder of the tokenizer.
        fingerprint: Identity of this training; its run in MLflow is found by it.

    Raises:
        SettingsError, ShardError: If it cannot be done, before anything is started.
        TrainerError: If the trainer ends without its report, more often than it is started again.
    """
    configured = run.configure(
        settings.training,
        data={dump: artifact.folder for dump, artifact in shards.items()},
        weights=weights,
        vocabulary=vocabulary,
        launch=settings.launch,
        continue_from=None if settings.continue_from is None else Path(settings.continue_from),
    )
    check_run(configured, ranks=settings.launch.ranks)
    with _Follower(context, settings, run, shards, fingerprint) as follower:
        context.log.info(f"training in {run.folder}: {settings.launch.ranks} rank(s), log {run.log}")
        follower.finished = train_supervised(
            run, settings.launch, environment=rank_environment(settings.launch), tick=follower.look
        )
    if not follower.finished:
        raise TrainerError(
            f"the training was stopped by a signal after a checkpoint of step {run.newest_step()}; run the job again "
            "and it goes on from there"
        )


class _Follower:
    """Tells Dagster and MLflow what is new in a run's folder."""

    def __init__(
        self,
        context: dg.AssetExecutionContext,
        settings: LanguageModelSettings,
        run: TrainingRun,
        shards: Mapping[str, Artifact],
        fingerprint: str,
    ) -> None:
        self.finished = False
        self._context, self._settings, self._run = context, settings, run
        self._shards, self._fingerprint = shards, fingerprint
        self._tracked: TrackedTraining | None = None
        self._system_metrics = ExitStack()
        self._problem: str | None = None
        # What happened before is old news for Dagster.
        self._told = len(read_events(run.folder))
        self._sent = self._noted = 0
        self._looked = self._shown = time.monotonic()
        self._next_try = 0.0

    def look(self) -> None:
        """Look again; returns at once where there was nothing to do."""
        self._tell_events()
        self._open()
        if time.monotonic() - self._looked < SEND_SECONDS:
            return
        self._looked = time.monotonic()
        records = self._run.records()
        if len(records) > self._sent:
            self._send()
            self._sent = len(records)
        if records and time.monotonic() - self._shown > PLOT_SECONDS:
            self._shown = time.monotonic()
            plot = curves(loss_curves(records), x_label="step", y_label="nats a token")
            self._context.log_event(
                dg.AssetObservation(self._context.asset_key, metadata={"loss": plot, "step": records[-1]["step"]})
            )

    def _tell_events(self) -> None:
        events = read_events(self._run.folder)
        for event in events[self._told :]:
            say = self._context.log.info if event.kind in ("progress", "resume") else self._context.log.warning
            say(event.message)
        self._told = len(events)

    def _send(self) -> None:
        """Send the metrics and events that MLflow does not have."""
        if self._open() is None:
            return
        tracked = self._tracked
        assert tracked is not None
        tracked.send(self._run.records())
        noteworthy = [event for event in read_events(self._run.folder) if event.kind != "progress"]
        if len(noteworthy) != self._noted and tracked.note(noteworthy):
            self._noted = len(noteworthy)
        self._is_problem(tracked.problem)

    def _open(self) -> TrackedTraining | None:
        if self._tracked is None and time.monotonic() >= self._next_try:
            self._next_try = time.monotonic() + TRACKING_SECONDS
            try:
                self._tracked = open_tracked(
                    self._context, self._settings, self._run, self._shards, fingerprint=self._fingerprint
                )
                self._system_metrics.enter_context(self._tracked.system_metrics())
                self._is_problem(None)
            except TrackingError as error:
                self._is_problem(str(error))
        return self._tracked

    def _is_problem(self, problem: str | None) -> None:
        """Say once when MLflow goes, and once when it is back."""
        if (problem is None) == (self._problem is None):
            return
        message = (
            "MLflow takes metrics again; what it has missed was sent"
            if problem is None
            else f"MLflow does not take metrics now, the training goes on and they are sent later: {problem}"
        )
        self._problem = problem
        with suppress(OSError):
            append_event(self._run.folder, Event("tracking", message))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._tracked is None and isinstance(error, SettingsError):
            # Nothing was started; another run may be at work on this training, whose MLflow run it is.
            self._tell_events()
            return
        self._next_try = 0.0
        self._send()
        self._tell_events()
        with suppress(TrackingError):
            self._system_metrics.close()
        if self._tracked is not None:
            stopped = not self.finished and (error is None or not isinstance(error, Exception))
            with suppress(TrackingError):
                self._tracked.finish("FINISHED" if self.finished else "KILLED" if stopped else "FAILED")
