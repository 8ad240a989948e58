"""Trainings as a user starts them, for tests of what they leave behind."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from training.records import read_records

TRAINER = Path(__file__).parents[2] / "training" / "train.py"
VOCABULARY_SIZE = 64

Launch = Callable[..., subprocess.Popen[str]]


def finish(process: subprocess.Popen[str], *, code: int = 0) -> str:
    output, _ = process.communicate(timeout=400)
    assert process.returncode == code, output[-4000:]
    return output


def losses(run: Path) -> dict[int, float]:
    return {record["step"]: record["loss"] for record in read_records(run / "metrics.jsonl") if "loss" in record}


def layers(run: Path) -> dict[int, dict[str, dict[str, float]]]:
    return {record["step"]: record["layers"] for record in read_records(run / "metrics.jsonl") if "layers" in record}


def wait_for_step(run: Path, step: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 300
    while not any(record["step"] >= step for record in read_records(run / "metrics.jsonl")):
        assert process.poll() is None, process.communicate()[0][-4000:]
        assert time.monotonic() < deadline
        time.sleep(0.01)


def ranks_of(session: int) -> list[int]:
    """Process ids of the ranks in a launcher's session, without the launchers."""
    found = []
    for process in psutil.process_iter():
        try:
            arguments = process.cmdline()
            if os.getsid(process.pid) == session and str(TRAINER) in arguments:
                found += [] if any("deepspeed.launcher" in argument for argument in arguments) else [process.pid]
        except (psutil.Error, ProcessLookupError):
            continue
    return found
