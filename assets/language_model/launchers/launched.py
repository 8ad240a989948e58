"""A training that was started somewhere."""

from __future__ import annotations

from typing import Protocol


class Launched(Protocol):
    """The ranks of one start of a training."""

    @property
    def name(self) -> str:
        """What people find it by: a process, a job."""

    def poll(self) -> int | None:
        """Exit code of the trainer; None while it runs, or waits for its turn."""

    @property
    def waiting(self) -> bool:
        """Whether it waits for its turn in a queue, so that no sign of life can be expected."""
        return False

    @property
    def again(self) -> bool:
        """Whether a stop was not asked for from outside: the launcher wants to start anew."""
        return False

    @property
    def reason(self) -> str:
        """What the launcher knows about the end beyond the exit code, as a predicate; mostly nothing."""
        return ""
