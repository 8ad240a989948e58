"""Writing token shards."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from training.artifact import file_sha256
from training.shards.format import (
    DESCRIPTION,
    FORMAT,
    INDEX,
    SHARD_HASH,
    SPLITS,
    Ids,
    ShardCounts,
    ShardError,
    ShardFile,
    SplitName,
    token_dtype,
)

_ROWS_PER_GROUP = 65_536
_MASK_BLOCK = 1 << 20

Mask = npt.NDArray[np.bool_]


class ShardWriter:
    """Writes a folder of shards in one pass; memory holds one row group of the index a split, and what is being added.

    The bytes depend on the documents and their order alone, not on how many are added at a time. Use as a context
    manager: leaving it normally finishes the folder, leaving it by an error does not.
    """

    def __init__(
        self,
        folder: Path,
        *,
        vocabulary_hash: str,
        vocabulary_size: int,
        end_of_document: int,
        language: str,
        source: str,
        dump: str,
        shard_tokens: int = 1 << 27,
    ) -> None:
        """Start in an existing, empty folder.

        Args:
            folder: Where the files go.
            vocabulary_hash: SHA-256 of the ``tokenizer.json`` that made the ids, in hex.
            vocabulary_size: Ids lie below it.
            end_of_document: The id that closes a document.
            language: Language code of the dump, e.g. ``zh``.
            source: Name of the source.
            dump: Name of the dump.
            shard_tokens: A file is closed before it would exceed this; a longer document gets a file of its own.

        Raises:
            ShardError: If the end-of-document id is not in the vocabulary, or ``shard_tokens`` is not positive.
        """
        if not 0 <= end_of_document < vocabulary_size:
            raise ShardError(f"end of document {end_of_document} is not an id below {vocabulary_size}")
        if shard_tokens < 1:
            raise ShardError(f"shard_tokens = {shard_tokens}: a shard holds at least one token")
        self._folder = folder
        self._vocabulary_size = vocabulary_size
        self._end = end_of_document
        self._shard_tokens = shard_tokens
        self._dtype = token_dtype(vocabulary_size)
        self._description = {
            "format": FORMAT,
            "vocabulary_hash": vocabulary_hash,
            "vocabulary_size": vocabulary_size,
            "dtype": self._dtype.name,
            "end_of_document": end_of_document,
            "language": language,
            "source": source,
            "dump": dump,
        }
        self._open: dict[SplitName, _ShardFileWriter] = {}
        self._finished: dict[SplitName, list[ShardFile]] = {split: [] for split in SPLITS}

    def add(self, split: SplitName, doc_id: str, ids: Sequence[int] | npt.NDArray[np.integer[Any]], bytes: int) -> None:
        """Append one document; see ``add_documents``."""
        tokens = np.asarray(ids, dtype=np.int64)
        self.add_documents(split, pa.array([doc_id], pa.string()), tokens, np.array([tokens.size]), np.array([bytes]))

    def add_documents(
        self,
        split: SplitName,
        doc_ids: pa.StringArray,
        ids: npt.NDArray[np.integer[Any]],
        lengths: Ids,
        bytes: Ids,
        loss_mask: Mask | None = None,
    ) -> None:
        """Append documents; the end-of-document ids are added here.

        Args:
            split: Where they belong.
            doc_ids: Their identifiers, [documents].
            ids: Token ids of all their texts, one after the other, [tokens].
            lengths: Ids of each document, int64 [documents]; they add up to [tokens].
            bytes: UTF-8 bytes of each document's text, int64 [documents].
            loss_mask: Which ids are to be learned, bool [tokens]; all of them by default. An end-of-document id is to
                be learned where the last id of its document is.

        Raises:
            ShardError: If an id is not below the vocabulary size or is the end-of-document id, a document has no id,
                or the arrays do not fit together.
        """
        self._check(doc_ids, ids, lengths, bytes, loss_mask)
        starts = np.concatenate([[0], np.cumsum(lengths + 1, dtype=np.int64)])
        tokens = _closed(ids, starts, self._dtype.type(self._end), self._dtype)
        mask = None
        if loss_mask is not None:
            mask = _closed(loss_mask, starts, False, np.dtype(np.bool_))
            mask[starts[1:] - 1] = mask[starts[1:] - 2]
        begin = 0
        while begin < len(lengths):
            shard = self._open.get(split)
            room = self._shard_tokens - (shard.tokens if shard is not None else 0)
            end = max(begin, int(np.searchsorted(starts, starts[begin] + room, side="right")) - 1)
            if shard is None:
                name = f"{split}-{len(self._finished[split]):05d}.bin"
                shard = self._open[split] = _ShardFileWriter(self._folder / name, self._dtype)
                end = max(end, begin + 1)
            if end > begin:
                inside = slice(starts[begin], starts[end])
                shard.add(
                    doc_ids[begin:end],
                    tokens[inside],
                    starts[begin : end + 1] - starts[begin],
                    bytes[begin:end],
                    None if mask is None else mask[inside],
                )
            if end < len(lengths):
                self._finished[split].append(self._open.pop(split).close())
            begin = end

    def close(self) -> ShardCounts:
        """Finish the open files and write ``shards.json``; only now is the folder complete."""
        for split, shard in self._open.items():
            self._finished[split].append(shard.close())
        self._open = {}
        splits = {split: {"files": [_entry(file) for file in files]} for split, files in self._finished.items()}
        text = json.dumps(self._description | {"splits": splits}, indent=1, sort_keys=True, ensure_ascii=False)
        (self._folder / DESCRIPTION).write_text(text + "\n", encoding="utf-8")
        return ShardCounts(
            documents={split: sum(file.documents for file in files) for split, files in self._finished.items()},
            tokens={split: sum(file.tokens for file in files) for split, files in self._finished.items()},
            bytes={split: sum(file.bytes for file in files) for split, files in self._finished.items()},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            if self._open or not (self._folder / DESCRIPTION).exists():
                self.close()
        else:
            for shard in self._open.values():
                shard.abandon()

    def _check(
        self,
        doc_ids: pa.StringArray,
        ids: npt.NDArray[np.integer[Any]],
        lengths: Ids,
        bytes: Ids,
        loss_mask: Mask | None,
    ) -> None:
        if not len(doc_ids) == len(lengths) == len(bytes) or ids.size != lengths.sum():
            raise ShardError(
                f"{len(doc_ids)} documents, {len(lengths)} lengths with a sum of {lengths.sum()}, {len(bytes)} sizes "
                f"and {ids.size} ids do not fit together"
            )
        if loss_mask is not None and loss_mask.shape != ids.shape:
            raise ShardError(f"a loss mask of shape {loss_mask.shape} does not fit ids of shape {ids.shape}")
        if not len(lengths):
            return
        if int(lengths.min()) < 1:
            empty = doc_ids[int(np.argmax(lengths < 1))].as_py()
            raise ShardError(f"document {empty} has no token; leave it out")

        def holder(wrong: npt.NDArray[np.bool_]) -> tuple[int, Any]:
            place = int(np.argmax(wrong))
            return int(ids[place]), doc_ids[int(np.searchsorted(np.cumsum(lengths), place, side="right"))].as_py()

        if int(ids.min()) < 0 or int(ids.max()) >= self._vocabulary_size:
            token, doc_id = holder((ids < 0) | (ids >= self._vocabulary_size))
            raise ShardError(
                f"document {doc_id}: token id {token} is outside the vocabulary of {self._vocabulary_size} entries; "
                "encode with the vocabulary that the shards name"
            )
        within = ids == self._end
        if within.any():
            raise ShardError(
                f"document {holder(within)[1]} holds the end-of-document id {self._end} within its text; "
                "encode special tokens as ordinary text"
            )


def _closed(values: npt.NDArray[Any], starts: Ids, end: Any, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """The values with ``end`` behind each document."""
    ends = starts[1:] - 1
    inside = np.ones(int(starts[-1]), dtype=np.bool_)
    inside[ends] = False
    closed = np.empty(inside.size, dtype=dtype)
    closed[inside] = values
    closed[ends] = end
    return closed


def _entry(file: ShardFile) -> dict[str, Any]:
    return {name: value for name, value in asdict(file).items() if value is not None}


class _ShardFileWriter:
    """One ``.bin`` and its index. The index names the hash of the ``.bin``, so that neither can be exchanged alone."""

    def __init__(self, path: Path, dtype: np.dtype[Any]) -> None:
        self.tokens = 0
        self._shard = ShardFile(path.name, 0, 0, 0, "")
        self._folder = path.parent
        self._file = path.open("wb")
        self._hash = hashlib.sha256()
        self._mask: _MaskWriter | None = None
        self._rows: list[pa.Table] = []
        self._waiting = 0
        self._documents = 0
        self._bytes = 0
        # No two documents have the same id: a dictionary of them would be of no use.
        self._index = pq.ParquetWriter(
            self._folder / self._shard.index_name, INDEX, compression="zstd", use_dictionary=False
        )

    def add(
        self, doc_ids: pa.StringArray, tokens: npt.NDArray[Any], starts: Ids, bytes: Ids, mask: Mask | None
    ) -> None:
        numbers = (pa.array(column, pa.int64()) for column in (self.tokens + starts[:-1], np.diff(starts), bytes))
        self._rows.append(pa.Table.from_arrays([doc_ids.cast(pa.string()), *numbers], schema=INDEX))
        self._waiting += len(doc_ids)
        while self._waiting >= _ROWS_PER_GROUP:
            self._write_rows()
        data = tokens.data
        self._hash.update(data)
        self._file.write(data)
        if self._mask is None and mask is not None and not mask.all():
            self._mask = _MaskWriter(self._folder / self._shard.mask_name, self.tokens)
        if self._mask is not None:
            self._mask.add(np.ones(tokens.size, dtype=np.bool_) if mask is None else mask)
        self.tokens += tokens.size
        self._documents += len(doc_ids)
        self._bytes += int(bytes.sum())

    def close(self) -> ShardFile:
        if self._waiting:
            self._write_rows()
        self._file.close()
        digest = self._hash.hexdigest()
        self._index.add_key_value_metadata({SHARD_HASH: digest})
        self._index.close()
        index = file_sha256(self._folder / self._shard.index_name)
        mask = self._mask.close() if self._mask is not None else None
        return ShardFile(self._shard.name, self.tokens, self._documents, self._bytes, digest, mask, index)

    def abandon(self) -> None:
        self._file.close()
        self._index.close()
        if self._mask is not None:
            self._mask.close()

    def _write_rows(self) -> None:
        table = pa.concat_tables(self._rows)
        self._index.write_table(table.slice(0, _ROWS_PER_GROUP).combine_chunks())
        self._rows = [table.slice(_ROWS_PER_GROUP)]
        self._waiting = self._rows[0].num_rows


class _MaskWriter:
    """The loss mask of a file: a bit a token, the lowest bit of a byte first; only where a token is not learned."""

    def __init__(self, path: Path, tokens: int) -> None:
        """Begin with ``tokens`` that are to be learned."""
        self._file = path.open("wb")
        self._hash = hashlib.sha256()
        self._left = np.ones(tokens % 8, dtype=np.bool_)
        for begin in range(0, tokens // 8, _MASK_BLOCK):
            self._write(b"\xff" * min(_MASK_BLOCK, tokens // 8 - begin))

    def add(self, mask: Mask) -> None:
        bits = np.concatenate([self._left, mask])
        whole = bits.size // 8 * 8
        self._write(np.packbits(bits[:whole], bitorder="little").data)
        self._left = bits[whole:]

    def close(self) -> str:
        """SHA-256 of the file in hex."""
        self._write(np.packbits(self._left, bitorder="little").data)
        self._file.close()
        return self._hash.hexdigest()

    def _write(self, data: bytes | memoryview) -> None:
        self._hash.update(data)
        self._file.write(data)
