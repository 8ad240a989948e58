"""Settings of the text index."""

from __future__ import annotations

from pydantic import Field

from training.settings import Settings

LARGEST_PART = (1 << 31) - 1
"""Bytes; positions are sorted as signed 32-bit numbers."""


class TextIndexSettings(Settings):
    """How the text is cut into parts that are sorted by themselves."""

    part_bytes: int = Field(
        64 << 20,
        ge=1,
        le=LARGEST_PART,
        description="Most bytes of text in a part; a longer document has a part of its own. Sorting takes five times "
        "as much memory a process, searching two binary searches a part.",
    )
    workers: int = Field(0, ge=0, description="Processes that sort; 0: one a core. Changes no byte.")
