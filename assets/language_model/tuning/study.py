"""The trials of a study, one after another; a study that was killed goes on as if it had not been.

Optuna's samplers draw from one stream of random numbers, which a new process would begin anew. Here each trial has a
sampler with a seed of its own, made of the study's seed and the number of trials before it, so that what is tried
depends on the settings and the losses alone.
"""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from assets.language_model.followed_training import Ending, Watch
from assets.language_model.tuning.search_space import check_search, distribution, preset_values, with_values
from assets.language_model.tuning.settings import TuneSettings
from training.run_settings import TrainingSettings
from training.settings import SettingsError

STORE = "study.db"
NAME = "tune"
LOCK = ".lock"
MOST_FAILURES = 3
# Attribute of Optuna's trials that are refused, failed or repeated. One that failed without a reason was interrupted.
_REASON = "reason"
_REPEATED = "the same as trial "


class TuningError(RuntimeError):
    """A study cannot go on; the message says why and what to do."""


@dataclass(frozen=True)
class Candidate:
    """What is trained in a trial: its number, the chosen values by dotted key, and the settings with them."""

    number: int
    values: dict[str, Any]
    training: TrainingSettings


@dataclass(frozen=True)
class Trial:
    """A trial that is over.

    Attributes:
        number: From 0, in the order of the trials.
        state: complete, pruned, refused (the settings are impossible, or the loss became infinite) or failed.
        loss: Validation loss of the last step, nats a token; None if it is not complete.
        step: The last validated step; 0 if there is none.
        values: The chosen values by dotted key.
        losses: Validation loss by step.
        reason: Why it was refused or failed, or of which trial it is a repetition.
    """

    number: int
    state: Literal["complete", "pruned", "refused", "failed"]
    loss: float | None
    step: int
    values: dict[str, Any]
    losses: dict[int, float]
    reason: str


Train = Callable[[Candidate, Watch], Ending]
"""Trains a candidate and asks the watch at each validation."""


def tune(
    settings: TuneSettings, training: TrainingSettings, *, folder: Path, train: Train, tell: Callable[[Trial], None]
) -> list[Trial]:
    """Do the trials that a study has left.

    Args:
        settings: The search.
        training: The preset's training.
        folder: Of the study; another one for other settings or other data.
        train: Does a training.
        tell: Called after each trial.

    Returns:
        All trials of the study, in order.

    Raises:
        SettingsError: If the search is impossible, or another process is at work on the study.
        TuningError: If three trials after one another fail without a word of the trainer's.
    """
    base = trial_settings(settings, training)
    check_search(settings, base)
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        study = _open(settings, folder)
        _requeue_interrupted(study, settings)
        own = preset_values(settings, base)
        if not study.trials and own is not None:
            study.enqueue_trial(own)
        failures = 0
        while len(finished := _finished(study)) < settings.trials:
            number = len(finished)
            _one_trial(study, _ask(study, settings, number=number), number, base, settings, train)
            last = _finished(study)[-1]
            tell(last)
            failures = failures + 1 if last.state == "failed" else 0
            if failures == MOST_FAILURES:
                raise TuningError(f"{MOST_FAILURES} trials failed one after another: {last.reason}")
        return finished[: settings.trials]


def trial_settings(settings: TuneSettings, training: TrainingSettings) -> TrainingSettings:
    """The preset's training in the length of a trial.

    Raises:
        SettingsError: If the preset has a curriculum of another length.
    """
    steps = settings.steps or training.steps
    changes: dict[str, Any] = {
        "steps": steps,
        "validate_every": -(-steps // settings.validations),
        "validation_documents": settings.validation_documents or training.validation_documents,
        "patience": 0,
        "keep_best": False,
        "keep_checkpoints": 1,
    }
    return with_values(training, changes, origin="'steps'")


def best_trial(trials: list[Trial]) -> Trial:
    """The complete trial of the lowest loss.

    Raises:
        TuningError: If none is complete.
    """
    complete = [trial for trial in trials if trial.loss is not None]
    if not complete:
        reasons = "; ".join(sorted({trial.reason for trial in trials if trial.reason}))
        raise TuningError(f"no trial came to its end: {reasons or 'all were stopped'}")
    return min(complete, key=lambda trial: (trial.loss, trial.number))


def importances(folder: Path, settings: TuneSettings) -> dict[str, float]:
    """Share of the losses' variance that each setting explains (fANOVA, Hutter et al. 2014), the largest first.

    Empty where fewer than four trials are complete, or all losses or settings are alike.
    """
    study = _open(settings, folder)
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(complete) < 4 or len({trial.value for trial in complete}) < 2:
        return {}
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=settings.seed)
    found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {name: float(value) for name, value in found.items()}


def _open(settings: TuneSettings, folder: Path) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pruning = settings.pruning
    pruner = (
        optuna.pruners.MedianPruner(n_startup_trials=pruning.trials, n_warmup_steps=pruning.steps)
        if pruning.enabled
        else optuna.pruners.NopPruner()
    )
    return optuna.create_study(
        storage=f"sqlite:///{folder / STORE}", study_name=NAME, pruner=pruner, load_if_exists=True
    )


def _requeue_interrupted(study: optuna.Study, settings: TuneSettings) -> None:
    """A trial that was running when the process was killed has failed; a new one with its values takes its place."""
    trials = study.get_trials(deepcopy=False)
    waiting = [trial.system_attrs.get("fixed_params") for trial in trials if trial.state == TrialState.WAITING]
    for trial in trials:
        if trial.state != TrialState.RUNNING:
            continue
        values = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
        # One that was killed while its values were drawn is drawn again. The new one is there before the old one fails.
        if values not in waiting and values.keys() == settings.search.keys():
            study.enqueue_trial(values)
        study.tell(trial.number, state=TrialState.FAIL)


def _ask(study: optuna.Study, settings: TuneSettings, *, number: int) -> optuna.Trial:
    seed = int(np.random.SeedSequence((settings.seed, number)).generate_state(1)[0])
    study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=settings.random_trials, multivariate=True)
    return study.ask({key: distribution(search) for key, search in settings.search.items()})


def _one_trial(
    study: optuna.Study,
    trial: optuna.Trial,
    number: int,
    base: TrainingSettings,
    settings: TuneSettings,
    train: Train,
) -> None:
    def watch(step: int, loss: float) -> bool:
        trial.report(loss, step)
        return step < base.steps and trial.should_prune()

    earlier = next((other for other in _finished(study) if other.values == trial.params and not other.reason), None)
    if earlier is not None:
        # It would end alike.
        for step, loss in earlier.losses.items():
            trial.report(loss, step)
        trial.set_user_attr(_REASON, f"{_REPEATED}{earlier.number}")
        study.tell(trial, earlier.loss, state=TrialState.PRUNED if earlier.loss is None else TrialState.COMPLETE)
        return
    try:
        training = with_values(base, trial.params, origin="these together")
    except SettingsError as error:
        ending = Ending("refused", {}, str(error))
    else:
        ending = train(Candidate(number, dict(trial.params), training), watch)
    if ending.reason:
        trial.set_user_attr(_REASON, ending.reason)
    if ending.state == "finished":
        study.tell(trial, ending.losses[max(ending.losses)])
    else:
        # To the sampler, a refused trial is one that is worse than all others.
        study.tell(trial, state=TrialState.FAIL if ending.state == "failed" else TrialState.PRUNED)


def _finished(study: optuna.Study) -> list[Trial]:
    """The trials that are over, numbered without those that were interrupted."""
    over = [
        trial
        for trial in study.get_trials(deepcopy=False)
        if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)
        or (trial.state == TrialState.FAIL and _REASON in trial.user_attrs)
    ]
    return [_trial(number, trial) for number, trial in enumerate(over)]


def _trial(number: int, trial: FrozenTrial) -> Trial:
    reason = str(trial.user_attrs.get(_REASON, ""))
    states: dict[TrialState, Literal["complete", "pruned", "failed"]] = {
        TrialState.COMPLETE: "complete",
        TrialState.PRUNED: "pruned",
        TrialState.FAIL: "failed",
    }
    state = states[trial.state]
    losses = {int(step): float(loss) for step, loss in sorted(trial.intermediate_values.items())}
    return Trial(
        number=number,
        state="refused" if state == "pruned" and reason and not reason.startswith(_REPEATED) else state,
        loss=trial.value if state == "complete" else None,
        step=max(losses, default=0),
        values=dict(trial.params),
        losses=losses,
        reason=reason,
    )


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with (folder / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SettingsError(
                f"another process is at work on the study in {folder}; wait for it or stop it"
            ) from None
        yield
