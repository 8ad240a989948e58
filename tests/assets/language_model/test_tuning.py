"""Studies whose trainings are formulas; real ones are in tests/pipelines/test_tune_command.py."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from assets.language_model.followed_training import Ending, TrainingData, Watch
from assets.language_model.settings import LanguageModelSettings
from assets.language_model.tuning.run import study_fingerprint
from assets.language_model.tuning.search_space import with_values
from assets.language_model.tuning.settings import TuneSettings
from assets.language_model.tuning.study import (
    Candidate,
    Trial,
    TuningError,
    best_trial,
    importances,
    trial_settings,
    tune,
)
from training.artifact import Artifact, Manifest
from training.run_settings import TrainingSettings
from training.settings import SettingsError

BASE = TrainingSettings.model_validate({"steps": 100, "optimizer": {"learning_rate": 0.5}})
SEARCH = {
    "optimizer.learning_rate": {"low": 1e-4, "high": 1.0, "log": True},
    "model.layers": {"type": "int", "low": 1, "high": 12},
    "schedule.shape": {"type": "choice", "choices": ["linear", "cosine", "constant"]},
}


def search(**changes: Any) -> TuneSettings:
    return TuneSettings.parse({"search": SEARCH, "trials": 8, "steps": 40, "validations": 4} | changes, origin="test")


def formula(training: TrainingSettings) -> float:
    """Least at a learning rate of 0.01, with constant; layers hardly matter."""
    rate = math.log10(training.optimizer.learning_rate) + 2
    return 2 + rate**2 + 0.001 * training.model.layers - (training.schedule.shape == "constant")


def train(candidate: Candidate, watch: Watch) -> Ending:
    """Loss falls to the formula's value."""
    losses: dict[int, float] = {}
    every = candidate.training.validate_every
    for step in range(every, candidate.training.steps + 1, every):
        losses[step] = formula(candidate.training) + 4 / step
        if watch(step, losses[step]):
            return Ending("stopped", losses)
    return Ending("finished", losses)


def run(folder: Path, settings: TuneSettings, train: Callable[[Candidate, Watch], Ending] = train) -> list[Trial]:
    return tune(settings, BASE, folder=folder, train=train, tell=lambda trial: None)


def test_a_study_finds_what_is_good_and_says_what_mattered(tmp_path: Path) -> None:
    settings = search(trials=16, seed=1)
    trials = run(tmp_path, settings)
    assert len(trials) == 16
    # The first is the preset itself.
    assert trials[0].values == {"optimizer.learning_rate": 0.5, "model.layers": 6, "schedule.shape": "cosine"}
    best = best_trial(trials)
    assert best.loss is not None
    assert best.loss == min(trial.loss for trial in trials if trial.loss is not None)
    assert best.loss < 1.4
    assert best.values["schedule.shape"] == "constant"
    assert 0.002 < best.values["optimizer.learning_rate"] < 0.05
    shares = importances(tmp_path, settings)
    assert list(shares)[-1] == "model.layers"
    assert sum(shares.values()) == pytest.approx(1.0)


def test_trials_worse_than_the_median_are_stopped_and_have_no_loss(tmp_path: Path) -> None:
    trials = run(tmp_path / "pruned", search(random_trials=8))
    stopped = [trial for trial in trials if trial.state == "pruned"]
    assert stopped
    assert all(trial.loss is None and trial.step < 40 for trial in stopped)
    # Four come to their end first.
    assert [trial.state for trial in trials[:4]] == ["complete"] * 4
    assert [trial.step for trial in run(tmp_path / "whole", search(pruning={"enabled": False}))] == [40] * 8
    late = run(tmp_path / "late", search(random_trials=8, pruning={"trials": 1, "steps": 25}))
    assert {trial.step for trial in late} == {30, 40}


def test_one_seed_is_one_study_and_more_trials_continue_it(tmp_path: Path) -> None:
    first = run(tmp_path / "first", search())
    other = run(tmp_path / "other", search(seed=1, trials=2))
    assert other[0] == first[0]
    assert other[1].values != first[1].values
    turned = run(tmp_path / "turned", search(search=dict(reversed(SEARCH.items())), trials=3))
    assert [trial.losses for trial in turned] == [trial.losses for trial in first[:3]]
    run(tmp_path / "short", search(trials=5))
    trained: list[int] = []

    def watched(candidate: Candidate, watch: Watch) -> Ending:
        trained.append(candidate.number)
        return train(candidate, watch)

    assert run(tmp_path / "short", search(), watched) == first
    assert trained == list(range(5, 8))
    assert run(tmp_path / "short", search(), watched) == first
    assert trained == list(range(5, 8))


def killed_in_trial(number: int, folder: Path) -> None:
    """A process of its own begins the study and is killed in the middle of a trial."""

    def dying(candidate: Candidate, watch: Watch) -> Ending:
        def dying_watch(step: int, loss: float) -> bool:
            if candidate.number == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return watch(step, loss)

        return train(candidate, dying_watch)

    process = multiprocessing.get_context("fork").Process(target=run, args=(folder, search(), dying))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def test_a_killed_study_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    killed_in_trial(0, tmp_path / "killed")
    killed_in_trial(0, tmp_path / "killed")
    killed_in_trial(6, tmp_path / "killed")
    numbers: list[int] = []

    def watched(candidate: Candidate, watch: Watch) -> Ending:
        numbers.append(candidate.number)
        return train(candidate, watch)

    assert run(tmp_path / "killed", search(), watched) == run(tmp_path / "whole", search())
    assert numbers == [6, 7]


def test_failed_trials_end_the_study_after_three_and_are_done_again(tmp_path: Path) -> None:
    def failing(candidate: Candidate, watch: Watch) -> Ending:
        return train(candidate, watch) if candidate.number < 2 else Ending("failed", {}, "no space left")

    with pytest.raises(TuningError, match="3 trials failed one after another, the last with no space left"):
        run(tmp_path, search(), failing)
    trials = run(tmp_path, search())
    assert len(trials) == 8
    assert "failed" not in {trial.state for trial in trials}


def test_refused_trials_are_told_and_passed_over(tmp_path: Path) -> None:
    # Five heads do not divide a width of 256.
    settings = search(search={"model.heads": {"type": "choice", "choices": [4, 5]}}, trials=6)
    trials = run(tmp_path / "some", settings)
    refused = [trial for trial in trials if trial.state == "refused"]
    assert refused
    assert {trial.values["model.heads"] for trial in refused} == {5}
    assert "width 256 is no multiple of heads 5" in refused[0].reason

    def diverging(candidate: Candidate, watch: Watch) -> Ending:
        return Ending("refused", {}, "the loss is no finite number")

    with pytest.raises(TuningError, match="no trial came to its end: the loss is no finite number"):
        best_trial(run(tmp_path / "all", search(trials=4), diverging))


def test_equal_values_are_trained_once(tmp_path: Path) -> None:
    trained: list[Any] = []

    def watched(candidate: Candidate, watch: Watch) -> Ending:
        trained.append(candidate.values["schedule.shape"])
        return train(candidate, watch)

    settings = search(search={"schedule.shape": SEARCH["schedule.shape"]}, pruning={"enabled": False})
    trials = run(tmp_path, settings, watched)
    assert sorted(trained) == ["constant", "cosine", "linear"]
    assert len({(trial.values["schedule.shape"], trial.loss) for trial in trials}) == 3
    first = [trial.number for trial in trials if not trial.reason]
    assert len(first) == 3
    assert {trial.reason for trial in trials} <= {"", *(f"the same as trial {number}" for number in first)}


def test_a_study_is_the_same_wherever_its_ranks_run(tmp_path: Path) -> None:
    manifest = Manifest("vocabulary", "f", "d", "1", {}, {}, {}, ())
    data = TrainingData({}, {}, Artifact(tmp_path, manifest))

    def identity(**model: Any) -> str:
        return study_fingerprint(search(), LanguageModelSettings.parse(model, origin="test"), data)

    same = identity()
    assert identity(launch={"restarts": 9, "slurm": {"time": "12:00:00"}}, experiment="another") == same
    assert identity(launch={"processes": 2}) != same
    with pytest.raises(SettingsError, match=r"'continue_from': .* holds no finished training"):
        identity(continue_from=str(tmp_path))
    for name in ("run.json", "report.json", "model/model.safetensors"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("first")
    first = identity(continue_from=str(tmp_path))
    (tmp_path / "model" / "model.safetensors").write_text("trained again")
    assert len({same, first, identity(continue_from=str(tmp_path))}) == 3


def test_a_study_at_work_is_not_started_again(tmp_path: Path) -> None:
    def inside(candidate: Candidate, watch: Watch) -> Ending:
        with pytest.raises(SettingsError, match="another process is at work on the study"):
            run(tmp_path, search())
        return train(candidate, watch)

    run(tmp_path, search(trials=1), inside)


@pytest.mark.parametrize(
    ("key", "space", "message"),
    [
        ("optimizer.learning_rat", {"low": 0.1, "high": 1}, "'optimizer.learning_rat', did you mean 'learning_rate'?"),
        ("optimiser.learning_rate", {"low": 0.1, "high": 1}, "unknown key 'optimiser', did you mean 'optimizer'?"),
        ("steps.more", {"low": 0.1, "high": 1}, "'steps.more' is not searched for"),
        ("batch.size", {"low": 1, "high": 2}, "unknown key 'batch.size', 'batch' is one value"),
        ("optimizer", {"low": 0.1, "high": 1}, "'optimizer' is a group of settings; name one of it, known: beta1"),
        ("steps", {"type": "int", "low": 10, "high": 20}, "'steps' is not searched for"),
        ("optimizer.beta2", {"low": 0.9, "high": 1.5}, "'search.optimizer.beta2': 1.5 is not possible"),
        ("model.layers", {"low": 1, "high": 5}, "'search.model.layers': 2.5"),
        ("schedule.shape", {"type": "choice", "choices": ["cosine", "sine"]}, "'sine' is not possible"),
    ],
)
def test_impossible_search_spaces_name_the_key(tmp_path: Path, key: str, space: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        run(tmp_path, search(search={key: space}))
    assert message in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"low": 1.0, "high": 0.1}, "'low' 1 has to be less than 'high' 0.1"),
        ({"low": 0, "high": 1, "log": True}, "'low' 0 has to be above 0 for log"),
        ({"high": 1}, "'low' and 'high' are needed"),
        ({"type": "int", "low": 0.5, "high": 2}, "whole numbers"),
        ({"type": "choice"}, "a choice needs 'choices'"),
        ({"type": "choice", "choices": [1, 2], "low": 0}, "a choice has 'choices' and nothing else"),
        ({"type": "choice", "choices": [1, 1]}, "names a value twice"),
        ({"low": 0, "hihg": 1}, "unknown key 'search.optimizer.learning_rate.hihg', did you mean 'high'?"),
        ({"type": "floot", "low": 0, "high": 1}, "'search.optimizer.learning_rate.type' = 'floot'"),
    ],
)
def test_ranges_that_are_none_are_refused(space: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        search(search={"optimizer.learning_rate": space})
    assert message in str(caught.value)
    assert "search.optimizer.learning_rate" in str(caught.value)


def test_a_trial_is_a_whole_schedule_of_its_length() -> None:
    training = trial_settings(search(steps=41, validation_documents=7), BASE)
    assert (training.steps, training.validate_every, training.validation_documents) == (41, 11, 7)
    assert trial_settings(search(steps=None), BASE).steps == 100
    curriculum = with_values(BASE, {"curriculum": [{"steps": 100}]}, origin="test")
    with pytest.raises(SettingsError, match="'steps' is 40, but the phases of 'curriculum' have 100 together"):
        trial_settings(search(), curriculum)
