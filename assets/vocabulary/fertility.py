"""Fertility: how much text a token of the vocabulary holds, by source and language."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from assets.clean_text.words import words
from assets.vocabulary.sampling import SampledDocument
from assets.vocabulary.tokenizer import Vocabulary

_FIELDS: list[pa.Field[Any]] = [
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
"""Schema of ``fertility.parquet``: a row for each source and language of each dump."""


@dataclass(frozen=True)
class FertilityRow:
    """Text of one dump, source and language, and what it encodes to.

    Attributes:
        dump: Name of the dump.
        source: Source of the documents.
        language: Language code of the documents.
        documents: Documents measured.
        bytes: Their UTF-8 bytes.
        characters: Their characters.
        words: Their words, without punctuation; Chinese as segmented by rjieba.
        tokens: Their tokens, without those that close documents.
    """

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


def measure_fertility(vocabulary: Vocabulary, documents: Iterable[SampledDocument], *, dump: str) -> list[FertilityRow]:
    """Encode documents of one dump, one after the other, and count; a row for each source and language, sorted."""
    totals: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for text, source, language in documents:
        totals[source or "", language or ""].update(
            documents=1,
            bytes=len(text.encode()),
            characters=len(text),
            words=sum(any(map(str.isalnum, word)) for word in words(text, language=language or "")),
            tokens=len(vocabulary.encode_batch([text])[0]),
        )
    return [FertilityRow(dump, source, language, **total) for (source, language), total in sorted(totals.items())]


def write_fertility(rows: Sequence[FertilityRow], path: Path) -> None:
    """Write ``fertility.parquet``."""
    ratios = ("bytes_per_token", "characters_per_token", "tokens_per_word")
    records = [asdict(row) | {name: getattr(row, name) for name in ratios} for row in rows]
    pq.write_table(pa.Table.from_pylist(records, schema=FERTILITY), path, compression="zstd")
