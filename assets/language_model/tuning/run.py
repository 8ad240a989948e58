"""A study with real trainings: which folder, which MLflow runs, which data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from assets.home import home_folder
from assets.language_model.followed_training import Ending, Family, TrainingData, Watch, train_followed
from assets.language_model.settings import LanguageModelSettings
from assets.language_model.training_run import TrainingRun, continued_identity
from assets.language_model.tuning.report import Tuning, write_report
from assets.language_model.tuning.search_space import check_search
from assets.language_model.tuning.settings import TuneSettings
from assets.language_model.tuning.study import Candidate, Trial, best_trial, importances, trial_settings, tune
from training.artifact import fingerprint
from training.preflight import check_run

CODE_VERSION = "1"
TRIALS, CHECKED = "trials", "checked"


def study_fingerprint(settings: TuneSettings, model: LanguageModelSettings, data: TrainingData) -> str:
    """What a study is: all that its losses depend on. The number of its trials is left out: with more it is continued.

    Raises:
        SettingsError: If the run that is continued is not there.
    """
    return fingerprint(
        {
            "kind": "tuning",
            "settings": settings.model_dump(mode="json", exclude={"trials", "experiment", "preset"}),
            "training": model.training.model_dump(mode="json"),
            "processes": model.launch.ranks,
            "continue_from": None if model.continue_from is None else continued_identity(Path(model.continue_from)),
            "data": data.identity(),
            "code_version": CODE_VERSION,
        }
    )


def run_study(
    settings: TuneSettings,
    configuration: Mapping[str, Any],
    model: LanguageModelSettings,
    data: TrainingData,
    *,
    tell: Callable[[Trial], None],
) -> Tuning:
    """Tune a preset's training, or go on with it; a study that is done is only read.

    Args:
        settings: The search.
        configuration: The preset's run configuration.
        model: Its settings of the asset ``language_model``.
        data: What is trained on.
        tell: Called after each trial.

    Raises:
        SettingsError, ShardError: If it cannot be done, before anything is started.
        TrackingError: If MLflow does not answer.
        TuningError: If no trial comes to its end.
    """
    identity = study_fingerprint(settings, model, data)
    folder = home_folder() / "tuning" / identity
    training = trial_settings(settings, model.training)
    check_search(settings, training)
    checked = TrainingRun(folder / CHECKED).configure(
        training,
        data={dump: artifact.folder for dump, artifact in data.shards.items()},
        weights=data.weights,
        vocabulary=data.vocabulary.folder,
        continue_from=None if model.continue_from is None else Path(model.continue_from),
    )
    check_run(checked, ranks=model.launch.ranks)
    family = Family.start(
        settings.experiment,
        name=f"tune-{identity[:12]}",
        fingerprint=identity,
        parameters=settings.model_dump(mode="json"),
    )

    def train(candidate: Candidate, watch: Watch) -> Ending:
        return train_followed(
            TrainingRun(folder / TRIALS / f"{candidate.number:04}"),
            model.model_copy(update={"training": candidate.training}),
            data,
            family=family,
            name=f"trial-{candidate.number:04}",
            fingerprint=f"{identity}-{candidate.number:04}",
            watch=watch,
        )

    with family.at_work():
        trials = tune(settings, model.training, folder=folder, train=train, tell=tell)
        best = best_trial(trials)
        tuning = Tuning(
            folder=folder,
            preset=settings.preset,
            steps=training.steps,
            trials=trials,
            best=best,
            importances=importances(folder, settings),
            mlflow_run=family.parent.run_id,
        )
        family.log({"best.validation_loss": best.loss or 0.0}, write_report(tuning, configuration))
    return tuning
