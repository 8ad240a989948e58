"""The layouts by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

from assets.token_shards.layouts.blocks import DocumentBlock
from assets.token_shards.layouts.datatrove import named_by_metadata, read_datatrove, write_datatrove
from assets.token_shards.layouts.flat import read_flat, write_flat
from assets.token_shards.layouts.megatron import read_megatron, tokens_file, write_megatron
from assets.token_shards.layouts.parquet import named_by_schema, read_parquet, write_parquet
from training.shards import Shards, Split


class Reader(Protocol):
    """From a file to its documents."""

    def __call__(self, path: Path, *, end_of_document: int, vocabulary_size: int) -> Iterator[DocumentBlock]:
        """The documents, block by block."""


def _unnamed(path: Path) -> None:
    """A layout in which files name no vocabulary."""


def _itself(path: Path) -> Path:
    return path


class Layout(NamedTuple):
    """How a layout is written and read.

    Attributes:
        write: Takes the path without an ending and gives the files.
        read: Gives the documents of a file.
        named_vocabulary: Gives the hash of the vocabulary that a file names, if it does.
        tokens_file: Gives the file with the ids, where another one may be named for it.
    """

    write: Callable[[Shards, Split, Path], list[Path]]
    read: Reader
    named_vocabulary: Callable[[Path], str | None] = _unnamed
    tokens_file: Callable[[Path], Path] = _itself


LAYOUTS: dict[str, Layout] = {
    "megatron": Layout(write_megatron, read_megatron, tokens_file=tokens_file),
    "datatrove": Layout(write_datatrove, read_datatrove, named_by_metadata),
    "nanogpt": Layout(write_flat, read_flat),
    "parquet": Layout(write_parquet, read_parquet, named_by_schema),
}
