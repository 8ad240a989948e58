"""A process pool whose results come in the order of the tasks, and which survives the death of a process."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

from assets.clean_text.errors import CleanTextError

Task = TypeVar("Task")
Result = TypeVar("Result")

TASKS_A_WORKER = 2
"""One being worked on, and the next at hand."""
_THREAD_LIMITS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "RAYON_NUM_THREADS",
)


@dataclass
class _Begun(Generic[Task, Result]):
    task: Task
    future: Future[Result]


def available_cores() -> int:
    """CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_in_order(
    function: Callable[[Task], Result],
    tasks: Iterable[Task],
    *,
    workers: int,
    ahead: int | None = None,
    name: Callable[[Task], str] | None = None,
) -> Iterator[Result]:
    """Results of ``function`` in the order of the tasks; at most two tasks a worker are under way at any time.

    A process that dies, killed with -9 or for lack of memory, takes nothing with it: the tasks under way are run again,
    one at a time in a process of their own, which also shows the one that cannot be done. Where this process is killed
    the others end too.

    Args:
        function: Can be pickled, as tasks and results can.
        tasks: Read no faster than they are worked on.
        workers: Processes; 1 runs everything in this one.
        ahead: Most results, with the tasks under way, that may wait for an earlier one; by default two a worker. Larger
            for results that are small.
        name: How an error message calls a task.

    Raises:
        CleanTextError: If a process died twice over one task.
    """
    if workers == 1:
        yield from map(function, tasks)
        return
    name = name or (lambda task: "a task")
    most = TASKS_A_WORKER * workers
    ahead = max(ahead or most, most)
    tasks = iter(tasks)
    pool = worker_pool(workers)
    begun: deque[_Begun[Task, Result]] = deque()
    try:
        while True:
            under_way = sum(not job.future.done() for job in begun)
            for task in islice(tasks, max(0, min(most - under_way, ahead - len(begun)))):
                begun.append(_Begun(task, _submit(pool, function, task)))
            if not begun:
                return
            lost = [job for job in begun if job.future.done() and _is_lost(job.future)]
            if lost:
                wait([job.future for job in begun])
                pool.shutdown(wait=True)
                _run_again(function, [job for job in begun if _is_lost(job.future)], name)
                pool = worker_pool(workers)
            elif begun[0].future.done():
                yield begun.popleft().future.result()
            else:
                wait([job.future for job in begun if not job.future.done()], return_when=FIRST_COMPLETED)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def worker_pool(workers: int) -> ProcessPoolExecutor:
    """Processes that compute with one thread each, and end with this one.

    They are spawned: a forked child of a process with threads (Arrow's, the orchestrator's) may hang on a lock that
    nobody will release.
    """
    return ProcessPoolExecutor(
        workers, mp_context=multiprocessing.get_context("spawn"), initializer=_begin_worker, initargs=()
    )


def use_one_thread() -> None:
    """Let Arrow, and numerical libraries that are imported later, compute with one thread in this process."""
    os.environ.update(dict.fromkeys(_THREAD_LIMITS, "1"))
    import pyarrow as pa  # after the limits: it imports numpy, which reads them

    pa.set_cpu_count(1)


def _begin_worker() -> None:
    use_one_thread()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A process whose parent was killed would wait for its next task for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _submit(pool: ProcessPoolExecutor, function: Callable[[Task], Result], task: Task) -> Future[Result]:
    try:
        return pool.submit(function, task)
    except BrokenProcessPool as error:
        lost: Future[Result] = Future()
        lost.set_exception(error)
        return lost


def _is_lost(future: Future[Result]) -> bool:
    return isinstance(future.exception(), BrokenProcessPool)


def _run_again(
    function: Callable[[Task], Result], lost: list[_Begun[Task, Result]], name: Callable[[Task], str]
) -> None:
    with worker_pool(1) as pool:
        for job in lost:
            job.future = _submit(pool, function, job.task)
            if _is_lost(job.future):  # waits until it is done
                raise CleanTextError(
                    f"{name(job.task)}: a worker process died twice over it, most likely killed for lack of memory; "
                    "run again with fewer workers or more memory"
                ) from job.future.exception()
