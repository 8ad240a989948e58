"""A training that ends too early is started again from its newest checkpoint, and it is said why."""

from __future__ import annotations

import fcntl
import re
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from assets.language_model.launchers import launch, remove_left_over
from assets.language_model.launchers.launched import Launched
from assets.language_model.launchers.processes import last_lines
from assets.language_model.launchers.settings import LaunchSettings
from assets.language_model.training_run import TrainingRun
from training.events import Event, append_event
from training.exit_codes import REFUSED, STOPPED
from training.settings import SettingsError
from training.watchdog import STACKS, read_heartbeat

POLL_SECONDS = 0.5
SUPERVISED = ".supervised"
ERROR_LINES = 30
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 60.0
_HUNG = -signal.SIGKILL
# Python's own last line of an uncaught error, or the trainer's; pdsh begins it with a node's name, torch with a rank's.
_ERROR = re.compile(
    r"^(?:\S+: )?(?:error: )?((?<=error: ).*|[\w.]*(?:Error|Exception|Interrupt)(?::.*)?)$", re.MULTILINE
)
_LOOKED_AT, _SHOWN = 1 << 18, 200


class TrainerError(RuntimeError):
    """The trainer ended without its final report, too often; the message holds its exit code and last words."""


class TrainerRefusedError(TrainerError):
    """The trainer says itself what is wrong, and it would be so again."""


def train_supervised(
    run: TrainingRun,
    settings: LaunchSettings,
    *,
    environment: Mapping[str, str],
    tick: Callable[[], bool | None],
) -> bool:
    """Train to the end, starting again whatever fails, as often as the settings allow.

    Args:
        run: The training's folder, configured.
        settings: Where ranks run, and how often they are started again.
        environment: All variables of the ranks.
        tick: Called about twice a second and after each end; true stops the training.

    Returns:
        Whether it is finished; false if ``tick`` or a signal to the ranks has stopped it.

    Raises:
        TrainerError: If it failed too often.
        SettingsError: If ranks cannot be started as the settings say, or somebody else trains in the folder.
        BaseException: An interrupt (a cancelled run) is raised on after every rank has ended.
    """
    with _alone(run):
        # Also where the ranks have finished without their launcher, and nothing is started.
        remove_left_over(run.configuration, settings)
        return _train(run, settings, environment=environment, tick=tick)


@contextmanager
def _alone(run: TrainingRun) -> Iterator[None]:
    """Hold the run; whoever held it and was killed holds it no more, and what is left of his ranks is stopped."""
    with (run.folder / SUPERVISED).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SettingsError(f"another training is at work in {run.folder}; wait for it or stop it") from None
        yield


def _train(
    run: TrainingRun,
    settings: LaunchSettings,
    *,
    environment: Mapping[str, str],
    tick: Callable[[], bool | None],
) -> bool:
    restarts, reached = 0, run.newest_step()
    while not run.finished:
        begin = run.log.stat().st_size if run.log.is_file() else 0
        with launch(run.configuration, settings, environment=environment, log=run.log) as launched:
            ended = _watch(run, launched, tick, begin)
        tick()
        if run.finished:
            break
        if ended is None:
            return False
        if ended.code == STOPPED and not launched.again:
            return False
        if ended.code == REFUSED:
            raise TrainerRefusedError(_refusal(run))
        step = run.newest_step()
        if step > reached:
            restarts, reached = 0, step
        words = last_lines(run.log, ERROR_LINES)
        if restarts >= settings.restarts:
            raise TrainerError(
                f"the trainer {ended.reason} and was started again {restarts} times without getting further than "
                f"step {step}; nothing is lost, run the job again when the cause is gone. The end of {run.log}:\n"
                f"{words}"
            )
        restarts += 1
        pause = min(FIRST_PAUSE_SECONDS * 2 ** (restarts - 1), LONGEST_PAUSE_SECONDS)
        from_where = f"the checkpoint of step {step}" if step else "the beginning"
        append_event(
            run.folder,
            Event(
                "restart",
                f"the trainer {ended.reason}; it is started again from {from_where} in {pause:.0f} s "
                f"({restarts} of {settings.restarts} without a new checkpoint)",
                step=step,
                details={"code": ended.code, "last_words": words.splitlines()[-5:]},
            ),
        )
        tick()
        time.sleep(pause)
    return True


@dataclass(frozen=True)
class _Ended:
    code: int
    reason: str


def _watch(run: TrainingRun, launched: Launched, tick: Callable[[], bool | None], begin: int) -> _Ended | None:
    """Wait for the end; None if ``tick`` asks for it. The log of this start begins at byte ``begin``."""
    started = time.time()
    while (code := launched.poll()) is None:
        time.sleep(POLL_SECONDS)
        if tick():
            return None
        if launched.waiting:
            started = time.time()
        beat = read_heartbeat(run.folder)
        if beat is not None and beat.time > started and time.time() > beat.deadline:
            silent = time.time() - beat.time
            usual = f", where a step takes {beat.median:.2f} s" if beat.median else ""
            known = _in_brackets(_first_error(run.log, begin), _stacks(run, started))
            return _Ended(_HUNG, f"gave no sign of life for {silent:.0f} s after step {beat.step}{usual}{known}")
    if launched.reason:
        # A node that was cut off may write its stacks later, when others train.
        return _Ended(code, launched.reason)
    stacks, error = _stacks(run, started), _first_error(run.log, begin)
    if stacks:
        return _Ended(code, f"hung: {stacks}{_in_brackets(error)}")
    return _Ended(code, _in_words(code, error))


def _in_brackets(*known: str) -> str:
    """What is known beyond a sentence."""
    words = "; ".join(filter(None, known))
    return f" ({words})" if words else ""


def _stacks(run: TrainingRun, started: float) -> str:
    """Which ranks wrote down what they were doing when they hung, and the innermost call of each."""
    told = []
    for path in sorted((run.folder / STACKS).glob("rank-*.txt")):
        if path.stat().st_mtime >= started and (text := path.read_text(encoding="utf-8", errors="replace").strip()):
            calls = text.split("(most recent call first):\n")[-1].splitlines()
            told.append(f"{path.stem} was in {calls[0].strip() if calls else 'nothing'}")
            path.replace(path.with_name(f"{path.stem}-{time.strftime('%Y%m%d-%H%M%S')}.txt"))
    return "; ".join(told)


def _in_words(code: int, error: str) -> str:
    """An exit code, where launchers hand on a signal in one of three ways: -9, 137 or 247; and what a rank has said."""
    for number in (-code, code - 128, 256 - code):
        if 0 < number < signal.SIGRTMIN:
            return f"was killed by {signal.Signals(number).name}"
    return f"ended with exit code {code}{_in_brackets(error)}"


def _first_error(log: Path, begin: int) -> str:
    """What the first rank that failed said last, as far as it is an error's message; the others break off after it."""
    if not log.is_file():
        return ""
    with log.open("rb") as file:
        file.seek(max(begin, log.stat().st_size - _LOOKED_AT))
        found = _ERROR.search(file.read().decode("utf-8", "replace"))
    return found[1][:_SHOWN].rstrip(": ") if found else ""


def _refusal(run: TrainingRun) -> str:
    """What the trainer says is wrong."""
    words = last_lines(run.log, ERROR_LINES)
    # pdsh begins each line with the node's name.
    errors = re.findall(r"^(?:\S+: )?error: (.*)", words, re.MULTILINE)
    return errors[-1] if errors else words
