"""Searching text indexes: how often a phrase occurs in the training data, and where."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from assets.text_index.errors import TextIndexError
from assets.text_index.format import IndexPart
from assets.text_index.opened import OpenPart, TextIndex
from assets.text_index.suffix_array import find
from assets.text_index.token_text import Bytes, token_text
from assets.vocabulary.tokenizer import Vocabulary
from training.shards import SPLITS, Ids, SplitName

_COUNTED = 1 << 20
"""Occurrences in a part whose documents are counted; 8 MiB."""


class SplitCount(NamedTuple):
    """How often a phrase occurs in a split.

    Attributes:
        dump, split: Where.
        occurrences: Overlapping ones count each.
        documents: Documents that hold it, or fewer, see ``PhraseCount``.
    """

    dump: str
    split: SplitName
    occurrences: int
    documents: int


@dataclass(frozen=True)
class PhraseCount:
    """How often a phrase occurs.

    Attributes:
        phrase: What was looked for.
        splits: By dump and split, in the order of the indexes; those without it too.
        documents_exact: Whether the documents were all counted. Only those of the first million occurrences in a part,
            in the order of what follows the phrase, are; where there are more, the documents are a lower bound.
    """

    phrase: str
    splits: tuple[SplitCount, ...]
    documents_exact: bool

    @property
    def occurrences(self) -> int:
        """In all; overlapping ones count each."""
        return sum(split.occurrences for split in self.splits)

    @property
    def documents(self) -> int:
        """Documents that hold it, in all, or a lower bound."""
        return sum(split.documents for split in self.splits)


@dataclass(frozen=True)
class Occurrence:
    """One place where a phrase occurs.

    Attributes:
        dump, split: Where.
        document: Number of the document in the split.
        doc_id: Its identifier.
        byte_start: Where the phrase begins in the text that the document's tokens decode to, in UTF-8 bytes.
        first_token: Position in the split of the first token that the phrase touches.
        tokens: Tokens that it touches; the first and last may reach beyond it.
        left, match, right: The phrase and what stands around it in the document.
    """

    dump: str
    split: SplitName
    document: int
    doc_id: str
    byte_start: int
    first_token: int
    tokens: int
    left: str
    match: str
    right: str


def count(indexes: Sequence[TextIndex], phrase: str, *, splits: Sequence[SplitName] = SPLITS) -> PhraseCount:
    """How often a phrase occurs, exactly; case counts, and no occurrence reaches over the end of a document.

    Time: two binary searches a part.

    Args:
        indexes: Of one dump each.
        phrase: Not empty.
        splits: Looked at.

    Raises:
        TextIndexError: If the phrase is empty or no Unicode text, or an index is damaged.
    """
    found = {(index.shards.dump, split): [0, 0] for index in indexes for split in SPLITS if split in splits}
    exact = True
    for index, part, opened, begin, end in _ranges(indexes, phrase_bytes(phrase), splits):
        of_split = found[index.shards.dump, part.split]
        of_split[0] += end - begin
        counted = opened.suffixes[begin : min(end, begin + _COUNTED)]
        of_split[1] += np.unique(np.searchsorted(index.documents(part), counted, side="right")).size
        exact &= end - begin <= _COUNTED
    return PhraseCount(phrase, tuple(SplitCount(*where, *numbers) for where, numbers in found.items()), exact)


def occurrences(
    indexes: Sequence[TextIndex],
    phrase: str,
    *,
    limit: int = 20,
    offset: int = 0,
    context: int = 80,
    splits: Sequence[SplitName] = SPLITS,
) -> list[Occurrence]:
    """Where a phrase occurs: in the order of the indexes, training before validation, documents in their order.

    Time: as for ``count``, up to the part with the last one. Memory: the positions of the phrase in one part, and the
    tokens of one document.

    Args:
        indexes: Of one dump each.
        phrase: Not empty.
        limit: Most occurrences that are returned.
        offset: Occurrences that are passed over first.
        context: Most characters on each side.
        splits: Looked at.

    Raises:
        TextIndexError: If the phrase is empty or no Unicode text, or an index is damaged.
        ShardError: If the shards' index cannot be read.
    """
    wanted = phrase_bytes(phrase)
    found: list[Occurrence] = []
    if limit < 1:
        return found
    for index, part, opened, begin, end in _ranges(indexes, wanted, splits):
        if offset >= end - begin:
            offset -= end - begin
            continue
        positions = np.sort(opened.suffixes[begin:end])[offset : offset + limit - len(found)].astype(np.int64)
        offset = 0
        found += _occurrences(index, part, opened, positions, wanted, context)
        if len(found) >= limit:
            break
    return found


def phrase_bytes(phrase: str) -> Bytes:
    """A phrase as it is looked for, uint8 [bytes].

    Raises:
        TextIndexError: If it is empty or no Unicode text.
    """
    if not phrase:
        raise TextIndexError("the phrase is empty; write at least one character")
    try:
        return np.frombuffer(phrase.encode("utf-8"), np.uint8)
    except UnicodeEncodeError as error:
        raise TextIndexError(
            f"the phrase is no Unicode text (character {error.start} is half of a pair); no training text holds that"
        ) from None


def phrase_of_tokens(vocabulary: Vocabulary, ids: Sequence[int]) -> str:
    """The text of token ids, to be looked for like any other: it is also found where it was cut into other tokens.

    Raises:
        TextIndexError: If an id is not in the vocabulary, or the ids begin or end within a character.
    """
    outside = [token for token in ids if not 0 <= token < vocabulary.size]
    if outside:
        raise TextIndexError(f"token id {outside[0]} is not below {vocabulary.size}, the size of the vocabulary")
    if vocabulary.end_of_document in ids:
        raise TextIndexError("the ids hold that of end-of-document, but no phrase reaches over the end of a document")
    try:
        return token_text(vocabulary).text(ids).decode("utf-8")
    except UnicodeDecodeError as error:
        raise TextIndexError(
            f"the token ids begin or end within a character ({error.reason}); add the tokens that complete it"
        ) from None


def _ranges(
    indexes: Sequence[TextIndex], phrase: Bytes, splits: Sequence[SplitName]
) -> Iterator[tuple[TextIndex, IndexPart, OpenPart, int, int]]:
    """The parts that hold a phrase, and from where to where among their suffixes."""
    for index in indexes:
        for part in index.parts:
            if part.split in splits:
                opened = index.open(part)
                begin, _, _ = find(opened.text, opened.suffixes, phrase, 0, False)
                end, _, _ = find(opened.text, opened.suffixes, phrase, 0, True)
                if begin < 0 or end < begin:
                    raise index.damaged(part.suffixes_name)
                if end > begin:
                    yield index, part, opened, begin, end


def _occurrences(
    index: TextIndex, part: IndexPart, opened: OpenPart, positions: Ids, phrase: Bytes, context: int
) -> Iterator[Occurrence]:
    documents = index.documents(part)
    rows = np.searchsorted(documents, positions, side="right") - 1
    split = index.shards.split(part.split)
    row, document, ends = -1, None, np.zeros(0, np.int64)
    for position, of_document in zip(positions.tolist(), rows.tolist(), strict=True):
        end = position + phrase.size
        if not np.array_equal(opened.text[position:end], phrase):
            raise index.damaged(part.suffixes_name)
        if document is None or of_document != row:
            row = of_document
            document = split.document(part.first_document + row)
            ends = np.cumsum(index.tokens.sizes(document.ids))
        first_byte, last_byte = documents[row : row + 2].tolist()
        if int(ends[-1]) != last_byte - first_byte:
            raise index.damaged(part.documents_name)
        first = int(np.searchsorted(ends, position - first_byte, side="right"))
        last = int(np.searchsorted(ends, end - first_byte, side="left"))
        left = opened.text[max(first_byte, position - 4 * context) : position].tobytes()
        right = opened.text[end : min(last_byte - 1, end + 4 * context)].tobytes()
        yield Occurrence(
            dump=index.shards.dump,
            split=part.split,
            document=part.first_document + row,
            doc_id=document.doc_id,
            byte_start=position - first_byte,
            first_token=document.start + first,
            tokens=last + 1 - first,
            left=left.decode("utf-8", "replace")[-context:] if context else "",
            match=phrase.tobytes().decode("utf-8"),
            right=right.decode("utf-8", "replace")[:context],
        )
