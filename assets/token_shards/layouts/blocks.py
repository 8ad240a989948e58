"""Documents of token files, many at a time: what every layout writes and reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assets.token_shards.errors import TokenShardError
from training.shards import Split

BLOCK_TOKENS = 1 << 20
LONGEST_DOCUMENT = 1 << 27  # as many as a whole file of shards: half a gigabyte of text, no book has a tenth
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


def cut_at_ends(blocks: Iterable[Ids], end_of_document: int, where: str) -> Iterator[DocumentBlock]:
    """Documents of a row of tokens in which an id closes each. Memory: a block, and the longest document.

    Raises:
        TokenShardError: If a document is empty or longer than any is, or the last one is not closed.
    """
    rest: list[Ids] = []  # of the document that is open
    for block in blocks:
        ends = np.flatnonzero(block == end_of_document)
        if ends.size:
            closed = np.concatenate((*rest, block[: int(ends[-1]) + 1]))
            lengths = np.diff(ends + (closed.size - int(ends[-1]) - 1), prepend=-1) - 1
            check_lengths(lengths, where)
            yield DocumentBlock(closed[closed != end_of_document], lengths, None)
            rest = []
            block = block[int(ends[-1]) + 1 :]
        if block.size:
            rest.append(block)
        if (size := sum(part.size for part in rest)) > LONGEST_DOCUMENT:
            raise TokenShardError(
                f"{where} has {size} ids after one another without {end_of_document}, which closes a document: it is "
                "of another vocabulary, or of another layout"
            )
    if rest:
        raise TokenShardError(
            f"{where} ends within a document: its last id is {int(rest[-1][-1])}, not {end_of_document}, which closes "
            "one; the file is cut short, or of another vocabulary"
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
