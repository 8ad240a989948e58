"""From raw documents to those that pass the rules, with a decision on every one.

Written into the output folder:

- ``documents-*.parquet``: normalised documents that pass, schema ``DOCUMENTS``
- ``signals-00000.parquet``: doc_id and a column a signal, a row for each input document that could be read
- ``decisions.parquet``: schema ``DECISIONS``, a row for each input document: first those that could be read, in their
  order, then the rows skipped at reading with the rule ``unreadable``
- ``signatures.parquet``: schema ``SIGNATURES``, a row for each document that passes, in the documents' order
- ``minhash.parquet``: signatures for near-duplicates, likewise
- ``contamination.parquet``: schema ``CONTAMINATION``, what documents have in common with evaluation sets
- ``lines.parquet``, ``paragraphs.parquet``, ``windows.parquet``: hashes of repeated text, where settings ask for them
"""

from __future__ import annotations

import hashlib
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from assets.clean_text.cleaning import DECISIONS, CleanedBatch, cleaner
from assets.clean_text.decontamination import CONTAMINATION
from assets.clean_text.engines import map_row_groups
from assets.clean_text.errors import CleanTextError
from assets.clean_text.near_duplicates.minhash import minhash_schema
from assets.clean_text.parts import is_whole, part_name, parts_identity, read_part, write_part
from assets.clean_text.process_pool import available_cores
from assets.clean_text.progress import SECONDS_BETWEEN, Progress, at_most_every
from assets.clean_text.repeated_text.stored_hashes import HashWriter, join_hashes
from assets.clean_text.row_groups import BATCH_BYTES, RowGroup, batches, content_digest, row_groups
from assets.clean_text.rules import UNREADABLE
from assets.clean_text.settings import FilterSettings
from assets.clean_text.signals import signals_schema
from assets.clean_text.signatures import SIGNATURES
from assets.clean_text.tables import TableWriter
from assets.raw_text.documents import DocumentWriter
from training.artifact import remove_abandoned

_INLINE_BYTES = 16 << 20


@dataclass(frozen=True)
class FilterReport:
    """What ``filter_documents`` did.

    Attributes:
        documents: Input documents, with those skipped at reading.
        kept: Documents that pass.
        dropped: Documents by the rule that dropped them, the most frequent rule first.
        changed: Documents whose text is not, byte for byte, what was read.
        raw_bytes: UTF-8 bytes of all texts as read.
        kept_bytes: UTF-8 bytes of the texts that pass.
    """

    documents: int
    kept: int
    dropped: dict[str, int]
    changed: int
    raw_bytes: int
    kept_bytes: int


def filter_documents(
    documents: Path,
    out: Path,
    *,
    dump: str,
    settings: FilterSettings,
    source: str = "",
    workers: int | None = None,
    parts: Path | None = None,
    code_version: str = "",
    progress: Progress | None = None,
    batch_bytes: int = BATCH_BYTES,
) -> FilterReport:
    """Normalise, measure and judge the documents of a dump.

    Args:
        documents: Folder of the raw text stage: ``documents-*.parquet`` and, if rows were skipped, ``skipped.parquet``.
        out: Empty folder; see the module's description. Its bytes depend on the documents, their order and the settings
            alone: not on row groups, ``workers``, ``batch_bytes``, the engine or runs that were killed before.
        dump: The dump's name.
        settings: Normalisation, edits, signals and rules, and the engine.
        source: The dump's source, for rows that could not be read; the dump's name by default.
        workers: Processes; by default one a core, and none but this one for a small dump.
        parts: Folder in which finished row groups are kept and looked for, see ``parts.py``. Whoever calls removes it
            with ``remove_parts`` when ``out`` is safe. By default a temporary one beside ``out``: nothing outlives a
            run that is killed. About the size of the documents; on Ray, on storage that all its machines share.
        code_version: Of the stage; parts of another one are not used.
        progress: Called every few seconds and at the end.
        batch_bytes: Bytes of text that are cleaned at a time.

    Raises:
        CleanTextError: If the folder has no documents file or one that cannot be read, a worker process died twice over
            a row group, or Ray is asked for and not there.
    """
    groups = row_groups(documents.absolute())
    total = sum(group.bytes for group in groups)
    if workers is None:
        workers = 1 if total < _INLINE_BYTES else available_cores()
    workers = max(1, min(workers, len(groups)))
    report = at_most_every(SECONDS_BETWEEN, progress or (lambda done, total, documents: None))
    prepared = cleaner(_chosen(settings))
    dropped: Counter[str] = Counter()
    changed = raw_bytes = kept_bytes = done = 0
    with ExitStack() as stack:
        if parts is None:
            temporary = tempfile.TemporaryDirectory(prefix=".parts-", dir=out.absolute().parent)
            parts = Path(stack.enter_context(temporary))
        parts = parts.absolute()
        remove_abandoned(parts)
        finish = partial(
            _finish_row_group,
            settings=_chosen(settings),
            identity=parts_identity(settings, code_version=code_version),
            parts=str(parts),
            batch_bytes=batch_bytes,
        )
        kept_writer = stack.enter_context(DocumentWriter(out))
        signal_writer, decision_writer, signature_writer, minhash_writer, contamination_writer = (
            stack.enter_context(TableWriter(out / name, schema))
            for name, schema in (
                ("signals-00000.parquet", signals_schema(prepared.signals)),
                ("decisions.parquet", DECISIONS),
                ("signatures.parquet", SIGNATURES),
                ("minhash.parquet", minhash_schema(settings.near_duplicates)),
                ("contamination.parquet", CONTAMINATION),
            )
        )
        hash_writer = stack.enter_context(HashWriter(out, settings=settings.repeated_text))
        report(0, total, 0)
        names = map_row_groups(finish, groups, engine=settings.engine, workers=workers)
        for group, name in zip(groups, names, strict=True):
            try:
                part = read_part(parts / name)
            except CleanTextError:
                if settings.engine != "local":
                    raise
                # Another run of the same dump was complete first and has removed its parts.
                finish(group)
                part = read_part(parts / name)
            kept_writer.write(part.documents)
            signal_writer.write(part.signals)
            decision_writer.write(part.decisions)
            signature_writer.write(part.signatures)
            minhash_writer.write(part.minhash)
            contamination_writer.write(part.contamination)
            hash_writer.write(part.hashes)
            changed += part.changed
            raw_bytes += pc.sum(part.decisions["raw_bytes"], min_count=0).as_py()
            kept_bytes += pc.sum(part.decisions.filter(part.decisions["kept"])["clean_bytes"], min_count=0).as_py()
            dropped.update(filter(None, part.decisions["rule"].to_pylist()))
            done += group.bytes
            report(done, total, decision_writer.rows)
        for unreadable in _unreadable(documents / "skipped.parquet", dump, source or dump):
            decision_writer.write(unreadable)
            dropped[UNREADABLE] += unreadable.num_rows
    return FilterReport(
        documents=decision_writer.rows,
        kept=signature_writer.rows,
        dropped=dict(sorted(dropped.items(), key=lambda item: (-item[1], item[0]))),
        changed=changed,
        raw_bytes=raw_bytes,
        kept_bytes=kept_bytes,
    )


def _chosen(settings: FilterSettings) -> str:
    return settings.model_dump_json(exclude={"engine"})


def _finish_row_group(row_group: RowGroup, *, settings: str, identity: str, parts: str, batch_bytes: int) -> str:
    """Make sure that the part of a row group is there; its name."""
    table = row_group.read()
    name = part_name(identity, content_digest(table))
    if not is_whole(Path(parts) / name):
        write_part(Path(parts) / name, _clean(table, settings, batch_bytes))
    return name


def _clean(table: pa.Table, settings: str, batch_bytes: int) -> CleanedBatch:
    parts = [cleaner(settings).clean(batch) for batch in batches(table, batch_bytes=batch_bytes)]
    tables = ("documents", "signals", "decisions", "signatures", "minhash", "contamination")
    return CleanedBatch(
        **{name: pa.concat_tables([getattr(part, name) for part in parts]) for name in tables},
        hashes=join_hashes([part.hashes for part in parts]),
        changed=sum(part.changed for part in parts),
    )


def _unreadable(path: Path, dump: str, source: str) -> Iterator[pa.Table]:
    """Decisions on the rows that were skipped at reading, identified by the hash of the place they stand at."""
    if not path.exists():
        return
    for batch in pq.ParquetFile(path, pre_buffer=False).iter_batches():
        rows = batch.to_pylist()
        decisions = [
            {
                "doc_id": _place_id(dump, row["path"], row["line"], row["byte_start"]),
                "dump": dump,
                "source": source,
                "path": row["path"],
                "byte_start": row["byte_start"],
                "kept": False,
                "rule": UNREADABLE,
                "detail": row["reason"],
            }
            for row in rows
        ]
        yield pa.Table.from_pylist(decisions, schema=DECISIONS)


def _place_id(*place: str | int | None) -> str:
    return hashlib.blake2b("\0".join(map(str, (UNREADABLE, *place))).encode(), digest_size=16).hexdigest()
