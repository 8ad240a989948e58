"""Documents in batches of bounded size, whatever the size of the dump or of one document."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

_BATCH_BYTES = 4 << 20
_BATCH_ROWS = 4096


def document_batches(folder: Path, columns: Sequence[str]) -> Iterator[pa.Table]:
    """The documents of a folder in order, in tables of at most 4 MiB of text or one document.

    Args:
        folder: Folder with ``documents-*.parquet``; its row groups bound the memory.
        columns: The columns to read, ``text`` among them.

    Raises:
        FileNotFoundError: If the folder holds no documents.
    """
    files = sorted(folder.glob("documents-*.parquet"))
    if not files:
        raise FileNotFoundError(f"{folder} holds no documents-*.parquet; run the stage that writes them again")
    for path in files:
        with pq.ParquetFile(path) as opened:
            for group in range(opened.num_row_groups):
                yield from _slices(opened.read_row_group(group, columns=list(columns)))


def _slices(table: pa.Table) -> Iterator[pa.Table]:
    ends = np.cumsum(pc.binary_length(table["text"]).to_numpy().astype(np.int64))
    start, used = 0, 0
    while start < table.num_rows:
        stop = int(np.searchsorted(ends, used + _BATCH_BYTES, side="right"))
        stop = min(max(stop, start + 1), start + _BATCH_ROWS)
        yield table.slice(start, stop - start)
        start, used = stop, int(ends[stop - 1])
