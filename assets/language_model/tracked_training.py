"""One training, started by DeepSpeed's launcher, followed by Dagster and remembered by MLflow."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import dagster as dg

from assets.language_model.launcher import TrainerError, rank_environment, run_trainer
from assets.language_model.provenance import lineage_tags
from assets.language_model.settings import LanguageModelSettings
from assets.language_model.tracking import TrackedTraining, TrackingError, dataset_input, open_experiment, open_tracking
from assets.language_model.training_run import TrainingRun, loss_curves
from assets.plots import curves
from training.artifact import Artifact
from training.preflight import check_run

# Rarely, since whatever runs here takes a core from the ranks for that time, and they wait for each other.
SEND_SECONDS = 10.0
PLOT_SECONDS = 60.0


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
        parameters=settings.model_dump(mode="json"),
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
        SettingsError, ShardError, SampleOrderError: If it cannot be done, before anything is started.
        TrackingError: If MLflow does not answer at the beginning. Later it only makes the metrics come late.
        TrainerError: If the trainer ends without its report.
    """
    configured = run.configure(
        settings.training,
        data={dump: artifact.folder for dump, artifact in shards.items()},
        weights=weights,
        vocabulary=vocabulary,
        continue_from=None if settings.continue_from is None else Path(settings.continue_from),
    )
    check_run(configured, ranks=settings.launch.processes)
    tracked = open_tracked(context, settings, run, shards, fingerprint=fingerprint)
    status = "FAILED"
    try:
        with tracked.system_metrics():
            run_trainer(
                context,
                run.configuration,
                settings.launch,
                environment=rank_environment(settings.launch),
                log=run.log,
                tick=_follow(context, run, tracked),
            )
        status = "FINISHED"
    except Exception:
        raise
    except BaseException:
        status = "KILLED"
        raise
    finally:
        tracked.send(run.records())
        with suppress(TrackingError):
            tracked.finish(status)
    if not run.finished:
        raise TrainerError(f"the trainer ended without its final report; see {run.log}")


def _follow(context: dg.AssetExecutionContext, run: TrainingRun, tracked: TrackedTraining) -> Callable[[], None]:
    """What is done now and then: new metrics go to MLflow, and more rarely a plot to the Dagster run."""
    sent = 0
    looked = shown = time.monotonic()
    problem: str | None = None

    def tick() -> None:
        nonlocal sent, looked, shown, problem
        if time.monotonic() - looked < SEND_SECONDS:
            return
        looked = time.monotonic()
        records = run.records()
        if len(records) > sent:
            tracked.send(records)
            sent = len(records)
            if tracked.problem and tracked.problem != problem:
                context.log.warning(f"MLflow does not take metrics now, training goes on: {tracked.problem}")
            problem = tracked.problem
        if records and time.monotonic() - shown > PLOT_SECONDS:
            shown = time.monotonic()
            plot = curves(loss_curves(records), x_label="step", y_label="nats a token")
            context.log_event(
                dg.AssetObservation(context.asset_key, metadata={"loss": plot, "step": records[-1]["step"]})
            )

    return tick
