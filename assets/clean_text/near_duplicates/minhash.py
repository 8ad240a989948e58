"""MinHash signatures: for each band one hash, equal in two texts with probability J^rows at a Jaccard similarity of J.

Each hash of the 112 (by default) is the least value over a text's shingles of (a x + b) mod 2^32, where x is the upper
half of a shingle's hash and a is odd, so that it is a permutation. Broder, "On the resemblance and containment of
documents" (1997); bands after Leskovec, Rajaraman and Ullman, "Mining of Massive Datasets", section 3.4.
"""

from __future__ import annotations

import json
import unicodedata
from functools import lru_cache
from typing import Any

import numba
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assets.clean_text.kernels.buffers import Array
from assets.clean_text.near_duplicates.settings import MinHashSettings
from assets.clean_text.near_duplicates.shingles import mix, shingles

SIGNED_WITH = b"minhash"
"""Key of the Parquet schema's metadata that says how the signatures were made."""

_MULTIPLIERS, _OFFSETS, _BANDS = 1, 2, 3
_PRIME = np.uint64(0x9E3779B97F4A7C15)
_SHIFT = np.uint64(32)
_HIGHEST = np.uint32(0xFFFFFFFF)


def minhash_schema(settings: MinHashSettings) -> pa.Schema:
    """Schema of ``minhash.parquet``: a row for each document that passed the rules, in the documents' order.

    - ``doc_id``
    - ``bytes`` (int64): UTF-8 bytes of the text; of two copies the longer one stays
    - ``quality`` (double, may be null): of two copies of one length the better one stays
    - ``shingles`` (int64): different shingles of the text; 0 for a text without a word, which is never compared
    - ``band_00`` ... (uint64): hash of the rows of each band; of no meaning where ``shingles`` is 0

    The metadata's ``minhash`` names the settings and the version of Unicode: only what agrees in them can be compared.
    """
    fields: list[pa.Field[Any]] = [
        pa.field("doc_id", pa.string()),
        pa.field("bytes", pa.int64()),
        pa.field("quality", pa.float64()),
        pa.field("shingles", pa.int64()),
    ]
    fields += [pa.field(name, pa.uint64()) for name in band_names(settings)]
    return pa.schema(fields, metadata={SIGNED_WITH: signed_with(settings)})


def band_names(settings: MinHashSettings) -> list[str]:
    """The columns of the bands."""
    return [f"band_{band:02}" for band in range(settings.bands)]


def signed_with(settings: MinHashSettings) -> bytes:
    """What two signatures must agree in to be comparable, as JSON."""
    values = {name: getattr(settings, name) for name in sorted(MinHashSettings.model_fields)}
    return json.dumps({**values, "unicode": unicodedata.unidata_version}, sort_keys=True).encode()


def sign_documents(
    doc_ids: pa.StringArray, texts: pa.StringArray, settings: MinHashSettings, *, quality: pa.DoubleArray | None = None
) -> pa.Table:
    """The rows of ``minhash.parquet`` for some documents; each depends on its document alone.

    Args:
        doc_ids: Of each document.
        texts: Any texts; no nulls.
        settings: Shingles, bands and rows.
        quality: The better the higher; null where it is not known.
    """
    sets = shingles(texts, settings)
    bands = band_hashes(sets.hashes, sets.starts, settings)
    columns: list[Any] = [
        doc_ids,
        pc.cast(pc.binary_length(texts), pa.int64()),
        pa.nulls(len(texts), pa.float64()) if quality is None else quality,
        np.diff(sets.starts),
    ]
    return pa.table([*columns, *bands], schema=minhash_schema(settings))


def band_hashes(hashes: Array, starts: Array, settings: MinHashSettings) -> Array:
    """uint64 (bands, n): the signatures of n sets.

    Args:
        hashes: uint64, well mixed: the elements of all sets.
        starts: int64 (n + 1,): set i is ``hashes[starts[i]:starts[i + 1]]``.
        settings: Bands and rows.
    """
    multipliers, offsets = _permutations(settings.bands * settings.rows)
    out = np.empty((settings.bands, len(starts) - 1), np.uint64)
    _sign(hashes, starts, multipliers, offsets, _randoms(_BANDS, settings.bands), np.int64(settings.rows), out)
    return out


@lru_cache(maxsize=8)
def _permutations(count: int) -> tuple[Array, Array]:
    """uint32 (count,) each: the odd multipliers and the offsets."""
    halves = [(_randoms(stream, count) >> _SHIFT).astype(np.uint32) for stream in (_MULTIPLIERS, _OFFSETS)]
    return halves[0] | np.uint32(1), halves[1]


def _randoms(stream: int, count: int) -> Array:
    """uint64 (count,): SplitMix64, so that the numbers depend on no library's generator."""
    states = np.uint64(stream << 32) + np.arange(1, count + 1, dtype=np.uint64)
    return np.array([mix(state) for state in states * _PRIME], np.uint64)


@numba.njit(cache=True, nogil=True)
def _sign(hashes, starts, multipliers, offsets, seeds, rows, out):  # type: ignore[no-untyped-def]
    lowest = np.empty(len(multipliers), np.uint32)
    for text in range(len(starts) - 1):
        lowest[:] = _HIGHEST
        begin, end = starts[text], starts[text + 1]
        # Four at a time: the permutations are read once for all of them.
        at = begin
        while at + 4 <= end:
            first, second = np.uint32(hashes[at] >> _SHIFT), np.uint32(hashes[at + 1] >> _SHIFT)
            third, fourth = np.uint32(hashes[at + 2] >> _SHIFT), np.uint32(hashes[at + 3] >> _SHIFT)
            for index in range(len(lowest)):
                a, b = multipliers[index], offsets[index]
                lowest[index] = min(
                    min(lowest[index], min(np.uint32(a * first + b), np.uint32(a * second + b))),
                    min(np.uint32(a * third + b), np.uint32(a * fourth + b)),
                )
            at += 4
        while at < end:
            element = np.uint32(hashes[at] >> _SHIFT)
            for index in range(len(lowest)):
                lowest[index] = min(lowest[index], np.uint32(multipliers[index] * element + offsets[index]))
            at += 1
        for band in range(len(seeds)):
            value = seeds[band]
            for row in range(rows):
                value = (value ^ np.uint64(lowest[band * rows + row])) * _PRIME
                value ^= value >> _SHIFT
            out[band, text] = mix(value)
