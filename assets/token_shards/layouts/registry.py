"""The layouts by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

from assets.token_shards.layouts.blocks import DocumentBlock
from assets.token_shards.layouts.datatrove import read_datatrove, write_datatrove
from assets.token_shards.layouts.flat import read_flat, write_flat
from assets.token_shards.layouts.megatron import read_megatron, write_megatron
from assets.token_shards.layouts.parquet import read_parquet, write_parquet
from training.shards import Shards, Split


class Reader(Protocol):
    """From a file to its documents."""

    def __call__(self, path: Path, *, end_of_document: int, vocabulary_size: int) -> Iterator[DocumentBlock]:
        """The documents, block by block."""


class Layout(NamedTuple):
    """How a layout is written and read; ``write`` takes the path without an ending and gives the files."""

    write: Callable[[Shards, Split, Path], list[Path]]
    read: Reader


LAYOUTS: dict[str, Layout] = {
    "megatron": Layout(write_megatron, read_megatron),
    "datatrove": Layout(write_datatrove, read_datatrove),
    "nanogpt": Layout(write_flat, read_flat),
    "parquet": Layout(write_parquet, read_parquet),
}
