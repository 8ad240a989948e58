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
# Attributes of Optuna's trials: our number, which one that is done again keeps; why it is refused, failed or repeated.
# One that failed without a reason was interrupted.
_NUMBER, _REASON = "number", "reason"
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
        _requeue(study, settings)
        own = preset_values(settings, base)
        if not study.trials and own is not None:
            study.enqueue_trial(own, user_attrs={_NUMBER: 0})
        failures = 0
        while _waiting(study) or len(_finished(study)) < settings.trials:
            number = _one_trial(study, settings, base, train)
            last = _finished(study)[number]
            tell(last)
            failures = failures + 1 if last.state == "failed" else 0
            if failures == MOST_FAILURES:
                raise TuningError(
                    f"{MOST_FAILURES} trials failed one after another, the last with {last.reason}; started again, the "
                    "study does them once more"
                )
        return _finished(study)[: settings.trials]


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


def _requeue(study: optuna.Study, settings: TuneSettings) -> None:
    """Trials that were running when the process was killed, or failed, are done again under their numbers."""
    waiting = {trial.user_attrs[_NUMBER] for trial in _waiting(study)}
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    failed = [trial for trial in _over(study) if trial.state == TrialState.FAIL]
    for trial in (*failed, *running):
        values = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
        number = trial.user_attrs.get(_NUMBER)
        # One that was killed while its values were drawn is drawn again.
        if number is not None and number not in waiting and values.keys() == settings.search.keys():
            study.enqueue_trial(values, user_attrs={_NUMBER: number})
    # Only now, so that none is lost if this process is killed too.
    for trial in running:
        study.tell(trial.number, state=TrialState.FAIL)


def _one_trial(study: optuna.Study, settings: TuneSettings, base: TrainingSettings, train: Train) -> int:
    """Do the next trial; returns its number."""
    earlier = _finished(study)
    seed = int(np.random.SeedSequence((settings.seed, len(earlier))).generate_state(1)[0])
    study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=settings.random_trials, multivariate=True)
    # Sorted, because what is drawn depends on the order, and the study is the same in any.
    trial = study.ask({key: distribution(search) for key, search in sorted(settings.search.items())})
    number = int(trial.user_attrs.get(_NUMBER, len(earlier)))
    trial.set_user_attr(_NUMBER, number)

    def watch(step: int, loss: float) -> bool:
        trial.report(loss, step)
        return step < base.steps and trial.should_prune()

    same = next((other for other in earlier if other.values == trial.params and not other.reason), None)
    if same is not None:
        # It would end alike.
        for step, loss in same.losses.items():
            trial.report(loss, step)
        trial.set_user_attr(_REASON, f"{_REPEATED}{same.number}")
        study.tell(trial, same.loss, state=TrialState.PRUNED if same.loss is None else TrialState.COMPLETE)
        return number
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
    return number


def _waiting(study: optuna.Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=(TrialState.WAITING,))


def _over(study: optuna.Study) -> list[FrozenTrial]:
    """The last trial of each number that is over, in the order of numbers."""
    last = {
        int(trial.user_attrs[_NUMBER]): trial
        for trial in study.get_trials(deepcopy=False)
        if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)
        or (trial.state == TrialState.FAIL and _REASON in trial.user_attrs)
    }
    return [last[number] for number in sorted(last)]


def _finished(study: optuna.Study) -> list[Trial]:
    """The trials that are over, by their numbers from 0."""
    return [_trial(number, trial) for number, trial in enumerate(_over(study))]


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
