"""Fertility: how much text a token of the vocabulary holds, by source and language."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from assets.clean_text.words import words
from assets.vocabulary.sampling import SampledDocument

_FIELDS: list[pa.Field[Any]] = [
    pa.field("tokenizer", pa.string(), nullable=False),
    pa.field("dump", pa.string(), nullable=False),
    pa.field("source", pa.string()),
    pa.field("language", pa.string()),
    pa.field("documents", pa.int64(), nullable=False),
    pa.field("bytes", pa.int64(), nullable=False),
    pa.field("characters", pa.int64(), nullable=False),
    pa.field("words", pa.int64(), nullable=False),
    pa.field("tokens", pa.int64(), nullable=False),
    pa.field("bytes_per_token", pa.float64()),
    pa.field("characters_per_token", pa.float64()),
    pa.field("tokens_per_word", pa.float64()),
]
FERTILITY: pa.Schema = pa.schema(_FIELDS)
"""Schema of ``fertility.parquet``: a row for each tokenizer, and source and language of each dump."""
OURS = "this"
"""The tokenizer whose report it is."""


@dataclass(frozen=True)
class FertilityRow:
    """Text of one dump, source and language, and what it encodes to.

    Attributes:
        tokenizer: ``OURS``, or the name of another.
        dump: Name of the dump.
        source: Source of the documents.
        language: Language code of the documents.
        documents: Documents measured.
        bytes: Their UTF-8 bytes.
        characters: Their characters.
        words: Their words, without punctuation; Chinese as segmented by rjieba.
        tokens: Their tokens, without those that close documents.
    """

    tokenizer: str
    dump: str
    source: str
    language: str
    documents: int
    bytes: int
    characters: int
    words: int
    tokens: int

    @property
    def bytes_per_token(self) -> float | None:
        """UTF-8 bytes that a token holds; None without tokens."""
        return self.bytes / self.tokens if self.tokens else None

    @property
    def characters_per_token(self) -> float | None:
        """Characters that a token holds; None without tokens."""
        return self.characters / self.tokens if self.tokens else None

    @property
    def tokens_per_word(self) -> float | None:
        """Tokens that a word takes, those of punctuation and white space counted in; None without words."""
        return self.tokens / self.words if self.words else None


Encode = Callable[[Sequence[str]], "list[list[int]]"]
"""From texts to their ids."""


def measure_fertility(
    encoders: Mapping[str, Encode], documents: Sequence[SampledDocument], *, dump: str
) -> list[FertilityRow]:
    """Encode documents of one dump and count.

    Args:
        encoders: By the tokenizer's name.
        documents: Of the dump.
        dump: Its name.

    Returns:
        A row for each tokenizer and each source and language, sorted by the last two.
    """
    totals: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    tokens: defaultdict[tuple[str, str, str], int] = defaultdict(int)
    for text, source, language in documents:
        totals[source or "", language or ""].update(
            documents=1,
            bytes=len(text.encode()),
            characters=len(text),
            words=sum(any(map(str.isalnum, word)) for word in words(text, language=language or "")),
        )
    for name, encode in encoders.items():
        for document, ids in zip(documents, encode([document.text for document in documents]), strict=True):
            tokens[name, document.source or "", document.language or ""] += len(ids)
    return [
        FertilityRow(name, dump, source, language, **total, tokens=tokens[name, source, language])
        for (source, language), total in sorted(totals.items())
        for name in encoders
    ]


def write_fertility(rows: Sequence[FertilityRow], path: Path) -> None:
    """Write ``fertility.parquet``."""
    ratios = ("bytes_per_token", "characters_per_token", "tokens_per_word")
    records = [asdict(row) | {name: getattr(row, name) for name in ratios} for row in rows]
    pq.write_table(pa.Table.from_pylist(records, schema=FERTILITY), path, compression="zstd")
