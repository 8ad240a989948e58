"""The exception of this room."""

from __future__ import annotations


class TokenShardError(RuntimeError):
    """A dump cannot be encoded; the message names the dump and the remedy."""
