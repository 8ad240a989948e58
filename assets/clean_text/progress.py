"""How far a long stage is, in a line for its log."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

Progress = Callable[[int, int, int], None]
"""Called with the bytes that are done, the bytes in all, and the documents that are done."""

SECONDS_BETWEEN = 5.0
_LINES_OF_SPEED = 12


def progress_line(name: str, *, done: int, total: int, speed: float) -> str:
    """For example ``filtered_text: 34 % (1.2 GB of 3.5 GB), 41 MB/s, 56 s left``.

    Args:
        name: Of the stage.
        done: Bytes that are done.
        total: Bytes in all.
        speed: Bytes a second; 0 if it is not known.
    """
    share = 100 * done // total if total else 100
    line = f"{name}: {share} % ({byte_size(done)} of {byte_size(total)})"
    if speed > 0:
        line += f", {byte_size(speed)}/s, {duration((total - done) / speed)} left"
    return line


def byte_size(size: float) -> str:
    """Two digits at least, in decimal units: ``41 MB``, ``1.2 GB``."""
    unit = "B"
    for larger in ("kB", "MB", "GB", "TB", "PB"):
        if size < 999.5:
            break
        size, unit = size / 1000, larger
    return f"{size:.1f} {unit}" if unit != "B" and size < 9.95 else f"{size:.0f} {unit}"


def duration(seconds: float) -> str:
    """``56 s``, ``12 min``, ``3 h 20 min``."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


def log_progress(name: str, log: Callable[[str], None]) -> Progress:
    """Progress as lines of a log; the speed is that of the last minute, so that work found done does not count."""
    recent: deque[tuple[float, int]] = deque(maxlen=_LINES_OF_SPEED)

    def write(done: int, total: int, documents: int) -> None:
        recent.append((time.monotonic(), done))
        (begin, before), (now, _) = recent[0], recent[-1]
        log(progress_line(name, done=done, total=total, speed=(done - before) / (now - begin) if now > begin else 0))

    return write


def at_most_every(seconds: float, progress: Progress) -> Progress:
    """The same, called no more often than that, and always when all is done."""
    last = -seconds + time.monotonic()

    def call(done: int, total: int, documents: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= seconds or done == total:
            last = now
            progress(done, total, documents)

    return call
