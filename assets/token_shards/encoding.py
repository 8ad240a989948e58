"""Encodes a dump's clean documents into token shards (``training.shards``, docs/shard-format.md)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from assets.clean_text.arrays import single_array, strings
from assets.clean_text.signatures import signatures
from assets.token_shards.errors import TokenShardError
from assets.token_shards.settings import TokenShardSettings
from assets.token_shards.split import split_of
from assets.vocabulary.batches import document_batches
from assets.vocabulary.tokenizer import open_vocabulary
from training.shards import SPLITS, ShardCounts, ShardWriter


@dataclass(frozen=True)
class TokenShardReport:
    """What was written, by split."""

    shards: ShardCounts

    @property
    def counts(self) -> dict[str, int]:
        """The numbers for a manifest: documents, tokens and bytes of text, of training and validation."""
        return {
            f"{split}_{what}": getattr(self.shards, what)[split]
            for split in SPLITS
            for what in ("documents", "tokens", "bytes")
        }


def encode_dump(
    documents: Path,
    vocabulary: Path,
    *,
    dump: str,
    language: str,
    source: str,
    settings: TokenShardSettings,
    out: Path,
) -> TokenShardReport:
    """Encode all documents of a dump, in their order. Memory: one batch of documents and the writer's buffers.

    Args:
        documents: Folder of ``documents-*.parquet``.
        vocabulary: Folder of the ``tokenizer.json``.
        dump: Its name.
        language: Language code of the dump.
        source: The documents' source.
        settings: Split and size of files.
        out: Empty folder.

    Raises:
        TokenShardError: If training or validation would be empty.
        VocabularyError: If the vocabulary cannot be opened.
    """
    opened = open_vocabulary(vocabulary)
    with ShardWriter(
        out,
        vocabulary_hash=opened.sha256,
        vocabulary_size=opened.size,
        end_of_document=opened.end_of_document,
        language=language,
        source=source,
        dump=dump,
        shard_tokens=settings.shard_tokens,
    ) as writer:
        for batch in document_batches(documents, ["doc_id", "text"]):
            column = single_array(batch["text"])
            texts = strings(column)
            rows = zip(
                strings(single_array(batch["doc_id"])),
                texts,
                opened.encode_batch(texts),
                strings(signatures(column)),
                strict=True,
            )
            for doc_id, text, ids, signature in rows:
                split = split_of(signature, validation_share=settings.validation_share, seed=settings.seed)
                writer.add(split, doc_id, ids, len(text.encode()))
        counts = writer.close()
    for split in SPLITS:
        if not counts.documents[split]:
            total = sum(counts.documents.values())
            raise TokenShardError(
                f"dump '{dump}' has no {split} document: of {total} documents, 'validation_share' = "
                f"{settings.validation_share} chose {counts.documents['validation']} for validation; add documents, "
                "split its files into smaller ones ('documents' in the catalogue), change the share or the 'seed'"
            )
    return TokenShardReport(counts)
