"""From raw documents to those that pass the rules, with a decision on every one.

Written into the output folder:

- ``documents-*.parquet``: normalised documents that pass, schema ``DOCUMENTS``
- ``signals-00000.parquet``: doc_id and a column a signal, a row for each input document that could be read
- ``decisions.parquet``: schema ``DECISIONS``, a row for each input document: first those that could be read, in their
  order, then the rows skipped at reading with the rule ``unreadable``
- ``signatures.parquet``: schema ``SIGNATURES``, a row for each document that passes, in the documents' order
- ``minhash.parquet``: signatures for near-duplicates, likewise
- ``contamination.parquet``: schema ``CONTAMINATION``, what documents have in common with evaluation sets
- ``lines.parquet``, ``paragraphs.parquet``, ``windows.parquet``: hashes of repeated text, where the settings ask for them
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from assets.clean_text.cleaning import DECISIONS, CleanedBatch, cleaner
from assets.clean_text.decontamination import CONTAMINATION
from assets.clean_text.near_duplicates.minhash import minhash_schema
from assets.clean_text.process_pool import available_cores, map_in_order
from assets.clean_text.repeated_text.stored_hashes import HashWriter, join_hashes
from assets.clean_text.rules import UNREADABLE
from assets.clean_text.settings import FilterSettings
from assets.clean_text.signals import signals_schema
from assets.clean_text.signatures import SIGNATURES
from assets.clean_text.tables import TableWriter, document_files
from assets.raw_text.documents import DocumentWriter

_BATCH_BYTES = 8 << 20
_BATCH_ROWS = 1 << 16
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


@dataclass(frozen=True)
class _RowGroup:
    path: str
    index: int


def filter_documents(
    documents: Path,
    out: Path,
    *,
    dump: str,
    settings: FilterSettings,
    source: str = "",
    workers: int | None = None,
) -> FilterReport:
    """Normalise, measure and judge the documents of a dump.

    Args:
        documents: Folder of the raw text stage: ``documents-*.parquet`` and, if rows were skipped, ``skipped.parquet``.
        out: Empty folder; see the module's description. Its bytes do not depend on ``workers``.
        dump: The dump's name.
        settings: Normalisation, edits, signals and rules.
        source: The dump's source, for rows that could not be read; the dump's name by default.
        workers: Processes; by default one a core, and none but this one for a small dump.

    Raises:
        CleanTextError: If the folder has no documents file, or a worker process died.
    """
    source = source or dump
    chosen = settings.model_dump_json()
    prepared = cleaner(chosen)
    files = [pq.ParquetFile(path) for path in document_files(documents)]
    row_groups = [
        _RowGroup(str(path), index)
        for path, file in zip(document_files(documents), files, strict=True)
        for index in range(file.num_row_groups)
    ]
    if workers is None:
        size = sum(
            file.metadata.row_group(index).total_byte_size for file in files for index in range(file.num_row_groups)
        )
        workers = 1 if size < _INLINE_BYTES else available_cores()
    workers = max(1, min(workers, len(row_groups)))
    dropped: Counter[str] = Counter()
    changed = raw_bytes = kept_bytes = 0
    with (
        DocumentWriter(out) as kept_writer,
        TableWriter(out / "signals-00000.parquet", signals_schema(prepared.signals)) as signal_writer,
        TableWriter(out / "decisions.parquet", DECISIONS) as decision_writer,
        TableWriter(out / "signatures.parquet", SIGNATURES) as signature_writer,
        TableWriter(out / "minhash.parquet", minhash_schema(settings.near_duplicates)) as minhash_writer,
        TableWriter(out / "contamination.parquet", CONTAMINATION) as contamination_writer,
        HashWriter(out, settings=settings.repeated_text) as hash_writer,
    ):
        for part in map_in_order(partial(_filter_row_group, settings=chosen), row_groups, workers=workers):
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
        for unreadable in _unreadable(documents / "skipped.parquet", dump, source):
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


def _filter_row_group(row_group: _RowGroup, *, settings: str) -> CleanedBatch:
    table = pq.ParquetFile(row_group.path).read_row_group(row_group.index)
    parts = [cleaner(settings).clean(batch) for batch in _batches(table)]
    tables = ("documents", "signals", "decisions", "signatures", "minhash", "contamination")
    return CleanedBatch(
        **{name: pa.concat_tables([getattr(part, name) for part in parts]) for name in tables},
        hashes=join_hashes([part.hashes for part in parts]),
        changed=sum(part.changed for part in parts),
    )


def _batches(table: pa.Table) -> Iterator[pa.Table]:
    """Consecutive rows with ``_BATCH_BYTES`` of text, or a single longer text; at least one table."""
    ends = np.cumsum(pc.binary_length(table["text"]).to_numpy())
    begin = 0
    while begin < table.num_rows or not begin:
        before = ends[begin - 1] if begin else 0
        fitting = int(np.searchsorted(ends, before + _BATCH_BYTES, side="right"))
        end = min(max(fitting, begin + 1), begin + _BATCH_ROWS)
        yield table.slice(begin, end - begin).combine_chunks()
        begin = end


def _unreadable(path: Path, dump: str, source: str) -> Iterator[pa.Table]:
    """Decisions on the rows that were skipped at reading, identified by the hash of the place they stand at."""
    if not path.exists():
        return
    for batch in pq.ParquetFile(path).iter_batches():
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
