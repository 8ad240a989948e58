"""What a user may set of the search for near-duplicates."""

from __future__ import annotations

from pydantic import Field

from training.settings import Settings


class ShingleSettings(Settings):
    """How texts are cut into shingles; one found in two texts is what these have in common."""

    shingle_words: int = Field(
        5,
        ge=1,
        le=32,
        description="Words of a shingle in scripts that put spaces between words; 5 as in FineWeb and FineWeb-2.",
    )
    shingle_characters: int = Field(
        8,
        ge=1,
        le=32,
        description="Characters of a shingle in scripts without spaces (Han, kana, Thai, Lao, Khmer, Burmese), where "
        "each character counts as a word. Five Chinese words, as a segmenter cuts them, have about eight characters.",
    )


class MinHashSettings(ShingleSettings):
    """Shingles and signatures. Signatures made with other settings cannot be compared."""

    bands: int = Field(
        16,
        ge=1,
        le=64,
        description="Bands of a signature: two texts are compared if they agree in all rows of one. The default has "
        "the 112 hashes of FineWeb's 14 x 8, cut so that more pairs are found: 0.90 instead of 0.77 of those of "
        "similarity 0.75, 0.98 instead of 0.92 at 0.8. What is found in vain costs a comparison here, not a document.",
    )
    rows: int = Field(7, ge=1, le=64, description="Hashes of a band.")


class NearDuplicateSettings(MinHashSettings):
    """Signatures, and which documents are similar enough."""

    threshold: float = Field(
        0.75,
        gt=0,
        le=1,
        description="Least share of common shingles (Jaccard similarity, computed exactly) at which the copy goes. At "
        "0.75 with shingles of 5 words the texts differ in less than 3 of 100 words, where these are scattered, or one "
        "is a third longer. FineWeb's signatures are as likely as not to remove at 0.69 and nearly sure to at 0.85.",
    )
    comparisons: int = Field(
        16,
        ge=2,
        le=1024,
        description="Most documents that one is compared with in a group of more documents than that which agree in a "
        "band: half of them those that would stay first, half those of the nearest number of shingles.",
    )
