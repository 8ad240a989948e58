"""The exception of this room."""

from __future__ import annotations


class TraceError(RuntimeError):
    """A model cannot be traced; the message names the folder and the remedy."""
