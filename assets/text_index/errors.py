"""The exception of this room."""

from __future__ import annotations


class TextIndexError(RuntimeError):
    """An index cannot be built, opened or searched; the message names the file or the phrase and the remedy."""
