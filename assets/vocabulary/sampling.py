"""A sample of a dump that depends on its documents alone: those whose identifiers have the lowest hashes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from assets.clean_text.arrays import single_array, strings
from assets.vocabulary.batches import document_batches

_BIN_BYTES = 2
_BINS = 1 << 8 * _BIN_BYTES


class SampledDocument(NamedTuple):
    """A document of a sample; one of them may be cut."""

    text: str
    source: str
    language: str


@dataclass(frozen=True)
class DumpSize:
    """How much text a dump holds.

    Attributes:
        folder: Folder with ``documents-*.parquet``.
        bin_bytes: int64 [65536], UTF-8 bytes of the documents by the first two bytes of their identifier's hash.
    """

    folder: Path
    bin_bytes: npt.NDArray[np.int64]


def measure(folder: Path) -> DumpSize:
    """Measure a dump in one pass over its documents.

    Raises:
        FileNotFoundError: If the folder holds no documents.
    """
    bin_bytes = np.zeros(_BINS, dtype=np.int64)
    for batch in document_batches(folder, ["doc_id", "text"]):
        np.add.at(bin_bytes, _bins(batch), pc.binary_length(batch["text"]).to_numpy())
    return DumpSize(folder, bin_bytes)


def sample(dump: DumpSize, limit: int) -> Iterator[SampledDocument]:
    """At most ``limit`` UTF-8 bytes of a dump's text, in the documents' order.

    All of a dump that is not larger; else documents by the lowest hashes, the last one cut between two characters, so
    that a smaller sample is a part of a larger one. Documents of the same hash are taken in their order.
    """
    totals = np.cumsum(dump.bin_bytes)
    last_bin = int(np.searchsorted(totals, limit))
    remaining = limit - (int(totals[last_bin - 1]) if last_bin else 0)
    for batch in document_batches(dump.folder, ["doc_id", "text", "source", "language"]):
        bins = _bins(batch)
        chosen = batch.filter(pa.array(bins <= last_bin))
        columns = (strings(single_array(chosen[name])) for name in ("text", "source", "language"))
        for hashed, text, source, language in zip(bins[bins <= last_bin], *columns, strict=True):
            if hashed == last_bin:
                encoded = text.encode()
                text = encoded[:remaining].decode(errors="ignore")
                remaining = max(0, remaining - len(encoded))
            if text:
                yield SampledDocument(text, source, language)


def _bins(batch: pa.Table) -> npt.NDArray[np.int64]:
    hashes = (
        hashlib.blake2b(doc_id.encode(), digest_size=_BIN_BYTES) for doc_id in strings(single_array(batch["doc_id"]))
    )
    return np.fromiter((int.from_bytes(h.digest(), "big") for h in hashes), dtype=np.int64, count=batch.num_rows)
