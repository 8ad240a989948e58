from __future__ import annotations

import os
import time

import pytest

from assets.clean_text.errors import CleanTextError
from assets.clean_text.process_pool import map_in_order


def late_if_even(number: int) -> int:
    time.sleep(0.05 * (number % 2 == 0))
    return number * number


def die(number: int) -> int:
    if number == 3:
        os._exit(9)
    return number


def fail(number: int) -> int:
    raise ValueError(f"cannot do {number}")


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_order(workers: int) -> None:
    assert list(map_in_order(late_if_even, range(7), workers=workers)) == [n * n for n in range(7)]


def test_a_dead_worker_is_an_error_with_a_remedy() -> None:
    with pytest.raises(CleanTextError, match=r"worker process died.*fewer workers"):
        list(map_in_order(die, range(8), workers=2))


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_in_a_worker_is_raised_here(workers: int) -> None:
    with pytest.raises(ValueError, match="cannot do 0"):
        list(map_in_order(fail, range(8), workers=workers))
