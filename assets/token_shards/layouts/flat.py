"""nanoGPT's layout: one file of uint16 ids without a header, in which an id closes each document."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from assets.token_shards.errors import TokenShardError
from assets.token_shards.layouts.blocks import BLOCK_TOKENS, DocumentBlock, Ids, closed_blocks, cut_at_ends
from training.shards import Shards, Split

ENDING = ".bin"


def write_flat(shards: Shards, split: Split, path: Path) -> list[Path]:
    """Write ``path.bin``.

    Raises:
        TokenShardError: If ids do not fit 16 bits.
    """
    if shards.vocabulary_size > 1 << 16:
        raise TokenShardError(
            f"{shards.folder}: its {shards.vocabulary_size} entries do not fit nanoGPT's 16 bits; write another layout"
        )
    target = path.with_name(path.name + ENDING)
    with target.open("wb") as file:
        for block in closed_blocks(split):
            file.write(block.ids.astype("<u2").tobytes())
    return [target]


def read_flat(path: Path, *, end_of_document: int, vocabulary_size: int) -> Iterator[DocumentBlock]:
    """Documents of a file.

    Raises:
        TokenShardError: If it is cut short or a document is empty.
    """
    size = path.stat().st_size
    if size % 2:
        raise TokenShardError(f"{path} has {size} bytes, not a whole number of 16-bit ids; it is cut short")
    with path.open("rb") as file:
        yield from cut_at_ends(_blocks(file), end_of_document, str(path))


def _blocks(file: BinaryIO) -> Iterator[Ids]:
    while (block := np.fromfile(file, dtype="<u2", count=BLOCK_TOKENS)).size:
        yield block
