"""Reading the index of a shard: which document stands where."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from training.shards.format import AGAIN, INDEX, SHARD_HASH, Ids, ShardError, ShardFile


class ShardIndex(NamedTuple):
    """The index of one file.

    Attributes:
        doc_ids: Of each document, [documents].
        starts: Position of each document's first token in the file, then the file's length; int64 [documents + 1].
        bytes: UTF-8 bytes of each document's text, int64 [documents].
    """

    doc_ids: pa.StringArray
    starts: Ids
    bytes: Ids


class IndexRow(NamedTuple):
    """A document in its file: its row, id, first token and number of tokens."""

    row: int
    doc_id: str
    start: int
    length: int


def read_index(folder: Path, file: ShardFile) -> ShardIndex:
    """The whole index of a file, checked.

    Raises:
        ShardError: If it cannot be read, is that of another file, or does not cover its file document by document.
    """
    with _opened(folder, file) as index:
        table = index.read()
    starts = table["start"].to_numpy()
    lengths = table["length"].to_numpy()
    path = folder / file.index_name
    if lengths.size and int(lengths.min()) < 2:
        row = int(np.argmax(lengths < 2))
        raise ShardError(f"{path}: document {table['doc_id'][row]} has no token, its length is {lengths[row]}; {AGAIN}")
    edges = np.append(starts, file.tokens)
    wrong = np.flatnonzero(starts + lengths != edges[1:])
    if lengths.size != file.documents or edges[0] != 0 or wrong.size:
        reason = f"{lengths.size} rows for {file.documents} documents"
        if wrong.size and lengths.size == file.documents:
            row = int(wrong[0])
            overlap = int(starts[row] + lengths[row]) > int(edges[row + 1])
            reason = f"document {table['doc_id'][row]} {'overlaps what follows' if overlap else 'leaves a gap'}"
        raise ShardError(f"{path} does not cover {file.name} document by document ({reason}); {AGAIN}")
    doc_ids: Any = table["doc_id"].combine_chunks()
    return ShardIndex(doc_ids, edges, table["bytes"].to_numpy())


def index_rows(folder: Path, file: ShardFile, beginning: str) -> Iterator[IndexRow]:
    """The documents of a file whose ids begin so; memory holds the ids of one row group.

    Raises:
        ShardError: If the index cannot be read or is that of another file.
    """
    with _opened(folder, file) as index:
        before = 0
        for group in range(index.num_row_groups):
            doc_ids = index.read_row_group(group, columns=["doc_id"])["doc_id"]
            rows = np.flatnonzero(pc.starts_with(doc_ids, pattern=beginning).to_numpy())
            if rows.size:
                found = index.read_row_group(group, columns=["doc_id", "start", "length"]).take(rows)
                for row, columns in zip(rows.tolist(), found.to_pylist(), strict=True):
                    yield IndexRow(before + row, **columns)
            before += len(doc_ids)


@contextmanager
def _opened(folder: Path, file: ShardFile) -> Iterator[pq.ParquetFile]:
    path = folder / file.index_name
    try:
        with pq.ParquetFile(path) as opened:
            metadata = opened.metadata.metadata or {}
            if metadata.get(SHARD_HASH.encode(), b"").decode() != file.sha256:
                raise ShardError(f"{path} is the index of another shard than {file.name}; {AGAIN}")
            schema = opened.schema_arrow
            if schema.names != INDEX.names or schema.types != INDEX.types:
                raise ShardError(f"{path} has the columns {schema.names}, not those of a shard index; {AGAIN}")
            yield opened
    except (OSError, pa.ArrowException) as error:
        raise ShardError(f"{path} cannot be read ({error}); {AGAIN}") from error
