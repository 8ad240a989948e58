"""A training that was started somewhere."""

from __future__ import annotations

from typing import Protocol


class Launched(Protocol):
    """The ranks of one start of a training."""

    @property
    def name(self) -> str:
        """What people find it by: a process, a job."""

    def poll(self) -> int | None:
        """Exit code of the trainer; None while it runs."""
