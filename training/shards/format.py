"""What the writer and the reader of token shards agree on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Ids = npt.NDArray[np.int64]
SplitName = Literal["train", "validation"]

SPLITS: tuple[SplitName, ...] = ("train", "validation")
FORMAT = 1
DESCRIPTION = "shards.json"
SHARD_HASH = "corpusline.shard_sha256"
_COLUMNS: list[pa.Field[Any]] = [
    pa.field("doc_id", pa.string(), nullable=False),
    pa.field("start", pa.int64(), nullable=False),
    pa.field("length", pa.int64(), nullable=False),
    pa.field("bytes", pa.int64(), nullable=False),
]
INDEX = pa.schema(_COLUMNS)
AGAIN = "remove the folder and run token_shards again"


class ShardError(RuntimeError):
    """A shard folder is missing, damaged or does not fit; the message names the file and the remedy."""


class StorageError(ShardError):
    """Object storage does not answer, which may pass."""


def token_dtype(vocabulary_size: int) -> np.dtype[Any]:
    """The little-endian type that holds ids below ``vocabulary_size``: uint16 up to 65,536 entries, then uint32."""
    return np.dtype("<u2" if vocabulary_size <= 1 << 16 else "<u4")


def mask_bytes(tokens: int) -> int:
    """Size of the loss mask of so many tokens: a bit each, the last byte filled up."""
    return -(-tokens // 8)


@dataclass(frozen=True)
class ShardFile:
    """One ``.bin`` file.

    Attributes:
        name: File name in the folder.
        tokens: Token ids in it, end-of-document ids included.
        documents: Documents in it; a document is never cut over two files.
        bytes: UTF-8 bytes of the documents' texts.
        sha256: Of the ``.bin`` file's bytes, in hex.
        mask_sha256: Of the bytes of its loss mask; None without one, then all of its tokens are to be learned.
        index_sha256: Of the bytes of its index; None in folders that were written before it was kept.
    """

    name: str
    tokens: int
    documents: int
    bytes: int
    sha256: str
    mask_sha256: str | None = None
    index_sha256: str | None = None

    @property
    def index_name(self) -> str:
        """Name of the index that belongs to it."""
        return self.name.removesuffix(".bin") + ".index.parquet"

    @property
    def mask_name(self) -> str:
        """Name of the loss mask that belongs to it."""
        return self.name.removesuffix(".bin") + ".mask.bin"

    @property
    def hashes(self) -> dict[str, str | None]:
        """SHA-256 of each of its files by name, None where it is not known."""
        known = {self.name: self.sha256, self.index_name: self.index_sha256}
        return known if self.mask_sha256 is None else known | {self.mask_name: self.mask_sha256}


@dataclass(frozen=True)
class ShardCounts:
    """What a finished folder holds, by split."""

    documents: dict[str, int]
    tokens: dict[str, int]
    bytes: dict[str, int]
