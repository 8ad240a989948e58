"""Documents of token files, many at a time: what every layout writes and reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assets.token_shards.errors import TokenShardError
from training.shards import Split

BLOCK_TOKENS = 1 << 20
Ids = npt.NDArray[np.integer[Any]]


class DocumentBlock(NamedTuple):
    """Consecutive documents.

    Attributes:
        ids: Their tokens, without those that close documents, int [tokens].
        lengths: Tokens of each, int64 [documents].
        doc_ids: Their identifiers; None where the layout has none.
    """

    ids: Ids
    lengths: npt.NDArray[np.int64]
    doc_ids: Sequence[str] | None


class ClosedBlock(NamedTuple):
    """Consecutive documents of a split as they lie there: ``ids`` with the one that closes each, and ``lengths`` so."""

    ids: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]
    start: int


def closed_blocks(split: Split) -> Iterator[ClosedBlock]:
    """A split in blocks of about a million tokens or one document."""
    for start, lengths in split.document_lengths():
        ends = np.cumsum(lengths)
        first = 0
        while first < lengths.size:
            before = int(ends[first - 1]) if first else 0
            last = max(first + 1, int(np.searchsorted(ends, before + BLOCK_TOKENS, side="right")))
            size = int(ends[last - 1]) - before
            yield ClosedBlock(split.tokens(start + before, size), lengths[first:last], start + before)
            first = last


def cut_at_ends(blocks: Iterator[Ids], end_of_document: int, where: str) -> Iterator[DocumentBlock]:
    """Documents of a row of tokens in which an id closes each.

    Raises:
        TokenShardError: If a document is empty, or the last one is not closed.
    """
    rest = np.zeros(0, dtype=np.int64)
    for block in blocks:
        tokens = np.concatenate((rest, block.astype(np.int64)))
        ends = np.flatnonzero(tokens == end_of_document)
        if not ends.size:
            rest = tokens
            continue
        lengths = np.diff(ends, prepend=-1) - 1
        check_lengths(lengths, where)
        closed = tokens[: int(ends[-1]) + 1]
        yield DocumentBlock(closed[closed != end_of_document], lengths, None)
        rest = tokens[int(ends[-1]) + 1 :]
    if rest.size:
        raise TokenShardError(
            f"{where} ends within a document: its last id is {int(rest[-1])}, not {end_of_document}, which closes one; "
            "the file is cut short, or of another vocabulary"
        )


def without_ends(ids: Ids, lengths: npt.NDArray[np.int64], end_of_document: int, where: str) -> DocumentBlock:
    """Documents that may each be closed by an id, without it.

    Raises:
        TokenShardError: If a document is empty.
    """
    check_lengths(lengths, where)
    ends = np.cumsum(lengths)
    closed = ids[ends - 1] == end_of_document
    kept = np.ones(ids.size, dtype=np.bool_)
    kept[ends[closed] - 1] = False
    check_lengths(lengths - closed, where)
    return DocumentBlock(ids[kept], lengths - closed, None)


def check_lengths(lengths: npt.NDArray[np.int64], where: str) -> None:
    """Refuse documents without tokens.

    Raises:
        TokenShardError: Naming the first.
    """
    if lengths.size and int(lengths.min()) < 1:
        raise TokenShardError(
            f"{where}: document {int(np.argmax(lengths < 1))} of a block has no token; take it out of the file"
        )
