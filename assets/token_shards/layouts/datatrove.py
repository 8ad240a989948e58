"""datatrove's layout: ``.ds`` with the ids, ``.ds.index`` with the documents' ends, ``.ds.metadata`` with the type.

From ``pipeline/tokens/tokenizer.py`` of datatrove 0.10: ids are uint16 or uint32; an end is a position in tokens,
uint64; the metadata's first line is the tokenizer's name and the bytes of an id, its second the number of tokens. In
files that we write the tokenizer's name is the hash of its file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from assets.token_shards.errors import TokenShardError
from assets.token_shards.layouts.blocks import BLOCK_TOKENS, DocumentBlock, closed_blocks, without_ends
from training.shards import Shards, Split, token_dtype

ENDING = ".ds"
_SHA256 = re.compile("[0-9a-f]{64}")


def write_datatrove(shards: Shards, split: Split, path: Path) -> list[Path]:
    """Write ``path.ds`` and the two files beside it."""
    tokens = path.with_name(path.name + ENDING)
    index, metadata = (path.with_name(f"{tokens.name}.{name}") for name in ("index", "metadata"))
    dtype = token_dtype(shards.vocabulary_size)
    position = 0
    with tokens.open("wb") as file, index.open("wb") as ends:
        for block in closed_blocks(split):
            file.write(block.ids.astype(dtype).tobytes())
            ends.write((position + np.cumsum(block.lengths)).astype("<u8").tobytes())
            position += int(block.lengths.sum())
    metadata.write_text(f"{shards.vocabulary_hash}|{dtype.itemsize}\n{position}\n{position:,} tokens", encoding="utf-8")
    return [tokens, index, metadata]


def read_datatrove(path: Path, *, end_of_document: int, vocabulary_size: int) -> Iterator[DocumentBlock]:
    """Documents of a ``.ds`` file.

    Raises:
        TokenShardError: If its index is missing or does not fit, it is cut short, or a document is empty.
    """
    index = path.with_name(path.name + ".index")
    for needed in (path, index):
        if not needed.is_file():
            raise TokenShardError(f"{needed} is missing: datatrove's layout is a .ds and its .ds.index")
    dtype = np.dtype(f"<u{_token_bytes(path, vocabulary_size)}")
    if index.stat().st_size % 8:
        raise TokenShardError(f"{index} is cut short: it is no whole number of 64-bit positions")
    ends = np.fromfile(index, dtype="<u8").astype(np.int64)
    size, total = path.stat().st_size, int(ends[-1]) if ends.size else 0
    if size != total * dtype.itemsize:
        raise TokenShardError(
            f"{path} has {size} bytes and its index says {total} ids of {dtype.itemsize} bytes; one of them is cut "
            "short or of another file"
        )
    edges = np.concatenate(([0], ends))
    ids = np.memmap(path, dtype=dtype, mode="r") if size else np.zeros(0, dtype=dtype)
    first = 0
    while first + 1 < edges.size:
        last = max(first + 1, int(np.searchsorted(edges, edges[first] + BLOCK_TOKENS, side="right")) - 1)
        part = np.asarray(ids[int(edges[first]) : int(edges[last])]).astype(np.int64)
        yield without_ends(part, np.diff(edges[first : last + 1]), end_of_document, str(path))
        first = last


def named_by_metadata(path: Path) -> str | None:
    """The hash of the vocabulary that a file names, where its tokenizer's name is one.

    Raises:
        TokenShardError: If there is metadata, and its first line says nothing of the ids.
    """
    name = _metadata(path)[0]
    return name if _SHA256.fullmatch(name) else None


def _token_bytes(path: Path, vocabulary_size: int) -> int:
    return _metadata(path)[1] or token_dtype(vocabulary_size).itemsize


def _metadata(path: Path) -> tuple[str, int]:
    """The tokenizer's name and the bytes of an id; nothing and 0 where there is no metadata."""
    metadata = path.with_name(path.name + ".metadata")
    if not metadata.is_file():
        return "", 0
    try:
        name, _, bytes_ = metadata.read_text(encoding="utf-8").splitlines()[0].rpartition("|")
        size = int(bytes_)
    except (ValueError, IndexError):
        name, size = "", 0
    if size not in (2, 4):
        raise TokenShardError(f"{metadata} does not say in its first line how many bytes an id has, 2 or 4")
    return name, size
