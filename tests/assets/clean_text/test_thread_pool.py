from __future__ import annotations

import threading
import time

import pytest

from assets.clean_text.thread_pool import map_in_threads


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_results_come_in_the_order_of_the_tasks(workers: int) -> None:
    def later_is_faster(task: int) -> int:
        time.sleep((20 - task) / 2000)
        return task * task

    assert list(map_in_threads(later_is_faster, range(20), workers=workers)) == [task * task for task in range(20)]
    assert list(map_in_threads(later_is_faster, [], workers=workers)) == []


def test_no_more_run_at_once_than_there_are_workers() -> None:
    running, most, lock = 0, 0, threading.Lock()

    def work(task: int) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.005)
        with lock:
            running -= 1
        return threading.get_ident()

    threads = set(map_in_threads(work, range(20), workers=3))
    assert most == 3
    assert threading.get_ident() not in threads


def test_an_error_comes_at_its_place_and_ends_the_rest() -> None:
    begun: list[int] = []

    def work(task: int) -> int:
        begun.append(task)
        if task == 2:
            raise ValueError("the third")
        time.sleep(0.005)
        return task

    results = map_in_threads(work, range(1000), workers=2)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="the third"):
        next(results)
    assert len(begun) < 1000
    ended = len(begun)
    time.sleep(0.02)
    assert len(begun) == ended
