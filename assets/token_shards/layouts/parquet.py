"""A Parquet file with a row a document: ``doc_id`` string and ``ids`` list of uint16 or uint32, not closed by an id."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from assets.token_shards.errors import TokenShardError
from assets.token_shards.layouts.blocks import DocumentBlock, check_lengths, closed_blocks
from training.shards import Shards, Split, token_dtype

ENDING = ".parquet"
VOCABULARY = b"corpusline.vocabulary_sha256"
_BATCH_DOCUMENTS = 1 << 12


def write_parquet(shards: Shards, split: Split, path: Path) -> list[Path]:
    """Write ``path.parquet``; its metadata names the vocabulary's hash."""
    target = path.with_name(path.name + ENDING)
    dtype = token_dtype(shards.vocabulary_size)
    schema = pa.schema(
        [("doc_id", pa.string()), ("ids", pa.list_(pa.from_numpy_dtype(dtype)))],
        metadata={VOCABULARY: shards.vocabulary_hash},
    )
    with pq.ParquetWriter(target, schema, compression="zstd") as writer:
        for block in closed_blocks(split):
            doc_ids = [span.doc_id for span in split.spans(block.start, block.ids.size)]
            ends = np.cumsum(block.lengths)
            kept = np.ones(block.ids.size, dtype=np.bool_)
            kept[ends - 1] = False
            offsets = np.concatenate(([0], np.cumsum(block.lengths - 1))).astype(np.int32)
            values: Any = pa.array(block.ids[kept].astype(dtype))
            ids: Any = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values)
            writer.write_table(pa.table([pa.array(doc_ids, pa.string()), ids], schema=schema))
    return [target]


def read_parquet(path: Path, *, end_of_document: int, vocabulary_size: int) -> Iterator[DocumentBlock]:
    """Documents of a file. Memory: a row group.

    Raises:
        TokenShardError: If it is no Parquet file with these columns, or a document is empty.
    """
    try:
        with pq.ParquetFile(path) as opened:
            if not {"doc_id", "ids"} <= set(opened.schema_arrow.names):
                raise TokenShardError(f"{path} has the columns {opened.schema_arrow.names}, not doc_id and ids")
            batches = (
                opened.iter_batches(_BATCH_DOCUMENTS, row_groups=[group], columns=["doc_id", "ids"])
                for group in range(opened.num_row_groups)
            )
            for batch in chain.from_iterable(batches):
                lists: Any = batch.column("ids")
                doc_ids: Any = batch.column("doc_id")
                if lists.null_count:
                    raise TokenShardError(f"{path}: a document has no ids")
                lengths = np.diff(lists.offsets.to_numpy()).astype(np.int64)
                check_lengths(lengths, str(path))
                yield DocumentBlock(lists.flatten().to_numpy(), lengths, doc_ids.to_pylist())
    except (OSError, pa.ArrowException) as error:
        raise TokenShardError(f"{path} cannot be read ({error}); write it again") from None


def named_by_schema(path: Path) -> str | None:
    """The hash of the vocabulary that a file names.

    Raises:
        TokenShardError: If it is no Parquet file.
    """
    try:
        metadata = pq.read_schema(path).metadata or {}
    except (OSError, pa.ArrowException) as error:
        raise TokenShardError(f"{path} cannot be read ({error}); write it again") from None
    return metadata[VOCABULARY].decode() if VOCABULARY in metadata else None
