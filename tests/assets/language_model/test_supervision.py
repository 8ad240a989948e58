"""A training that is harmed, as the one who has started it sees it."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from assets.language_model.launchers.local import rank_environment
from assets.language_model.launchers.programs import TRAINER
from assets.language_model.launchers.settings import LaunchSettings
from assets.language_model.supervision import TrainerError, TrainerRefusedError, train_supervised
from assets.language_model.training_run import TrainingRun
from tests.assets.language_model.small_training import configure_small
from tests.training.trainer_runs import losses, write_counting_documents
from training.events import read_events
from training.settings import SettingsError

LAUNCH = LaunchSettings(processes=1, grace_seconds=30)


@pytest.fixture
def configured(tmp_path: Path) -> Callable[..., TrainingRun]:
    data = write_counting_documents(tmp_path)

    def configure(name: str, **training: Any) -> TrainingRun:
        run = TrainingRun(tmp_path / name)
        steps = {"steps": 400, "validate_every": 400, "checkpoint_every": 20}
        configure_small(run, data, launch=LAUNCH, **steps | training)
        return run

    return configure


def supervised(run: TrainingRun, tick: Callable[[], bool | None] = lambda: None, **launch: Any) -> bool:
    settings = LAUNCH.model_copy(update=launch)
    return train_supervised(run, settings, environment=rank_environment(settings), tick=tick)


def ranks_of(run: TrainingRun) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if {str(TRAINER), str(run.configuration)} <= set(words) and "deepspeed.launcher" not in " ".join(words):
            found.append(process)
    return found


def at_step(run: TrainingRun, step: int, do: Callable[[], None]) -> Callable[[], None]:
    """Something that is done once, when a step is reached."""
    done = False

    def tick() -> None:
        nonlocal done
        if not done and losses(run.folder) and max(losses(run.folder)) >= step:
            done = True
            do()

    return tick


@pytest.mark.slow
def test_a_killed_rank_is_started_again_and_nothing_is_lost(configured: Callable[..., TrainingRun]) -> None:
    whole, harmed = configured("whole"), configured("harmed")
    assert supervised(whole)
    assert supervised(harmed, at_step(harmed, 50, lambda: ranks_of(harmed)[0].kill()))
    assert losses(harmed.folder) == losses(whole.folder)
    said = [event for event in read_events(harmed.folder) if event.kind not in ("progress", "checkpoint")]
    assert [event.kind for event in said] == ["restart", "resume"]
    assert "the trainer was killed by SIGKILL; it is started again from the checkpoint of step" in said[0].message
    assert said[1].step >= 40
    before = read_events(harmed.folder)
    assert supervised(harmed)
    assert read_events(harmed.folder) == before


@pytest.mark.slow
def test_what_fails_at_once_is_given_up_with_its_last_words(
    configured: Callable[..., TrainingRun], tmp_path: Path
) -> None:
    run = configured("run")
    (tmp_path / "deepspeed").mkdir()
    (tmp_path / "deepspeed" / "__init__.py").write_text("raise ImportError('it is broken')")
    environment = rank_environment(LAUNCH) | {"PYTHONPATH": str(tmp_path)}
    with pytest.raises(
        TrainerError, match=r"(?s)was started again 1 times without getting further than step 0.*it is broken"
    ):
        train_supervised(run, LAUNCH.model_copy(update={"restarts": 1}), environment=environment, tick=lambda: None)
    (restart,) = (event for event in read_events(run.folder) if event.kind != "progress")
    assert restart.message.startswith("the trainer ended with exit code 1 (ImportError: it is broken); it is started")


@pytest.mark.slow
def test_what_the_trainer_refuses_is_not_tried_again(configured: Callable[..., TrainingRun]) -> None:
    run = configured("run", batch=6)
    with pytest.raises(TrainerRefusedError, match="batch 6 is no multiple of micro_batch 4"):
        supervised(run)
    assert all(event.kind == "progress" for event in read_events(run.folder))


@pytest.mark.slow
def test_a_stopped_rank_is_killed_and_the_training_goes_on(configured: Callable[..., TrainingRun]) -> None:
    # It may be stopped while a checkpoint is taken.
    watchdog = {"factor": 5.0, "least_seconds": 4.0, "pause_seconds": 30.0}
    run = configured("run", watchdog=watchdog)
    assert supervised(run, at_step(run, 50, lambda: ranks_of(run)[0].suspend()))
    restarts = [event.message for event in read_events(run.folder) if event.kind == "restart"]
    # A busy machine may stand still for another four seconds later on.
    assert "gave no sign of life for" in restarts[0]
    assert sorted(losses(run.folder)) == list(range(1, 401))


@pytest.mark.slow
def test_two_do_not_train_in_one_folder_and_the_ranks_of_a_dead_one_are_taken_over(
    configured: Callable[..., TrainingRun],
) -> None:
    run = configured("run", steps=3000, checkpoint_every=500)
    program = (
        "import sys\nfrom pathlib import Path\n"
        "from assets.language_model.launchers.local import rank_environment\n"
        "from assets.language_model.supervision import train_supervised\n"
        "from assets.language_model.training_run import TrainingRun\n"
        "run = TrainingRun(Path(sys.argv[1]))\n"
        "train_supervised(run, run.launch(), environment=rank_environment(run.launch()), tick=lambda: None)\n"
    )
    other = subprocess.Popen([sys.executable, "-c", program, str(run.folder)])
    deadline = time.monotonic() + 300
    while not losses(run.folder):
        assert other.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    with pytest.raises(SettingsError, match="another training is at work in"):
        supervised(run)
    assert ranks_of(run)
    first = ranks_of(run)[0].pid
    other.send_signal(signal.SIGKILL)
    other.wait()
    stop = threading.Event()
    threading.Timer(60, stop.set).start()
    assert not supervised(run, lambda: stop.is_set() or any(rank.pid != first for rank in ranks_of(run)))
    assert ranks_of(run) == []
    assert not psutil.pid_exists(first)
