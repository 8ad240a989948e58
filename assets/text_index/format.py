"""What the builder and the reader of a text index agree on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.shards import SplitName

FORMAT = 1
DESCRIPTION = "text_index.json"
END = 0xFF
"""Closes a document's text."""

POSITION = np.dtype("<u4")
AGAIN = "remove the folder and run text_index again"


@dataclass(frozen=True)
class IndexPart:
    """Consecutive documents of a split, sorted by themselves.

    Attributes:
        number: Of the part in its folder.
        split: Whose documents they are.
        first_document: Number of its first document in the split.
        documents: Documents in it.
        first_token: Position of its first token in the split.
        tokens: Tokens in it, end-of-document ids included.
        bytes: Of its text, with the byte that closes each document.
        suffixes: Characters in it, each of which begins a suffix; what closes a document is none.
    """

    number: int
    split: SplitName
    first_document: int
    documents: int
    first_token: int
    tokens: int
    bytes: int
    suffixes: int

    @property
    def text_name(self) -> str:
        """File of its text, uint8 [bytes]."""
        return f"text-{self.number:05d}.bin"

    @property
    def suffixes_name(self) -> str:
        """File of its sorted suffixes, uint32 [suffixes]."""
        return f"suffixes-{self.number:05d}.bin"

    @property
    def documents_name(self) -> str:
        """File of where its documents begin, uint32 [documents + 1]; the last one is ``bytes``."""
        return f"documents-{self.number:05d}.bin"

    @property
    def sizes(self) -> dict[str, int]:
        """Size of each of its files."""
        return {
            self.text_name: self.bytes,
            self.suffixes_name: self.suffixes * POSITION.itemsize,
            self.documents_name: (self.documents + 1) * POSITION.itemsize,
        }
