"""A Parquet file with a row a document: ``doc_id`` string and ``ids`` list of uint16 or uint32, not closed by an id.

Read are also integers as ``doc_id``, and all kinds of lists of integers.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import types

from assets.token_shards.errors import TokenShardError
from assets.token_shards.layouts.blocks import DocumentBlock, check_lengths, closed_blocks
from assets.token_shards.layouts.document_ids import named_ids
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
    """Documents of a file; a ``doc_id`` that is not 32 hex digits is hashed. Memory: a row group.

    Raises:
        TokenShardError: If it is no Parquet file with these columns, a value is null, or a document is empty.
    """
    try:
        with pq.ParquetFile(path) as opened:
            _check_schema(opened.schema_arrow, path)
            batches = (
                opened.iter_batches(_BATCH_DOCUMENTS, row_groups=[group], columns=["doc_id", "ids"])
                for group in range(opened.num_row_groups)
            )
            for batch in chain.from_iterable(batches):
                yield _block(batch.column("doc_id"), batch.column("ids"), path)
    except (OSError, pa.ArrowException) as error:
        raise TokenShardError(f"{path} cannot be read ({error}); write it again") from None


def _check_schema(schema: pa.Schema, path: Path) -> None:
    if any(schema.names.count(name) != 1 for name in ("doc_id", "ids")):
        raise TokenShardError(f"{path} has the columns {schema.names}, not doc_id and ids")
    names: Any = schema.field("doc_id").type
    names = names.value_type if types.is_dictionary(names) else names
    if not (types.is_string(names) or types.is_large_string(names) or types.is_integer(names)):
        raise TokenShardError(f"{path}: doc_id is {names}; write strings, or integers")
    lists: Any = schema.field("ids").type
    is_list = types.is_list(lists) or types.is_large_list(lists) or types.is_fixed_size_list(lists)
    if not (is_list and types.is_integer(lists.value_type)):
        raise TokenShardError(f"{path}: ids is {lists}; write a list of integers for each document")


def _block(names: Any, lists: Any, path: Path) -> DocumentBlock:
    values = lists.flatten()
    for column, missing in ((names, "a doc_id"), (lists, "the ids of a document"), (values, "an id")):
        if column.null_count:
            raise TokenShardError(f"{path}: {missing} must not be null")
    if types.is_dictionary(names.type):
        names = names.dictionary_decode()
    lengths = pc.list_value_length(lists).to_numpy().astype(np.int64)
    check_lengths(lengths, str(path))
    return DocumentBlock(values.to_numpy(), lengths, named_ids(names.cast(pa.string())))


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
