"""Encodes a dump's clean documents into token shards (``training.shards``, docs/shard-format.md)."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import SimpleQueue

import pyarrow as pa
import pyarrow.parquet as pq

from assets.clean_text.process_pool import available_cores, map_in_order
from assets.clean_text.progress import SECONDS_BETWEEN, Progress, at_most_every
from assets.clean_text.row_groups import row_groups
from assets.clean_text.thread_pool import map_in_threads
from assets.token_shards.errors import TokenShardError
from assets.token_shards.parts import read_part
from assets.token_shards.row_group_encoding import SIGNATURES_FILE, DumpEncoding, EncodingTask, finish_part
from assets.token_shards.settings import TokenShardSettings
from assets.vocabulary.encoders import Encoder
from assets.vocabulary.encoders.choice import choose_encoder
from assets.vocabulary.encoders.compiled import CompiledEncoder
from assets.vocabulary.tokenizer import open_vocabulary
from training.shards import SPLITS, ShardCounts, ShardWriter

_INLINE_BYTES = 16 << 20


@dataclass(frozen=True)
class TokenShardReport:
    """What was written.

    Attributes:
        shards: Documents, tokens and bytes by split.
        left_out: Documents whose text encodes to nothing, such as white space in a vocabulary of words.
        encoder: Which encoder was used and why, for people.
    """

    shards: ShardCounts
    left_out: int
    encoder: str

    @property
    def counts(self) -> dict[str, int]:
        """The numbers for a manifest: documents, tokens and bytes of text, of training and validation."""
        return {
            f"{split}_{what}": getattr(self.shards, what)[split]
            for split in SPLITS
            for what in ("documents", "tokens", "bytes")
        } | {"left_out": self.left_out}


def encode_dump(
    documents: Path,
    vocabulary: Path,
    *,
    dump: str,
    language: str,
    source: str,
    settings: TokenShardSettings,
    out: Path,
    parts: Path | None = None,
    proofs: Path | None = None,
    progress: Progress | None = None,
) -> TokenShardReport:
    """Encode all documents of a dump, in their order. Memory: a row group a worker, and the writer's buffers.

    Args:
        documents: Folder of ``documents-*.parquet`` and ``signatures.parquet``, as clean_text writes them.
        vocabulary: Folder of the ``tokenizer.json``.
        dump: Its name.
        language: Language code of the dump.
        source: The documents' source.
        settings: Split, size of files, workers.
        out: Empty folder. Its bytes depend on the documents, their order, the vocabulary and the settings alone: not on
            row groups, processes or runs that were killed before.
        parts: Folder in which encoded row groups are kept and looked for, see ``parts.py``. Whoever calls removes it
            with ``remove_parts`` when ``out`` is safe. By default a temporary one beside ``out``: nothing outlives a
            run that is killed. About the size of the shards.
        proofs: Folder in which is kept which encoder was proved for the vocabulary, see ``choose_encoder``.
        progress: Called every few seconds and at the end.

    Raises:
        TokenShardError: If the signatures are missing or those of other documents, or nothing is left to learn from.
        CleanTextError: If documents cannot be read, or where processes are needed one died twice over a row group.
        VocabularyError: If the vocabulary cannot be opened.
    """
    opened = open_vocabulary(vocabulary)
    tasks = list(_tasks(documents.absolute()))
    trusted = choose_encoder(vocabulary, opened, [task.group for task in tasks], proofs=proofs)
    total = sum(task.group.bytes for task in tasks)
    workers = settings.workers or (1 if total < _INLINE_BYTES else available_cores())
    workers = max(1, min(workers, len(tasks)))
    encoding = DumpEncoding(
        vocabulary=vocabulary.absolute(),
        vocabulary_hash=opened.sha256,
        vocabulary_size=opened.size,
        encoder=trusted.encoder.name,
        validation_share=settings.validation_share,
        seed=settings.seed,
    )
    report = at_most_every(SECONDS_BETWEEN, progress or (lambda done, total, documents: None))
    left_out = done = rows = 0
    with ExitStack() as stack:
        if parts is None:
            temporary = tempfile.TemporaryDirectory(prefix=".parts-", dir=out.absolute().parent)
            parts = Path(stack.enter_context(temporary))
        finish = partial(finish_part, encoding=encoding, parts=parts.absolute())
        writer = stack.enter_context(
            ShardWriter(
                out,
                vocabulary_hash=opened.sha256,
                vocabulary_size=opened.size,
                end_of_document=opened.end_of_document,
                language=language,
                source=source,
                dump=dump,
                shard_tokens=settings.shard_tokens,
            )
        )
        report(0, total, 0)
        paths = _finished(finish, tasks, encoder=trusted.encoder, workers=workers)
        for task, path in zip(tasks, paths, strict=True):
            try:
                part = read_part(path)
            except FileNotFoundError:
                # Another run of the same dump was complete first and has removed its parts.
                part = read_part(finish(task))
            for split, encoded in zip(SPLITS, (part.train, part.validation), strict=True):
                writer.add_documents(split, encoded.doc_ids, encoded.ids, encoded.lengths, encoded.bytes)
            left_out += part.left_out
            done += task.group.bytes
            rows += task.group.rows
            report(done, total, rows)
        counts = writer.close()
    written = sum(counts.documents.values())
    if not counts.documents["train"]:
        raise TokenShardError(
            f"dump '{dump}' has no document to learn from: of {written} documents, 'validation_share' = "
            f"{settings.validation_share} chose {counts.documents['validation']} for validation; add documents, "
            "split its files into smaller ones ('documents' in the catalogue), change the share or the 'seed'"
        )
    if written + left_out != rows:
        raise TokenShardError(f"dump '{dump}': of {rows} documents, {written} were written and {left_out} left out")
    return TokenShardReport(counts, left_out, trusted.note)


def _finished(
    finish: Callable[..., Path], tasks: list[EncodingTask], *, encoder: Encoder, workers: int
) -> Iterator[Path]:
    """The parts of all tasks in their order: by threads where the encoder is compiled code, else by processes."""
    if workers == 1:
        return map(partial(finish, encoder=encoder), tasks)
    if not isinstance(encoder, CompiledEncoder):
        return map_in_order(finish, tasks, workers=workers, ahead=len(tasks), name=str)
    free: SimpleQueue[Encoder] = SimpleQueue()
    for number in range(workers):
        free.put(encoder.twin() if number else encoder)

    def finish_in_a_thread(task: EncodingTask) -> Path:
        taken = free.get()
        try:
            return finish(task, encoder=taken)
        finally:
            free.put(taken)

    return map_in_threads(finish_in_a_thread, tasks, workers=workers)


def _tasks(documents: Path) -> Iterator[EncodingTask]:
    path = documents / SIGNATURES_FILE
    try:
        signed = pq.read_metadata(path).num_rows
    except (OSError, pa.ArrowException) as error:
        raise TokenShardError(
            f"{path} is missing or cannot be read ({error}); run the stage clean_text again"
        ) from None
    rows = 0
    for group in row_groups(documents):
        yield EncodingTask(group, rows)
        rows += group.rows
    if rows != signed:
        raise TokenShardError(f"{path} has {signed} rows for {rows} documents; run the stage clean_text again")
