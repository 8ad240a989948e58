"""Settings of the vocabulary."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from training.settings import Settings


class VocabularySettings(Settings):
    """What a token is, and how many there are."""

    kind: Literal["byte_bpe", "character", "word"] = Field(
        "byte_bpe",
        description="byte_bpe: byte-level byte-pair encoding, gives back every text exactly; character: a token a "
        "character; word: a token a word (for Chinese turn on filtered_text's segment_words).",
    )
    size: int = Field(
        6144, ge=2, description="Entries, special ones included; for character and word the most there may be."
    )
    sample_bytes: int = Field(
        1 << 30, ge=1, description="Text it is trained on, in bytes, shared by the sources' weights."
    )
    minimum_frequency: int = Field(2, ge=1, description="What occurs less often becomes no entry.")
    longest_han_run: int = Field(
        4, ge=1, description="Most Chinese characters in an entry; bounds memory, since Chinese has no spaces."
    )
    digits_per_token: int = Field(3, ge=1, description="Most digits in an entry.")
