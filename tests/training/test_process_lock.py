from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from training.process_lock import process_lock


def test_one_holds_it_at_a_time(tmp_path: Path) -> None:
    counter, lock = tmp_path / "counter", tmp_path / "lock"
    counter.write_text("0")

    def count(_: int) -> None:
        with process_lock(lock):
            counter.write_text(str(int(counter.read_text()) + 1))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(count, range(200)))
    assert counter.read_text() == "200"
    assert not lock.exists()


def test_it_is_free_again_after_an_error_or_the_end_of_a_process(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with pytest.raises(KeyError), process_lock(lock):
        raise KeyError
    program = (
        f"import os, pathlib, training.process_lock as p\nwith p.process_lock(pathlib.Path({str(lock)!r})): os._exit(1)"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[2]).returncode == 1
    assert lock.exists()
    with process_lock(lock):
        pass
    assert not lock.exists()
