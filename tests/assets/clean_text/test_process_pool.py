from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import psutil
import pyarrow as pa
import pytest

from assets.clean_text.errors import CleanTextError
from assets.clean_text.process_pool import map_in_order

FOREVER = """
import sys, time
from assets.clean_text.process_pool import map_in_order

if __name__ == "__main__":
    list(map_in_order(time.sleep, [600] * 4, workers=2))
"""


def late_if_even(number: int) -> int:
    time.sleep(0.05 * (number % 2 == 0))
    return number * number


def die(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def die_the_first_time(number: int, *, folder: Path) -> int:
    with (folder / str(number)).open("a") as file:
        file.write("x")
    if number in (3, 11) and (folder / str(number)).stat().st_size == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def fail(number: int) -> int:
    raise ValueError(f"cannot do {number}")


def first_is_last(number: int, *, folder: Path, others: int) -> int:
    """Number 0 ends when all others have."""
    while number == 0 and len(list(folder.iterdir())) < others:
        time.sleep(0.01)
    (folder / str(number)).touch()
    return number


def threads(_: int) -> tuple[int, list[int]]:
    import numpy as np  # noqa: F401  # loads its BLAS
    from threadpoolctl import threadpool_info

    return pa.cpu_count(), [pool["num_threads"] for pool in threadpool_info()]


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_order(workers: int) -> None:
    assert list(map_in_order(late_if_even, range(7), workers=workers)) == [n * n for n in range(7)]


@pytest.mark.parametrize("workers", [1, 2])
def test_without_tasks_there_are_no_results(workers: int) -> None:
    assert list(map_in_order(late_if_even, [], workers=workers)) == []


def test_a_task_that_kills_its_process_twice_is_an_error_that_names_it() -> None:
    with pytest.raises(CleanTextError, match=r"^number 3: a worker process died twice.*fewer workers"):
        list(map_in_order(die, range(8), workers=2, name="number {}".format))


def test_a_process_that_is_killed_loses_nothing(tmp_path: Path) -> None:
    function = partial(die_the_first_time, folder=tmp_path)
    assert list(map_in_order(function, range(16), workers=2)) == list(range(16))
    assert (tmp_path / "3").read_text() == (tmp_path / "11").read_text() == "xx"


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_in_a_worker_is_raised_here(workers: int) -> None:
    with pytest.raises(ValueError, match="cannot do 0"):
        list(map_in_order(fail, range(8), workers=workers))


def test_tasks_are_read_no_faster_than_they_are_worked_on() -> None:
    read = 0

    def tasks() -> object:
        nonlocal read
        for number in range(40):
            read += 1
            yield number

    most = 0
    for place, _ in enumerate(map_in_order(late_if_even, tasks(), workers=2)):  # type: ignore[arg-type]
        most = max(most, read - place)
    assert read == 40
    assert most <= 2 * 2


def test_small_results_may_wait_for_a_slow_task(tmp_path: Path) -> None:
    """With a window of two tasks a worker this would wait for ever: number 0 ends after number 11."""
    function = partial(first_is_last, folder=tmp_path, others=11)
    assert list(map_in_order(function, range(12), workers=2, ahead=12)) == list(range(12))


def test_processes_compute_with_one_thread() -> None:
    for arrow, pools in map_in_order(threads, range(2), workers=2):
        assert arrow == 1
        assert pools
        assert set(pools) == {1}


def test_processes_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "forever.py"
    script.write_text(FOREVER)
    parent = subprocess.Popen([sys.executable, str(script)], env=os.environ | {"PYTHONPATH": str(Path.cwd())})
    workers: list[psutil.Process] = []
    while len(workers) < 2:
        assert parent.poll() is None
        time.sleep(0.05)
        children = psutil.Process(parent.pid).children()
        workers = [child for child in children if any("spawn_main" in word for word in child.cmdline())]
    time.sleep(1)  # until they sleep, too
    parent.kill()
    parent.wait()
    _, alive = psutil.wait_procs(workers, timeout=30)
    assert not alive
