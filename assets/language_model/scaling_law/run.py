"""A ladder of real trainings: which folders, which MLflow runs, which data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from assets.home import home_folder
from assets.language_model.followed_training import Family, TrainingData, train_followed
from assets.language_model.scaling_law.fit import Point, Prediction, fit_law, predict, residuals
from assets.language_model.scaling_law.ladder import Rung, ladder, target
from assets.language_model.scaling_law.report import Check, Measured, ScalingLaw, write_report
from assets.language_model.scaling_law.settings import ScalingLawSettings
from assets.language_model.settings import LanguageModelSettings
from assets.language_model.training_run import TrainingRun
from training.artifact import fingerprint
from training.preflight import open_data
from training.settings import SettingsError

CODE_VERSION = "1"
TRAININGS = "trainings"


class ScalingLawError(RuntimeError):
    """A training of the ladder did not come to its end; the message says which and why."""


def run_ladder(
    settings: ScalingLawSettings,
    model: LanguageModelSettings,
    data: TrainingData,
    *,
    check: bool,
    tell: Callable[[Rung, float], None],
) -> ScalingLaw:
    """Train the ladder, fit the law and predict the target; what was trained before is read.

    Args:
        settings: The ladder and the target.
        model: The preset's settings of the asset ``language_model``.
        data: What is trained on.
        check: Train the target too.
        tell: Called with each training and its validation loss in nats a token.

    Raises:
        SettingsError, ShardError: If it cannot be done, before anything is started.
        TrackingError: If MLflow does not answer.
        ScalingLawError: If a training does not come to its end.
    """
    if model.continue_from is not None:
        raise SettingsError("'continue_from': a law is of trainings from nothing; use a preset without it")
    identity = fingerprint(
        {
            "kind": "scaling_law",
            "settings": settings.model_dump(mode="json", exclude={"experiment", "preset"}),
            "training": model.training.model_dump(mode="json"),
            "processes": model.launch.ranks,
            "data": data.identity(),
            "code_version": CODE_VERSION,
        }
    )
    root = home_folder() / "scaling-law"
    training = model.training
    configured = TrainingRun(root / identity).configure(
        training,
        data={dump: artifact.folder for dump, artifact in data.shards.items()},
        weights=data.weights,
        vocabulary=data.vocabulary.folder,
    )
    training, _ = open_data(configured)
    rungs, aim = ladder(settings, training), target(settings, training)
    _refuse_hopeless(rungs, aim)
    family = Family.start(
        settings.experiment,
        name=f"scaling-law-{identity[:12]}",
        fingerprint=identity,
        parameters=settings.model_dump(mode="json"),
    )

    def measure(rung: Rung) -> Measured:
        loss, epochs = _trained(rung, model, data, family=family, folder=root / TRAININGS, keep_model=rung is aim)
        tell(rung, loss)
        return Measured(rung.name, rung.parameters, rung.tokens, loss, 0.0, epochs)

    with family.at_work():
        measured = [measure(rung) for rung in rungs]
        points = [Point(point.parameters, point.tokens, point.loss) for point in measured]
        law = fit_law(points)
        prediction = predict(
            points,
            parameters=aim.parameters,
            tokens=aim.tokens,
            samples=settings.samples,
            coverage=settings.coverage,
            seed=settings.seed,
        )
        best = law.best_division(6.0 * aim.parameters * aim.tokens)
        result = ScalingLaw(
            folder=root / identity,
            preset=settings.preset,
            points=[
                replace(point, residual=residual)
                for point, residual in zip(measured, residuals(law, points), strict=True)
            ],
            law=law,
            prediction=prediction,
            best_parameters=None if best is None else best[0],
            best_tokens=None if best is None else best[1],
            check=_compared(prediction, measure(aim)) if check else None,
            mlflow_run=family.parent.run_id,
        )
        family.log(_metrics(result), write_report(result))
    return result


def _refuse_hopeless(rungs: list[Rung], aim: Rung) -> None:
    """Find out before the first training whether there can be a law that says something about the target."""
    trial = fit_law([Point(rung.parameters, rung.tokens, 1 + 100 * rung.parameters**-0.5) for rung in rungs])
    trial.loss(aim.parameters, aim.tokens)


def _trained(
    rung: Rung, model: LanguageModelSettings, data: TrainingData, *, family: Family, folder: Path, keep_model: bool
) -> tuple[float, float]:
    """Validation loss at the end, and passes over the source that was repeated most."""
    identity = fingerprint(
        {
            "kind": "scaling_law_training",
            "training": rung.training.model_dump(mode="json"),
            "processes": model.launch.ranks,
            "data": data.identity(),
            "code_version": CODE_VERSION,
        }
    )
    run = TrainingRun(folder / identity)
    ending = train_followed(
        run,
        model.model_copy(update={"training": rung.training}),
        data,
        family=family,
        name=rung.name,
        fingerprint=identity,
        keep_model=keep_model,
    )
    if ending.state != "finished":
        raise ScalingLawError(f"the training {rung.name} (layers x width - tokens) {ending.state}: {ending.reason}")
    return ending.losses[max(ending.losses)], max(run.report()["epochs"].values())


def _compared(prediction: Prediction, measured: Measured) -> Check:
    inside = None
    if prediction.low is not None and prediction.high is not None:
        inside = prediction.low <= measured.loss <= prediction.high
    return Check(measured.loss, measured.loss / prediction.loss - 1, inside, measured.epochs)


def _metrics(result: ScalingLaw) -> dict[str, float]:
    law = result.law
    metrics = {f"law.{name}": getattr(law, name) for name in ("E", "A", "alpha", "B", "beta")}
    metrics["predicted.loss"] = result.prediction.loss
    if result.check is not None:
        metrics |= {"measured.loss": result.check.loss, "measured.error": result.check.error}
    return metrics
