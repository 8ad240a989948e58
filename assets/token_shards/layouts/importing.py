"""Token files of others as a folder of our shards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from assets.token_shards.errors import TokenShardError
from assets.token_shards.layouts.blocks import DocumentBlock
from assets.token_shards.layouts.document_ids import TakenIds, hashed, numbered_ids
from assets.token_shards.layouts.registry import LAYOUTS, Layout
from assets.token_shards.layouts.text_sizes import TextSizes
from assets.token_shards.layouts.whole_folder import whole_folder
from assets.token_shards.settings import TokenShardSettings
from assets.token_shards.split import for_validation
from assets.vocabulary.tokenizer import Vocabulary, open_vocabulary
from training.artifact import file_sha256
from training.shards import DESCRIPTION, SPLITS, ShardCounts, ShardWriter, open_shards


def import_tokens(
    files: Sequence[Path],
    *,
    layout: str,
    vocabulary: Path,
    dump: str,
    source: str,
    language: str,
    settings: TokenShardSettings,
    out: Path,
) -> ShardCounts:
    """Write the documents of token files as shards, and verify them. After an error ``out`` is as it was before.

    A document without an identifier gets the hash of the content of the file with its ids and its number in it.

    Args:
        files: One after the other.
        layout: One of ``LAYOUTS``.
        vocabulary: Folder of the ``tokenizer.json`` that made the ids.
        dump, source, language: What the shards say they are.
        settings: Split and size of files.
        out: A folder that is not there yet, or is empty.

    Raises:
        TokenShardError: If ``out`` is not empty, a file is missing or damaged or of another vocabulary, two
            documents have one identifier, or there is no document for a split.
        ShardError: If an id is not in the vocabulary.
    """
    opened, form = open_vocabulary(vocabulary), LAYOUTS[layout]
    sizes, taken = TextSizes(opened), TakenIds()
    with whole_folder(out, last=DESCRIPTION) as folder:
        with ShardWriter(
            folder,
            vocabulary_hash=opened.sha256,
            vocabulary_size=opened.size,
            end_of_document=opened.end_of_document,
            language=language,
            source=source,
            dump=dump,
            shard_tokens=settings.shard_tokens,
        ) as writer:
            for file in files:
                _check(file, form, opened)
                content, number = file_sha256(form.tokens_file(file)), 0
                for block in form.read(file, end_of_document=opened.end_of_document, vocabulary_size=opened.size):
                    count = block.lengths.size
                    doc_ids = block.doc_ids or numbered_ids(content, number, count)
                    taken.add(file, number, doc_ids)
                    _add(writer, block, doc_ids, sizes, settings, opened, file)
                    number += count
            taken.refuse_repeated()
            counts = writer.close()
        for split in SPLITS:
            if not counts.documents[split]:
                raise TokenShardError(
                    f"no document went to {split}; give more documents, another share or another seed"
                )
        for split in SPLITS:
            open_shards(folder).split(split).verify()
    return counts


def _check(file: Path, layout: Layout, vocabulary: Vocabulary) -> None:
    for needed in (file, layout.tokens_file(file)):
        if not needed.is_file():
            raise TokenShardError(f"there is no file {needed}")
    named = layout.named_vocabulary(file)
    if named is not None and named != vocabulary.sha256:
        raise TokenShardError(f"{file} was made with vocabulary {named[:12]}, not {vocabulary.sha256[:12]}")


def _add(
    writer: ShardWriter,
    block: DocumentBlock,
    doc_ids: Sequence[str],
    sizes: TextSizes,
    settings: TokenShardSettings,
    vocabulary: Vocabulary,
    file: Path,
) -> None:
    lowest, highest = (int(block.ids.min()), int(block.ids.max())) if block.ids.size else (0, 0)
    if not 0 <= lowest <= highest < vocabulary.size:
        wrong = highest if highest >= vocabulary.size else lowest
        raise TokenShardError(
            f"{file} holds the token id {wrong}, but the vocabulary has {vocabulary.size} entries; name its own"
        )
    ids = np.asarray(block.ids, dtype=np.int64)
    if (ids == vocabulary.end_of_document).any():
        raise TokenShardError(f"{file} holds the end-of-document id {vocabulary.end_of_document} within a document")
    names = pa.array(doc_ids, pa.string())
    signatures = pa.array([hashed(name) for name in doc_ids], pa.string())
    chosen = for_validation(signatures, validation_share=settings.validation_share, seed=settings.seed)
    bytes_ = sizes(ids, block.lengths)
    for split, wanted in (("train", ~chosen), ("validation", chosen)):
        if wanted.any():
            of_split = np.repeat(wanted, block.lengths)
            writer.add_documents(
                split,  # type: ignore[arg-type]
                names.filter(pa.array(wanted)),
                ids[of_split],
                lengths=block.lengths[wanted],
                bytes=bytes_[wanted],
            )
