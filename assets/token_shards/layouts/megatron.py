"""Megatron-LM's layout: ``.bin`` with the ids and ``.idx`` with the lengths (core/datasets/indexed_dataset.py).

``.idx``: the magic ``MMIDIDX``, two zero bytes; version 1 as uint64; a code of the ids' type as uint8; the number of
sequences and of document boundaries as uint64; the sequences' lengths as int32, where each begins in bytes as int64,
and the boundaries as int64, counted in sequences. Here a document is one sequence, closed by its id.
"""

from __future__ import annotations

import shutil
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assets.token_shards.errors import TokenShardError
from assets.token_shards.layouts.blocks import BLOCK_TOKENS, DocumentBlock, closed_blocks, without_ends
from training.shards import Shards, Split

_MAGIC = b"MMIDIDX\x00\x00"
_HEAD = struct.Struct("<QBQQ")
_TYPES = {1: "<u1", 2: "<i1", 3: "<i2", 4: "<i4", 5: "<i8", 8: "<u2"}
_LARGEST_SEQUENCE = (1 << 31) - 1


class _Index(NamedTuple):
    dtype: np.dtype[Any]
    lengths: npt.NDArray[np.int32]
    pointers: npt.NDArray[np.int64]
    boundaries: npt.NDArray[np.int64]


def write_megatron(shards: Shards, split: Split, path: Path) -> list[Path]:
    """Write ``path.bin`` and ``path.idx``; lengths and pointers wait in files beside them.

    Raises:
        TokenShardError: If a document is longer than Megatron's lengths can say.
    """
    code = 8 if shards.vocabulary_size <= 1 << 16 else 4
    dtype = np.dtype(_TYPES[code])
    tokens, index = path.with_name(path.name + ".bin"), path.with_name(path.name + ".idx")
    lengths_path, pointers_path = index.with_suffix(".lengths"), index.with_suffix(".pointers")
    documents = position = 0
    with tokens.open("wb") as file, lengths_path.open("wb") as lengths, pointers_path.open("wb") as pointers:
        for block in closed_blocks(split):
            if int(block.lengths.max()) > _LARGEST_SEQUENCE:
                raise TokenShardError(f"{shards.folder}: a document is too long for Megatron's index")
            file.write(block.ids.astype(dtype).tobytes())
            lengths.write(block.lengths.astype("<i4").tobytes())
            starts = (position + np.cumsum(block.lengths) - block.lengths) * dtype.itemsize
            pointers.write(starts.astype("<i8").tobytes())
            documents += block.lengths.size
            position += int(block.lengths.sum())
    with index.open("wb") as file:
        file.write(_MAGIC + _HEAD.pack(1, code, documents, documents + 1))
        for part in (lengths_path, pointers_path):
            with part.open("rb") as source:
                shutil.copyfileobj(source, file)
            part.unlink()
        for first in range(0, documents + 1, BLOCK_TOKENS):
            file.write(np.arange(first, min(first + BLOCK_TOKENS, documents + 1), dtype="<i8").tobytes())
    return [tokens, index]


def tokens_file(path: Path) -> Path:
    """The ``.bin`` for either of the two files."""
    return path.with_suffix(".bin")


def read_megatron(path: Path, *, end_of_document: int, vocabulary_size: int) -> Iterator[DocumentBlock]:
    """Documents of ``.bin`` and ``.idx``; either may be named.

    Raises:
        TokenShardError: If one is missing, cut short or does not fit the other, or a document is empty.
    """
    tokens = tokens_file(path)
    index = _read_index(path.with_suffix(".idx"), tokens)
    sequence_ends = np.cumsum(index.lengths, dtype=np.int64)
    ids = np.memmap(tokens, dtype=index.dtype, mode="r") if tokens.stat().st_size else np.zeros(0, dtype=index.dtype)
    ends = np.concatenate(([0], sequence_ends))[index.boundaries]
    first = 0
    while first + 1 < ends.size:
        last = max(first + 1, int(np.searchsorted(ends, ends[first] + BLOCK_TOKENS, side="right")) - 1)
        part = np.asarray(ids[int(ends[first]) : int(ends[last])])
        yield without_ends(part.astype(np.int64), np.diff(ends[first : last + 1]), end_of_document, str(tokens))
        first = last


def _read_index(path: Path, tokens: Path) -> _Index:
    again = "it is damaged or of another version; write it again"
    for needed in (path, tokens):
        if not needed.is_file():
            raise TokenShardError(f"{needed} is missing: Megatron's layout is a .bin and a .idx of one name")
    content = path.read_bytes()
    if not content.startswith(_MAGIC) or len(content) < len(_MAGIC) + _HEAD.size:
        raise TokenShardError(f"{path} is no Megatron index; {again}")
    version, code, sequences, boundaries = _HEAD.unpack_from(content, len(_MAGIC))
    if version != 1 or code not in _TYPES:
        raise TokenShardError(f"{path} has version {version} and type {code}, not those that are known; {again}")
    place = len(_MAGIC) + _HEAD.size
    if len(content) != place + 12 * sequences + 8 * boundaries:
        raise TokenShardError(f"{path} has {len(content)} bytes, not what its head says; {again}")
    lengths = np.frombuffer(content, dtype="<i4", count=sequences, offset=place)
    pointers = np.frombuffer(content, dtype="<i8", count=sequences, offset=place + 4 * sequences)
    bounds = np.frombuffer(content, dtype="<i8", count=boundaries, offset=place + 12 * sequences)
    dtype = np.dtype(_TYPES[code])
    starts = (np.cumsum(lengths, dtype=np.int64) - lengths) * dtype.itemsize
    total = int(lengths.sum(dtype=np.int64)) * dtype.itemsize
    if not np.array_equal(starts, pointers) or (boundaries and (bounds[0] != 0 or bounds[-1] != sequences)):
        raise TokenShardError(f"{path} does not cover its file one sequence after the other; {again}")
    if (np.diff(bounds) < 0).any() or (lengths < 0).any():
        raise TokenShardError(f"{path} has lengths or boundaries that cannot be; {again}")
    if tokens.stat().st_size != total:
        raise TokenShardError(f"{tokens} has {tokens.stat().st_size} bytes and its index says {total}; {again}")
    return _Index(dtype, lengths, pointers, bounds)
