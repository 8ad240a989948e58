"""The one exception of this room."""

from __future__ import annotations


class CleanTextError(RuntimeError):
    """Documents could not be cleaned, or stages contradict each other; the message names the file and the remedy."""
