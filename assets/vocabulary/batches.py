"""Documents in batches of bounded size, whatever the size of the dump or of one document."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import regex

_BATCH_BYTES = 4 << 20
_BATCH_ROWS = 4096
_LINE_END = regex.compile(r"\n(?![\r\n])")


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


def pieces(text: str, limit: int) -> Iterator[str]:
    """A text cut into parts that encode to the same tokens as the whole.

    A cut is made behind a line end, where no token of this room's three kinds crosses; so a text without line ends
    stays in one piece.

    Args:
        text: Any text.
        limit: Characters after which the next line end is a cut.
    """
    start = 0
    while len(text) - start > limit and (match := _LINE_END.search(text, start + limit - 1)) is not None:
        yield text[start : match.end()]
        start = match.end()
    if start < len(text):
        yield text[start:]


def _slices(table: pa.Table) -> Iterator[pa.Table]:
    ends = np.cumsum(pc.binary_length(table["text"]).to_numpy().astype(np.int64))
    start, used = 0, 0
    while start < table.num_rows:
        stop = int(np.searchsorted(ends, used + _BATCH_BYTES, side="right"))
        stop = min(max(stop, start + 1), start + _BATCH_ROWS)
        yield table.slice(start, stop - start)
        start, used = stop, int(ends[stop - 1])
