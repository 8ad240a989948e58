"""The exception of this room."""

from __future__ import annotations


class VocabularyError(RuntimeError):
    """A vocabulary cannot be trained or opened; the message names the folder or setting and the remedy."""
