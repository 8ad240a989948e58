from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from assets.language_model.launchers.processes import last_lines, process_group

# A child that ignores SIGINT and has a child of its own, as a launcher with a rank.
FAMILY = """
import pathlib, signal, subprocess, sys, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
rank = '''
import pathlib, signal, sys, time
def stop(*_):
    pathlib.Path(sys.argv[1], "checkpoint").write_text("saved")
    sys.exit(0)
if sys.argv[2] == "polite":
    signal.signal(signal.SIGTERM, stop)
else:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
pathlib.Path(sys.argv[1], "ready").write_text("")
time.sleep(60)
'''
child = subprocess.Popen([sys.executable, "-c", rank, *sys.argv[1:]])
pathlib.Path(sys.argv[1], "grandchild").write_text(str(child.pid))
signal.signal(signal.SIGTERM, lambda *_: None)
child.wait()
time.sleep(0 if sys.argv[2] == "polite" else 60)
"""


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} never came"
        time.sleep(0.02)


@pytest.mark.parametrize("manner", ["polite", "stubborn"])
def test_leaving_stops_the_grandchildren_too_and_lets_them_save(tmp_path: Path, manner: str) -> None:
    command = [sys.executable, "-c", FAMILY, str(tmp_path), manner]
    start = time.monotonic()
    with (
        pytest.raises(KeyboardInterrupt),
        process_group(command, environment=os.environ, log=tmp_path / "log", grace_seconds=3) as process,
    ):
        wait_for(tmp_path / "ready")
        raise KeyboardInterrupt
    grandchild = int((tmp_path / "grandchild").read_text())
    assert not psutil.pid_exists(grandchild)
    assert not psutil.pid_exists(process.pid)
    assert (tmp_path / "checkpoint").exists() == (manner == "polite")
    assert time.monotonic() - start < 25


def test_the_child_is_stopped_when_this_process_is_killed(tmp_path: Path) -> None:
    parent = textwrap.dedent(f"""
        import os, pathlib, time
        from assets.language_model.launchers.processes import process_group
        command = ["sleep", "60"]
        log = pathlib.Path({str(tmp_path / "log")!r})
        with process_group(command, environment=os.environ, log=log, grace_seconds=1) as child:
            pathlib.Path({str(tmp_path / "child")!r}).write_text(str(child.pid))
            time.sleep(60)
    """)
    process = subprocess.Popen([sys.executable, "-c", parent])
    wait_for(tmp_path / "child")
    time.sleep(0.1)
    child = psutil.Process(int((tmp_path / "child").read_text()))
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert psutil.wait_procs([child], timeout=10)[1] == []


def test_output_of_the_child_is_kept(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with process_group(
        ["sh", "-c", "echo 一; echo two >&2"], environment=os.environ, log=log, grace_seconds=1
    ) as child:
        child.wait()
    assert last_lines(log, 5) == "一\ntwo"
    assert last_lines(log, 1) == "two"
