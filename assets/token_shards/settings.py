"""Settings of the token shards."""

from __future__ import annotations

from pydantic import Field

from training.settings import Settings


class TokenShardSettings(Settings):
    """How documents are split and stored."""

    validation_share: float = Field(
        0.05, gt=0, lt=0.5, description="Share of documents kept for validation, chosen by their content's hash."
    )
    seed: int = Field(0, ge=0, description="Another seed, another choice of validation documents.")
    shard_tokens: int = Field(
        1 << 27, ge=1, description="Most tokens in a file; a longer document has a file of its own."
    )
    workers: int = Field(
        0,
        ge=0,
        description="Threads or processes; 0: one a core, a single one for a small dump. Changes no byte.",
    )
