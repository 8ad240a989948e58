"""torchrun as a launcher that ends as its ranks do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from training.torchrun import exit_code

TORCHRUN = Path(__file__).parents[2] / "training" / "torchrun.py"
# A rank that says it is there, and when it is asked to stop saves and ends with 75; or ends with a code at once.
RANK = """
import os, pathlib, signal, sys, time
folder, rank = pathlib.Path(sys.argv[1]), os.environ["RANK"]
def stop(*_):
    time.sleep(0.5)
    (folder / f"saved-{rank}").write_text("")
    sys.exit(75)
signal.signal(signal.SIGTERM, stop)
(folder / f"ready-{rank}").write_text("")
if len(sys.argv) > 2:
    sys.exit(int(sys.argv[2]))
time.sleep(60)
"""


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    script = folder / "rank.py"
    script.write_text(RANK)
    command = [sys.executable, str(TORCHRUN), "--standalone", "--nproc-per-node", "2", "--max-restarts", "0"]
    return subprocess.Popen(
        [*command, str(script), str(folder), *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_ranks_are_asked_to_stop_and_waited_for(tmp_path: Path) -> None:
    agent = start(tmp_path)
    deadline = time.monotonic() + 60
    while len(list(tmp_path.glob("ready-*"))) < 2:
        assert agent.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    agent.send_signal(signal.SIGTERM)
    output, _ = agent.communicate(timeout=60)
    assert agent.returncode == 75, output
    assert len(list(tmp_path.glob("saved-*"))) == 2


@pytest.mark.parametrize("code", [0, 2])
def test_the_code_of_ranks_that_end_is_handed_on(tmp_path: Path, code: int) -> None:
    agent = start(tmp_path, str(code))
    output, _ = agent.communicate(timeout=60)
    assert agent.returncode == code, output


def test_what_a_rank_says_itself_counts_more_than_how_others_broke_off() -> None:
    assert exit_code([1, 2]) == 2
    assert exit_code([-signal.SIGKILL, 1]) == 128 + signal.SIGKILL
    assert exit_code([1, -signal.SIGTERM]) == 1
