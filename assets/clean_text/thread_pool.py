"""Threads whose results come in the order of the tasks: for work that the interpreter's lock does not stop."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")


def map_in_threads(function: Callable[[Task], Result], tasks: Iterable[Task], *, workers: int) -> Iterator[Result]:
    """Results of ``function`` in the order of the tasks. All tasks are taken at once, and all results may be waiting.

    Args:
        function: Spends its time in compiled code, reading and writing.
        tasks: Small, as their results are.
        workers: Threads; 1 runs everything in the caller's.
    """
    if workers == 1:
        yield from map(function, tasks)
        return
    pool = ThreadPoolExecutor(workers)
    try:
        begun: deque[Future[Result]] = deque(pool.submit(function, task) for task in tasks)
        while begun:
            yield begun.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
