"""The whole job in a process of its own, to be watched and disturbed."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

RUN_JOBS = Path(__file__).with_name("run_jobs.py")


def start_job(folder: Path, configuration: dict[str, Any]) -> tuple[subprocess.Popen[str], Path]:
    """Start the job raw_to_model; the process, and the file where its result will be."""
    given, answer = folder / "started.json", folder / "started-results.json"
    given.write_text(json.dumps([{"job": "raw_to_model", "config": configuration}]))
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", str(RUN_JOBS), str(given), str(answer)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=folder,
    )
    return process, answer


def wait_for_path(folder: Path, pattern: str, process: subprocess.Popen[str], seconds: float = 400) -> Path:
    """Wait until the job has written something of that name, and return it."""
    deadline = time.monotonic() + seconds
    while not (found := list(folder.glob(pattern))):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found[0]
