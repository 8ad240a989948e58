"""Identifiers of imported documents: 32 hex digits, each once."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assets.token_shards.errors import TokenShardError

_BYTES = 16


def hashed(name: str) -> str:
    """32 hex digits for a name: its BLAKE2b hash of 16 bytes."""
    return hashlib.blake2b(name.encode(), digest_size=_BYTES).hexdigest()


def named_ids(names: pa.StringArray) -> list[str]:
    """Names that are 32 hex digits as they are, others hashed; none is null."""
    whole: Any = pc.match_substring_regex(names, pattern="^[0-9a-f]{32}$")
    found: list[Any] = names.to_pylist()
    return [name if as_it_is else hashed(name) for name, as_it_is in zip(found, whole.to_pylist(), strict=True)]


def numbered_ids(content: str, first: int, count: int) -> list[str]:
    """Identifiers of documents without one: hashes of their file's content and their numbers in it."""
    return [hashed(f"{content}/{number}") for number in range(first, first + count)]


class TakenIds:
    """The identifiers of all documents of an import. Memory: 16 bytes a document."""

    def __init__(self) -> None:
        self._digests: list[bytes] = []
        self._blocks: list[tuple[Path, int]] = []
        self._ends = [0]

    def add(self, file: Path, first: int, doc_ids: Sequence[str]) -> None:
        """Take those of a file's documents from number ``first`` on."""
        self._digests.append(bytes.fromhex("".join(doc_ids)))
        self._blocks.append((file, first))
        self._ends.append(self._ends[-1] + len(doc_ids))

    def refuse_repeated(self) -> None:
        """See that no two are the same.

        Raises:
            TokenShardError: Naming two documents that have the same.
        """
        digests = np.frombuffer(b"".join(self._digests), dtype=">u8").reshape(-1, 2)
        order = np.lexsort((digests[:, 1], digests[:, 0]))
        same = (digests[order[1:]] == digests[order[:-1]]).all(axis=1)
        if same.any():
            firsts = order[:-1][same]
            place = int(np.argmin(firsts))
            first, second = (self._document(int(number)) for number in (firsts[place], order[1:][same][place]))
            raise TokenShardError(
                f"{first} and {second} have the same id; name each file once, and give each document an id of its own"
            )

    def _document(self, number: int) -> str:
        block = int(np.searchsorted(self._ends, number, side="right")) - 1
        file, first = self._blocks[block]
        return f"document {first + number - self._ends[block]} of {file}"
