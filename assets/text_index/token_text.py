"""From token ids to the bytes they stand for, many at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from assets.clean_text.kernels.compiled import compiled
from assets.text_index.errors import TextIndexError
from assets.text_index.format import END
from assets.vocabulary.tokenizer import Vocabulary
from training.shards import Ids, Shards

Bytes = npt.NDArray[np.uint8]

_SPACE = 0x20
_DECODED, _DECODED_TOKENS = 100, 1000
"""Documents of a split that are decoded for the check, and tokens of each at most."""


class TokenText(NamedTuple):
    """The bytes of every id of a vocabulary, as they stand behind another token.

    Attributes:
        data: The bytes of all ids, one after the other, uint8 [bytes].
        starts: Where those of each id begin, int64 [ids + 1].
        end: The end-of-document id; its byte is 0xFF.
        stripped: Whether a space with which the first token of a document begins is left out: where words are joined
            by spaces, or begin with one that is no text.
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
    """The bytes of every id as ``Vocabulary.decode_bytes`` writes them: those of special tokens are none."""
    joined = vocabulary.tokenizer.decoder is None  # words
    names = [(b" " if joined else b"") + name for name in vocabulary.token_bytes()]
    for token in vocabulary.special_ids:
        names[token] = b""
    names[vocabulary.end_of_document] = bytes([END])
    begun = next((token for token, name in enumerate(names) if name.startswith(b" ")), None)
    stripped = joined or (begun is not None and vocabulary.decode_bytes([begun]) != names[begun])
    starts = np.zeros(len(names) + 1, dtype=np.int64)
    np.cumsum([len(name) for name in names], out=starts[1:])
    return TokenText(np.frombuffer(b"".join(names), np.uint8), starts, vocabulary.end_of_document, stripped)


def check_decoding(text: TokenText, vocabulary: Vocabulary, shards: Shards) -> None:
    """See on documents from everywhere that what is put together from single tokens is what they decode to.

    Raises:
        TextIndexError: If not, as for vocabularies that write continued words as ``##ing``.
    """
    for split in (shards.train, shards.validation):
        spread = np.linspace(0, split.document_count - 1, min(split.document_count, _DECODED), dtype=np.int64)
        for number in spread.tolist():
            ids = split.document(number).ids[:-1][:_DECODED_TOKENS].tolist()
            if text.text(ids) != vocabulary.decode_bytes(ids):
                raise TextIndexError(
                    "the text of this vocabulary's tokens is not that of each, one after the other, so it cannot be "
                    "indexed; encode the documents with another kind of vocabulary"
                )


@compiled
def write_text(
    ids: Ids,
    tokens: TokenText,
    text: Bytes,
    documents: npt.NDArray[np.uint32],
    size: int,
    closed: int,
    begun: bool,
) -> tuple[int, int, bool]:
    """Write the bytes of ids behind those that are there.

    Args:
        ids: int64 [tokens].
        tokens: The bytes of every id.
        text: Where the bytes go, uint8 [bytes].
        documents: Where the ends of documents go, uint32 [documents + 1]; the first is 0.
        size: Bytes that are there.
        closed: Documents that are there, and whole.
        begun: Whether a token with text of the next one is there.

    Returns:
        ``size``, ``closed`` and ``begun`` after it.
    """
    for token in ids:
        for place in range(_first_byte(tokens, token, begun), tokens.starts[token + 1]):
            text[size] = tokens.data[place]
            size += 1
        begun |= tokens.starts[token] < tokens.starts[token + 1]
        if token == tokens.end:
            closed += 1
            documents[closed] = size
            begun = False
    return size, closed, begun


@compiled
def document_sizes(
    ids: Ids,
    tokens: TokenText,
    open_bytes: int,
    begun: bool,
    sizes: Ids,
    ends: Ids,
) -> tuple[int, int, bool]:
    """The bytes of each document that ends within ids, its end-of-document id counted in.

    Args:
        ids: int64 [tokens].
        tokens: The bytes of every id.
        open_bytes: Of the document that is open, before these ids.
        begun: Whether a token with text of it is before these ids.
        sizes: Where the sizes go, int64 [tokens].
        ends: Where the numbers of ids up to each end go, int64 [tokens].

    Returns:
        How many documents end, and ``open_bytes`` and ``begun`` of the one that stays open.
    """
    closed = 0
    for place in range(ids.size):
        token = ids[place]
        open_bytes += tokens.starts[token + 1] - _first_byte(tokens, token, begun)
        begun |= tokens.starts[token] < tokens.starts[token + 1]
        if token == tokens.end:
            sizes[closed] = open_bytes
            ends[closed] = place + 1
            closed += 1
            open_bytes = 0
            begun = False
    return closed, open_bytes, begun


@compiled
def _first_byte(tokens: TokenText, token: int, begun: bool) -> int:
    begin: int = tokens.starts[token]
    if tokens.stripped and not begun and begin < tokens.starts[token + 1] and tokens.data[begin] == _SPACE:
        begin += 1
    return begin
