"""Ranks as a job of Slurm: submitted, followed while it waits and runs, taken up again, cancelled."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from assets.language_model.launchers.launched import Launched
from assets.language_model.launchers.settings import LaunchSettings
from assets.language_model.launchers.slurm_script import training_script
from training.artifact import write_atomically
from training.events import Event, append_event
from training.exit_codes import STOPPED
from training.settings import SettingsError

SCRIPT, JOB = "job.sbatch", "slurm-job"
_WAITING = {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SUSPENDED", "SPECIAL_EXIT"}
_ALIVE = _WAITING | {"RUNNING", "COMPLETING", "STAGE_OUT", "SIGNALING", "RESIZING", "STOPPED"}
_GONE = "Invalid job id"


@contextmanager
def launch_slurm(
    config: Path, settings: LaunchSettings, *, environment: Mapping[str, str], log: Path
) -> Iterator[Launched]:
    """See ``assets.language_model.launchers.launch``. A job of this run that still lives is followed, not doubled.

    Raises:
        SettingsError: If Slurm's programs are missing, or it refuses the job.
    """
    run = config.parent
    job = _living_job(run)
    if job is None:
        script = run / SCRIPT
        write_atomically(script, training_script(config, settings, run=run, log=log))
        job = _submit(script, environment, run)
        write_atomically(run / JOB, job)
        append_event(run, Event("progress", f"job {job} is submitted to Slurm: squeue --job {job}"))
    else:
        append_event(run, Event("resume", f"job {job} of Slurm still lives and is followed"))
    launched = _SlurmJob(job, run, settings)
    try:
        yield launched
    finally:
        launched.stop()


@dataclass
class _SlurmJob(Launched):
    """A job, asked about from time to time.

    Attributes:
        job: Its number.
        run: The training's folder.
        settings: How it is stopped, and how often it is asked about.
    """

    job: str
    run: Path
    settings: LaunchSettings
    _state: str = "PENDING"
    _asked: float = float("-inf")

    @property
    def name(self) -> str:
        """See ``Launched``."""
        return f"job {self.job} of Slurm"

    @property
    def waiting(self) -> bool:
        """See ``Launched``."""
        return self._state in _WAITING

    @property
    def reason(self) -> str:
        """See ``Launched``."""
        state = self._state
        return "" if state in _ALIVE | {"COMPLETED", "FAILED"} else f"was ended by Slurm as {state} ({self.name})"

    def poll(self) -> int | None:
        """See ``Launched``."""
        if time.monotonic() - self._asked < self.settings.slurm.poll_seconds:
            return None
        self._asked = time.monotonic()
        self._state = job_state(self.job) or self._state
        if self._state in _ALIVE:
            return None
        written = self.run / f"slurm-{self.job}.exit"
        if written.is_file():
            return int(written.read_text())
        return STOPPED if self._state == "CANCELLED" else 1

    def stop(self) -> None:
        """Let the ranks write a checkpoint, then cancel what is left."""
        deadline = time.monotonic() + self.settings.grace_seconds
        if (state := job_state(self.job)) in _ALIVE and state not in _WAITING:
            # To the ranks; the batch script waits for them.
            _slurm("scancel", "--signal=TERM", self.job)
            while job_state(self.job) in _ALIVE and time.monotonic() < deadline:
                time.sleep(0.5)
        if job_state(self.job) in _ALIVE:
            _slurm("scancel", self.job)


def job_state(job: str) -> str:
    """State of a job as ``squeue`` calls it; UNKNOWN where Slurm has forgotten it, empty where it does not answer."""
    answer = _slurm("squeue", "--noheader", "--states=all", "--format=%T", f"--jobs={job}")
    if answer.returncode:
        return "UNKNOWN" if _GONE in answer.stderr else ""
    return answer.stdout.strip() or "UNKNOWN"


def _living_job(run: Path) -> str | None:
    written = run / JOB
    if not written.is_file():
        return None
    job = written.read_text(encoding="utf-8").strip()
    # Its controller not answering is no reason to submit another.
    return job if job_state(job) in _ALIVE | {""} else None


def _submit(script: Path, environment: Mapping[str, str], run: Path) -> str:
    answer = _slurm("sbatch", "--parsable", "--export=ALL", f"--chdir={run}", str(script), environment=environment)
    found = re.match(r"(\d+)", answer.stdout)
    if answer.returncode or not found:
        words = (answer.stderr or answer.stdout).strip().replace("\n", "; ")
        raise SettingsError(f"Slurm does not take the job {script}: {words}")
    return found[1]


def _slurm(*command: str, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            env=None if environment is None else dict(environment),
        )
    except FileNotFoundError:
        raise SettingsError(f"'launcher' = 'slurm' needs Slurm's programs here, and there is no {command[0]}") from None
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", "no answer")
