"""Trains a vocabulary on a deterministic sample of clean text.

Written to the output folder: ``tokenizer.json`` and ``tokenizer_config.json``, which tokenizers and transformers open.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from assets.vocabulary.byte_bpe import count_text, train_byte_bpe
from assets.vocabulary.errors import VocabularyError
from assets.vocabulary.imports import import_vocabulary
from assets.vocabulary.kinds import byte_tokenizer, finished, smallest_size, untrained
from assets.vocabulary.sampling import measure, sample
from assets.vocabulary.settings import VocabularySettings
from assets.vocabulary.tokenizer import write_vocabulary
from assets.vocabulary.unigram import train_unigram


@dataclass(frozen=True)
class VocabularyReport:
    """A trained vocabulary.

    Attributes:
        size: Entries.
        documents: Documents of the sample.
        sampled: UTF-8 bytes of the sample by dump.
        forgotten: byte_bpe: by how much the count of a piece may be too small; see ``piece_counts``.
    """

    size: int
    documents: int
    sampled: dict[str, int]
    forgotten: int = 0

    @property
    def counts(self) -> dict[str, int]:
        """The numbers for a manifest."""
        return {
            "size": self.size,
            "documents": self.documents,
            "sample_bytes": sum(self.sampled.values()),
            "forgotten_occurrences": self.forgotten,
        }


def train_vocabulary(
    documents: Mapping[str, Path], *, weights: Mapping[str, float], settings: VocabularySettings, out: Path
) -> VocabularyReport:
    """Train on the dumps' clean documents; see the module's description.

    Memory is bounded by a batch of documents and the different pieces of text that are counted.

    Args:
        documents: Folder of ``documents-*.parquet`` by dump.
        weights: Share of the sample by dump; a dump smaller than its share is taken whole.
        settings: Kind and size.
        out: Empty folder.

    Raises:
        VocabularyError: If there is no text, or it supports fewer entries than asked for.
    """
    smallest = smallest_size(settings)
    if settings.kind != "imported" and settings.size < smallest:
        raise VocabularyError(f"'size' = {settings.size}: a vocabulary of kind {settings.kind} has at least {smallest}")
    sizes = {dump: measure(folder) for dump, folder in documents.items()}
    limits = {dump: int(settings.sample_bytes * weights[dump] / sum(weights.values())) for dump in documents}
    taken = dict.fromkeys(sizes, 0)
    taken_documents = 0
    forgotten = 0

    def texts() -> Iterator[str]:
        nonlocal taken_documents
        for dump, size in sizes.items():
            for document in sample(size, limits[dump]):
                taken_documents += 1
                taken[dump] += len(document.text.encode())
                yield document.text

    if settings.kind == "imported":
        tokenizer = import_vocabulary(settings, texts())
    elif settings.kind == "byte":
        tokenizer = byte_tokenizer(settings)
        deque(texts(), maxlen=0)
    elif settings.kind == "byte_bpe":
        pieces = count_text(texts(), settings)
        forgotten = pieces.forgotten
        tokenizer = train_byte_bpe(pieces, settings)
    elif settings.kind == "unigram":
        tokenizer = train_unigram(texts(), settings)
    else:
        tokenizer, trainer = untrained(settings)
        tokenizer.train_from_iterator(texts(), trainer)
    if not taken_documents:
        raise VocabularyError(
            f"there is no text to train a vocabulary on in {', '.join(documents)}; the ledger of clean_text says why"
        )
    size = tokenizer.get_vocab_size()
    if settings.kind == "byte_bpe" and size < settings.size:
        raise VocabularyError(
            f"'size' = {settings.size} is more than the text supports: its {sum(taken.values()):,} bytes have {size} "
            f"entries with 'minimum_frequency' = {settings.minimum_frequency}; lower 'size' to {size} or add text"
        )
    if settings.kind != "imported":
        tokenizer = finished(tokenizer, settings)
    write_vocabulary(tokenizer, settings, out)
    return VocabularyReport(tokenizer.get_vocab_size(), taken_documents, dict(taken), forgotten)
