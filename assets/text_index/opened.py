"""Opening a text index."""

from __future__ import annotations

import json
import mmap
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assets.text_index.errors import TextIndexError
from assets.text_index.format import AGAIN, DESCRIPTION, FORMAT, POSITION, IndexPart
from assets.text_index.suffix_array import Positions
from assets.text_index.token_text import Bytes, TokenText, token_text
from assets.vocabulary.tokenizer import Vocabulary
from training.shards import Shards

_OPEN_PARTS = 128
"""In the whole process; each takes two file descriptors, of which a process often has 1,024."""

_OPEN_DOCUMENTS = 64
"""In the whole process; one file descriptor each."""


class OpenPart(NamedTuple):
    """The files of a part, read where they are used.

    Attributes:
        text: uint8 [bytes].
        suffixes: uint32 [characters].
    """

    text: Bytes
    suffixes: Positions


@dataclass(frozen=True, eq=False)
class TextIndex:
    """The index of one dump, with what it was made from.

    Attributes:
        folder: Where it lies.
        parts: Its parts, those of training before those of validation.
        shards: The dump's token shards.
        tokens: The bytes of every token.
    """

    folder: Path
    parts: tuple[IndexPart, ...]
    shards: Shards
    tokens: TokenText = field(repr=False)

    def open(self, part: IndexPart, *, many: bool = False) -> OpenPart:
        """The text of a part and its sorted suffixes.

        Args:
            part: One of ``parts``.
            many: Whether many searches follow one another, so that nearly all pages will be asked for.

        Raises:
            TextIndexError: Naming the file that is missing or has another size.
        """
        return _open_part(self, part, many)

    def documents(self, part: IndexPart) -> Positions:
        """Where each document begins in the text of a part, and its size; uint32 [documents + 1].

        Raises:
            TextIndexError: If the file is missing or damaged.
        """
        return _open_documents(self, part)

    def damaged(self, name: str) -> TextIndexError:
        """The error for a file whose content cannot be."""
        return TextIndexError(f"{self.folder / name} is damaged; {AGAIN}")


def open_text_index(folder: Path, *, shards: Shards, vocabulary: Vocabulary) -> TextIndex:
    """Open the index of a dump; reads ``text_index.json`` and the files' sizes, maps the rest when it is searched.

    ``training.artifact.verify`` reads everything.

    Args:
        folder: Written by ``build_text_index``.
        shards: What it was built from.
        vocabulary: Of the shards.

    Raises:
        TextIndexError: Naming the file that is missing, damaged, or of other shards or another vocabulary.
    """
    path = folder / DESCRIPTION
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
        if description["format"] != FORMAT:
            raise ValueError(f"format {description['format']}, this program reads format {FORMAT}")
        parts = tuple(IndexPart(**entry) for entry in description["parts"])
        made_from = description["dump"], description["shards"], description["vocabulary"]
        sizes = {name: size for part in parts for name, size in part.sizes.items()}
    except FileNotFoundError:
        raise TextIndexError(f"{folder} has no {DESCRIPTION}: it is no finished text index; {AGAIN}") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TextIndexError(f"{path} is damaged ({error}); {AGAIN}") from None
    if made_from != (shards.dump, shards.sha256, shards.vocabulary_hash):
        raise TextIndexError(
            f"{path} is the index of other token shards of '{made_from[0]}' than {shards.folder} of '{shards.dump}'; "
            "open those, or run text_index again"
        )
    if vocabulary.sha256 != shards.vocabulary_hash:
        raise TextIndexError(
            f"{shards.folder} was encoded with vocabulary {shards.vocabulary_hash[:12]}, not {vocabulary.sha256[:12]}; "
            "open that one"
        )
    for name, size in sizes.items():
        _check_size(folder / name, size)
    return TextIndex(folder, parts, shards, token_text(vocabulary))


def _check_size(path: Path, size: int) -> None:
    if not path.is_file():
        raise TextIndexError(f"{path} is missing; {AGAIN}")
    if path.stat().st_size != size:
        raise TextIndexError(f"{path} has {path.stat().st_size} bytes instead of {size}; {AGAIN}")


@lru_cache(maxsize=_OPEN_PARTS)
def _open_part(index: TextIndex, part: IndexPart, many: bool) -> OpenPart:
    return OpenPart(
        _mapped(index.folder / part.text_name, np.dtype(np.uint8), part.bytes, read_on=many),
        _mapped(index.folder / part.suffixes_name, POSITION, part.suffixes, read_on=many),
    )


@lru_cache(maxsize=_OPEN_DOCUMENTS)
def _open_documents(index: TextIndex, part: IndexPart) -> Positions:
    documents = _mapped(index.folder / part.documents_name, POSITION, part.documents + 1, read_on=True)
    if documents[0] != 0 or documents[-1] != part.bytes or (documents[1:] <= documents[:-1]).any():
        raise index.damaged(part.documents_name)
    return documents


def _mapped(path: Path, dtype: np.dtype[Any], count: int, *, read_on: bool) -> npt.NDArray[Any]:
    _check_size(path, count * dtype.itemsize)
    if not count:
        return np.empty(0, dtype)
    try:
        with path.open("rb") as file:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if not read_on and hasattr(mmap, "MADV_RANDOM"):
            # A binary search jumps: what the system would read on behind each place, nobody asked for.
            content.madvise(mmap.MADV_RANDOM)
        return np.frombuffer(content, dtype)
    except (OSError, ValueError) as error:
        raise TextIndexError(f"{path} cannot be read ({error}); {AGAIN}") from None
