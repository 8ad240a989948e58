"""From token ids to the bytes they stand for, many at a time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from assets.clean_text.kernels.compiled import compiled
from assets.text_index.errors import TextIndexError
from assets.text_index.format import END
from assets.vocabulary.tokenizer import Vocabulary
from training.shards import Ids

Bytes = npt.NDArray[np.uint8]

_SPACE = 0x20


@dataclass(frozen=True)
class TokenText:
    """The bytes of every id of a vocabulary, as they stand behind another token.

    Attributes:
        data: The bytes of all ids, one after the other, uint8 [bytes].
        starts: Where those of each id begin, int64 [ids + 1].
        end: The end-of-document id; its byte is 0xFF.
        stripped: Whether a space that would be the first byte of a document is left out: where words are joined by
            spaces, or begin with one that is no text.
    """

    data: Bytes
    starts: Ids
    end: int
    stripped: bool

    def check(self, ids: Ids, where: str) -> None:
        """See that all ids are in the vocabulary, before a compiled loop relies on it.

        Raises:
            TextIndexError: If one is not.
        """
        if ids.size and not 0 <= int(ids.min()) <= int(ids.max()) < self.starts.size - 1:
            raise TextIndexError(f"{where} hold an id that is not in their vocabulary; run token_shards again")

    def sizes(self, ids: Ids) -> Ids:
        """Bytes of each token of a document, int64 [tokens]."""
        sizes = self.starts[ids + 1] - self.starts[ids]
        first = int(np.argmax(sizes > 0))
        if self.stripped and ids.size and self.data[self.starts[ids[first]]] == _SPACE:
            sizes[first] -= 1
        return sizes

    def text(self, ids: Sequence[int]) -> bytes:
        """The bytes of a document's tokens."""
        joined = b"".join(self.data[self.starts[token] : self.starts[token + 1]].tobytes() for token in ids)
        return joined.removeprefix(b" ") if self.stripped else joined


def token_text(vocabulary: Vocabulary) -> TokenText:
    """The bytes of every id as they stand in a document's text."""
    every, stripped = _token_bytes(vocabulary)
    every[vocabulary.end_of_document] = bytes([END])
    starts = np.zeros(len(every) + 1, dtype=np.int64)
    np.cumsum([len(each) for each in every], out=starts[1:])
    return TokenText(np.frombuffer(b"".join(every), np.uint8), starts, vocabulary.end_of_document, stripped)


@compiled
def write_text(
    ids: Ids,
    data: Bytes,
    starts: Ids,
    end: int,
    stripped: bool,
    text: Bytes,
    documents: npt.NDArray[np.uint32],
    size: int,
    closed: int,
) -> tuple[int, int]:
    """Write the bytes of ids behind those that are there.

    Args:
        ids: int64 [tokens].
        data, starts, end, stripped: Of a ``TokenText``.
        text: Where the bytes go, uint8 [bytes].
        documents: Where the ends of documents go, uint32 [documents + 1]; the first is 0.
        size: Bytes that are there.
        closed: Documents that are there.

    Returns:
        ``size`` and ``closed`` after it.
    """
    for token in ids:
        for place in range(_first_byte(token, data, starts, stripped and size == documents[closed]), starts[token + 1]):
            text[size] = data[place]
            size += 1
        if token == end:
            closed += 1
            documents[closed] = size
    return size, closed


@compiled
def document_sizes(
    ids: Ids, data: Bytes, starts: Ids, end: int, stripped: bool, open_bytes: int, sizes: Ids, ends: Ids
) -> tuple[int, int]:
    """The bytes of each document that ends within ids, its end-of-document id counted in.

    Args:
        ids: int64 [tokens].
        data, starts, end, stripped: Of a ``TokenText``.
        open_bytes: Of the document that is open, before these ids.
        sizes: Where the sizes go, int64 [tokens].
        ends: Where the numbers of ids up to each end go, int64 [tokens].

    Returns:
        How many documents end, and the bytes of the one that stays open.
    """
    closed = 0
    for place in range(ids.size):
        token = ids[place]
        open_bytes += starts[token + 1] - _first_byte(token, data, starts, stripped and open_bytes == 0)
        if token == end:
            sizes[closed] = open_bytes
            ends[closed] = place + 1
            closed += 1
            open_bytes = 0
    return closed, open_bytes


@compiled
def _first_byte(token: int, data: Bytes, starts: Ids, strip: bool) -> int:
    begin: int = starts[token]
    if strip and begin < starts[token + 1] and data[begin] == _SPACE:
        begin += 1
    return begin


def _token_bytes(vocabulary: Vocabulary) -> tuple[list[bytes], bool]:
    """The bytes of every id as ``Vocabulary.decode`` writes them, and whether a document's first space is left out.

    Special tokens decode to nothing. Tokens without a decoder are words, which are joined by spaces.
    """
    decoder = (json.loads(vocabulary.tokenizer.to_str())["decoder"] or {}).get("type")
    added = vocabulary.tokenizer.get_added_tokens_decoder()
    every = []
    for token in range(vocabulary.size):
        name = vocabulary.tokenizer.id_to_token(token) or ""
        if token in added:
            every.append(b"" if added[token].special else name.encode())
        elif decoder == "ByteLevel":
            every.append(bytes(_BYTE_OF[letter] for letter in name))
        else:
            every.append((" " + name if decoder is None else name).encode())
    return every, decoder is None


def _byte_letters() -> dict[str, int]:
    """The letters that stand for bytes in byte-level vocabularies (Radford et al. 2019, their ``encoder.py``).

    Printable characters of Latin-1 stand for themselves, the other bytes in their order for what follows U+0100.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = sorted({*range(0x100)} - {*printable})
    return {chr(byte): byte for byte in printable} | {chr(0x100 + number): byte for number, byte in enumerate(others)}


_BYTE_OF = _byte_letters()
