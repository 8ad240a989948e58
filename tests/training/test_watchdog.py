"""In a process of its own, since a watchdog ends it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from training.watchdog import HEARTBEAT, read_heartbeat

PROGRAM = """
import sys, time
from pathlib import Path
from training.watchdog import Watchdog, WatchdogSettings
settings = WatchdogSettings(factor=3, least_seconds=1.5, pause_seconds=60)
def waits_for_ever():
    time.sleep(100)
with Watchdog(settings, Path(sys.argv[1]), int(sys.argv[2])) as watchdog:
    for step in range(8):
        time.sleep(0.4)
        watchdog.step(step)
    if sys.argv[3] == "pauses":
        with watchdog.pause("validation"):
            time.sleep(3)
        watchdog.step(8)
    if sys.argv[3] == "hangs in a pause":
        with watchdog.pause("checkpoint"):
            time.sleep(0.1)
        with watchdog.pause("checkpoint"):
            waits_for_ever()
    if sys.argv[3] == "starts again":
        watchdog.start()
        time.sleep(3)
        watchdog.step(8)
    if sys.argv[3] == "hangs":
        waits_for_ever()
"""


def run(folder: Path, rank: int, manner: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder), str(rank), manner],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("manner", ["hangs", "hangs in a pause"])
def test_a_hanging_rank_says_where_and_ends(tmp_path: Path, manner: str) -> None:
    begin = time.monotonic()
    assert run(tmp_path, 3, manner).returncode == 1
    assert time.monotonic() - begin < 30
    stacks = (tmp_path / "stacks" / "rank-00003.txt").read_text()
    assert "waits_for_ever" in stacks
    # Only the first rank gives signs of life.
    assert read_heartbeat(tmp_path) is None


@pytest.mark.parametrize("text", ["", '{"step": 3, "ti', "\0\0"])
def test_a_torn_sign_of_life_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / HEARTBEAT).write_text(text)
    assert read_heartbeat(tmp_path) is None


@pytest.mark.parametrize("manner", ["pauses", "starts again"])
def test_a_pause_and_a_start_are_no_hang(tmp_path: Path, manner: str) -> None:
    assert run(tmp_path, 0, manner).returncode == 0
    assert (tmp_path / "stacks" / "rank-00000.txt").read_text() == ""
    beat = read_heartbeat(tmp_path)
    assert beat is not None
    assert beat.step == 8
    # The end of the process may take a minute.
    assert beat.time + 60 <= beat.deadline < beat.time + 90
    assert 0.2 < beat.median < 2 or manner == "starts again"
