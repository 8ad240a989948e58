"""How varied and how compressible the characters of a document are."""

from __future__ import annotations

import zlib

import numpy as np
import pyarrow as pa

from assets.clean_text.arrays import strings
from assets.clean_text.kernels.buffers import Array
from assets.clean_text.kernels.character_grams import character_variety
from assets.clean_text.signals.batch import TextBatch, lengths, ratio
from assets.clean_text.signals.registry import signal

_COMPRESSED_BYTES = 1 << 16


@signal(pa.int64(), example=("a b a", 2))
def distinct_characters(batch: TextBatch) -> Array:
    """Different characters among the first 4,096, white space left out."""
    return character_variety(*batch.buffers)[0].astype(np.int64)


@signal(pa.float64(), example=("abab", 0.5))
def distinct_character_share(batch: TextBatch) -> Array:
    """``distinct_characters`` for each of the first 4,096 characters, white space left out (MAP-CC, ``Matrix``)."""
    distinct, _, visible = character_variety(*batch.buffers)
    return ratio(distinct, visible)


@signal(pa.float64(), example=("abab", 1.0))
def character_entropy(batch: TextBatch) -> Array:
    """Shannon entropy in bits of the character frequencies of the first 4,096 characters, white space left out."""
    return character_variety(*batch.buffers)[1]


@signal(pa.float64(), example=("a" * 1000, 1000 / 17), on_request=True)
def compression_ratio(batch: TextBatch) -> Array:
    """Bytes for each byte that zlib makes of them, of the first 65,536 bytes; high for text that repeats itself."""
    heads = [text.encode()[:_COMPRESSED_BYTES] for text in strings(batch.texts)]
    packed = np.array([len(zlib.compress(head, 6)) for head in heads], np.int64)
    return ratio(np.minimum(lengths(batch.texts), _COMPRESSED_BYTES), packed)
