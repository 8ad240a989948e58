"""Where the documents of a split are cut into parts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from assets.text_index.errors import TextIndexError
from assets.text_index.format import IndexPart
from assets.text_index.settings import LARGEST_PART
from assets.text_index.token_text import TokenText, document_sizes
from training.shards import Ids, Shards, Split

_BLOCK_TOKENS = 1 << 20
"""Read at a time; 8 MiB."""


def plan_parts(shards: Shards, text: TokenText, *, part_bytes: int) -> list[IndexPart]:
    """Parts of whole documents, those of training before those of validation; ``suffixes`` is 0 in them.

    Reads every token once, in blocks. How the shards are cut into files has no part in it.

    Args:
        shards: Opened.
        text: Of their vocabulary.
        part_bytes: Most bytes in a part; a longer document has one of its own.

    Raises:
        TextIndexError: If a document is too large to be sorted, or the shards are damaged.
    """
    parts: list[IndexPart] = []
    for split in (shards.train, shards.validation):
        where = f"the token shards {shards.folder}, split {split.name},"
        part = IndexPart(len(parts), split.name, 0, 0, 0, 0, 0, 0)
        for sizes, ends in _documents(split, text, where):
            if sizes.size and int(sizes.max()) > LARGEST_PART:
                number = part.first_document + part.documents + int(np.argmax(sizes > LARGEST_PART))
                raise TextIndexError(
                    f"{where} have {sizes.max()} bytes of text in document {number}, more than the {LARGEST_PART} that "
                    "can be sorted; split it into smaller ones ('documents' in the catalogue)"
                )
            edges = np.concatenate([[0], np.cumsum(sizes)])
            begin = 0
            while begin < sizes.size:
                room = part_bytes - part.bytes
                end = int(np.searchsorted(edges, edges[begin] + room, side="right")) - 1
                end = max(end, begin if part.documents else begin + 1)
                if end > begin:
                    part = replace(
                        part,
                        documents=part.documents + end - begin,
                        tokens=int(ends[end - 1]) - part.first_token,
                        bytes=part.bytes + int(edges[end] - edges[begin]),
                    )
                if end < sizes.size:
                    parts.append(part)
                    part = _next(part)
                begin = end
        if part.documents:
            parts.append(part)
        if part.first_document + part.documents != split.document_count:
            raise TextIndexError(
                f"{where} hold {part.first_document + part.documents} ends of documents instead of "
                f"{split.document_count}; remove the folder and run token_shards again"
            )
    return parts


def token_blocks(split: Split, start: int, length: int) -> Iterator[Ids]:
    """A stretch of tokens in blocks, int64 [at most a million]."""
    for begin in range(start, start + length, _BLOCK_TOKENS):
        yield split.tokens(begin, min(_BLOCK_TOKENS, start + length - begin))


def _documents(split: Split, text: TokenText, where: str) -> Iterator[tuple[Ids, Ids]]:
    """Bytes of the documents that end in each block, and the position in the split behind their last token."""
    done = open_bytes = 0
    begun = False
    for ids in token_blocks(split, 0, split.token_count):
        text.check(ids, where)
        sizes, ends = np.empty_like(ids), np.empty_like(ids)
        closed, open_bytes, begun = document_sizes(ids, text, open_bytes, begun, sizes, ends)
        yield sizes[:closed], ends[:closed] + done
        done += ids.size


def _next(part: IndexPart) -> IndexPart:
    first_document, first_token = part.first_document + part.documents, part.first_token + part.tokens
    return IndexPart(part.number + 1, part.split, first_document, 0, first_token, 0, 0, 0)
