"""Token files of others as a folder of our shards."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from assets.token_shards.errors import TokenShardError
from assets.token_shards.layouts.blocks import DocumentBlock
from assets.token_shards.layouts.registry import LAYOUTS, Layout
from assets.token_shards.layouts.text_sizes import TextSizes
from assets.token_shards.layouts.whole_folder import whole_folder
from assets.token_shards.settings import TokenShardSettings
from assets.token_shards.split import for_validation
from assets.vocabulary.tokenizer import Vocabulary, open_vocabulary
from training.artifact import file_sha256
from training.shards import DESCRIPTION, SPLITS, ShardCounts, ShardWriter, open_shards

_ID_BYTES = 16


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
        TokenShardError: If ``out`` is not empty, a file is missing or damaged or of another vocabulary, or there is
            no document for a split.
        ShardError: If an id is not in the vocabulary.
    """
    opened, form = open_vocabulary(vocabulary), LAYOUTS[layout]
    sizes = TextSizes(opened)
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
                    _add(writer, block, _doc_ids(block, content, number), sizes, settings, opened, file)
                    number += block.lengths.size
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


def _doc_ids(block: DocumentBlock, content: str, first: int) -> list[str]:
    if block.doc_ids is not None:
        return list(block.doc_ids)
    return [
        hashlib.blake2b(f"{content}/{number}".encode(), digest_size=_ID_BYTES).hexdigest()
        for number in range(first, first + block.lengths.size)
    ]


def _add(
    writer: ShardWriter,
    block: DocumentBlock,
    doc_ids: Sequence[str],
    sizes: TextSizes,
    settings: TokenShardSettings,
    vocabulary: Vocabulary,
    file: Path,
) -> None:
    ids = np.asarray(block.ids, dtype=np.int64)
    if ids.size and not 0 <= int(ids.min()) <= int(ids.max()) < vocabulary.size:
        wrong = int(ids.max()) if int(ids.max()) >= vocabulary.size else int(ids.min())
        raise TokenShardError(
            f"{file} holds the token id {wrong}, but the vocabulary has {vocabulary.size} entries; name its own"
        )
    if (ids == vocabulary.end_of_document).any():
        raise TokenShardError(f"{file} holds the end-of-document id {vocabulary.end_of_document} within a document")
    names = pa.array(doc_ids, pa.string())
    hashed = pa.array([hashlib.blake2b(name.encode(), digest_size=16).hexdigest() for name in doc_ids], pa.string())
    chosen = for_validation(hashed, validation_share=settings.validation_share, seed=settings.seed)
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
