"""The exceptions of this room."""

from __future__ import annotations

from training.settings import SettingsError


class CatalogueError(SettingsError):
    """The catalogue is missing or wrong; the message names the file, the entry, the key and what to write."""


class RawTextError(RuntimeError):
    """A source cannot be fetched or read; the message names the source, the file, the place in it and the remedy."""


class DamagedError(RawTextError):
    """A compressed file or archive is truncated or damaged: what was read of it before is good."""
