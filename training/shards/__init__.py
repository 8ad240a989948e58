"""Token shards: flat files of token ids, and for every token the document it came from. Bytes: docs/shard-format.md.

A folder holds one dump encoded by one vocabulary::

    shards.json                     written last; a folder without it is incomplete
    train-00000.bin                 token ids, little-endian uint16 or uint32, no header
    train-00000.index.parquet       one row per document: doc_id, start, length, bytes
    train-00000.mask.bin            one bit per token, only where some are not to be learned
    validation-00000.bin, ...

Documents lie one after the other, each closed by the end-of-document id, which occurs nowhere else.
"""

from training.shards.folder import Shards, open_shards
from training.shards.format import (
    DESCRIPTION,
    SPLITS,
    Ids,
    ShardCounts,
    ShardError,
    ShardFile,
    SplitName,
    StorageError,
    token_dtype,
)
from training.shards.remote import RemoteFolder, is_remote
from training.shards.split import Document, Place, Span, Split
from training.shards.verified import verify_once
from training.shards.writer import ShardWriter

__all__ = [
    "DESCRIPTION",
    "SPLITS",
    "Document",
    "Ids",
    "Place",
    "RemoteFolder",
    "ShardCounts",
    "ShardError",
    "ShardFile",
    "ShardWriter",
    "Shards",
    "Span",
    "Split",
    "SplitName",
    "StorageError",
    "is_remote",
    "open_shards",
    "token_dtype",
    "verify_once",
]
