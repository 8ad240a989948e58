"""A process pool whose results come in the order of the tasks, and which holds only a few of them at a time."""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import TypeVar

from assets.clean_text.errors import CleanTextError

Task = TypeVar("Task")
Result = TypeVar("Result")


def available_cores() -> int:
    """CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_in_order(function: Callable[[Task], Result], tasks: Iterable[Task], *, workers: int) -> Iterator[Result]:
    """Results of ``function`` in the order of the tasks, at most two a worker waiting at any time.

    Args:
        function: Can be pickled, as tasks and results can.
        tasks: Read no faster than they are worked on.
        workers: Processes; 1 runs everything in this one.

    Raises:
        CleanTextError: If a worker process died.
    """
    if workers == 1:
        yield from map(function, tasks)
        return
    tasks = iter(tasks)
    # A forked child of a process with threads (Arrow's, the orchestrator's) may hang on a lock nobody will release.
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        waiting: deque[Future[Result]] = deque(pool.submit(function, task) for task in islice(tasks, 2 * workers))
        try:
            while waiting:
                result = waiting.popleft().result()
                waiting.extend(pool.submit(function, task) for task in islice(tasks, 1))
                yield result
        except BrokenProcessPool as error:
            raise CleanTextError(
                "a worker process died, most likely killed for lack of memory; run again with fewer workers"
            ) from error
        finally:
            for future in waiting:
                future.cancel()
