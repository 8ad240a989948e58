"""What a worker process does: one row group of clean documents becomes one part of token ids."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from assets.clean_text.arrays import single_array
from assets.clean_text.kernels.buffers import utf8
from assets.clean_text.row_groups import RowGroup, unreadable
from assets.clean_text.signatures import SIGNATURES
from assets.token_shards.errors import TokenShardError
from assets.token_shards.parts import EncodedDocuments, EncodedPart, is_whole, write_part
from assets.token_shards.split import for_validation
from assets.vocabulary.encoders import Encoder
from assets.vocabulary.encoders.choice import open_encoder
from training.artifact import fingerprint
from training.shards import token_dtype

SIGNATURES_FILE = "signatures.parquet"
_FORMAT = 1
_BATCH_BYTES = 1 << 20


@dataclass(frozen=True)
class DumpEncoding:
    """How all row groups of a dump are encoded.

    Attributes:
        vocabulary: Folder of the ``tokenizer.json``.
        vocabulary_hash: Its SHA-256 in hex.
        vocabulary_size: Ids lie below it.
        encoder: Name of the encoder.
        validation_share, seed: Of the split.
    """

    vocabulary: Path
    vocabulary_hash: str
    vocabulary_size: int
    encoder: str
    validation_share: float
    seed: int


@dataclass(frozen=True)
class EncodingTask:
    """A row group.

    Attributes:
        group: The row group.
        first_row: Documents of the folder before it.
    """

    group: RowGroup
    first_row: int

    def __str__(self) -> str:
        return str(self.group)


def finish_part(task: EncodingTask, *, encoding: DumpEncoding, parts: Path, encoder: Encoder | None = None) -> Path:
    """Make sure that the part of a row group is there; its path.

    Args:
        task: The row group.
        encoding: How it is encoded.
        parts: Folder of the parts.
        encoder: The encoder, where this process has it at hand; else it is opened.

    Raises:
        CleanTextError: If the row group cannot be read.
        TokenShardError: If the signatures are not those of the documents.
    """
    signatures = _signatures(task)
    identity = [_FORMAT, encoding.vocabulary_hash, encoding.encoder, encoding.validation_share, encoding.seed]
    path = parts / f"{fingerprint([*identity, _content(task.group, signatures)])}.arrow"
    if not is_whole(path):
        table = task.group.read(["doc_id", "text"])
        if single_array(signatures["doc_id"]) != single_array(table["doc_id"]):
            raise TokenShardError(
                f"{_signatures_path(task)} names other documents than {task}; run the stage clean_text again"
            )
        validation = for_validation(
            single_array(signatures["signature"]), validation_share=encoding.validation_share, seed=encoding.seed
        )
        encoder = encoder or open_encoder(encoding.vocabulary, encoding.encoder)
        write_part(path, encode(table, validation, encoder, token_dtype(encoding.vocabulary_size)))
    return path


def encode(
    documents: pa.Table, validation: npt.NDArray[np.bool_], encoder: Encoder, dtype: np.dtype[Any]
) -> EncodedPart:
    """Encode documents.

    Args:
        documents: Columns doc_id and text.
        validation: Which go to validation, bool [documents].
        encoder: Encodes them.
        dtype: Of the ids that are kept.
    """
    doc_ids, texts = single_array(documents["doc_id"]), single_array(documents["text"])
    _, ends = utf8(texts)
    found, counts = [np.zeros(0, dtype=dtype)], [np.zeros(0, dtype=np.int64)]
    begin = 0
    while begin < len(texts):
        end = max(begin + 1, int(np.searchsorted(ends, ends[begin] + _BATCH_BYTES, side="right")) - 1)
        encoded = encoder.encode(texts.slice(begin, end - begin))
        found.append(encoded.ids.astype(dtype))
        counts.append(np.diff(encoded.offsets))
        begin = end
    ids, lengths, sizes = np.concatenate(found), np.concatenate(counts), np.diff(ends)
    by_token = np.repeat(validation, lengths)

    def chosen(rows: npt.NDArray[np.bool_], tokens: npt.NDArray[np.bool_]) -> EncodedDocuments:
        return EncodedDocuments(doc_ids.filter(pa.array(rows)), ids[tokens], lengths[rows], sizes[rows])

    return EncodedPart(
        train=chosen(~validation & (lengths > 0), ~by_token),
        validation=chosen(validation & (lengths > 0), by_token),
        left_out=int((lengths == 0).sum()),
    )


def _content(group: RowGroup, signatures: pa.Table) -> str:
    """Hash of a row group as it is stored, and of the signatures of its documents."""
    try:
        metadata = pq.read_metadata(group.path).row_group(group.index)
        columns = [metadata.column(number) for number in range(metadata.num_columns)]
        begins = [column.dictionary_page_offset or column.data_page_offset for column in columns]
        ends = [begin + column.total_compressed_size for begin, column in zip(begins, columns, strict=True)]
        with Path(group.path).open("rb") as file:
            file.seek(min(begins))
            state = hashlib.sha256(file.read(max(ends) - min(begins)))
    except (OSError, pa.ArrowException) as error:
        raise unreadable(str(group), error) from error
    for column in signatures.columns:
        data, offsets = utf8(single_array(column))
        state.update(data[offsets[0] : offsets[-1]].data)
    return state.hexdigest()


def _signatures(task: EncodingTask) -> pa.Table:
    """The rows of the signatures that belong to the row group; few row groups of that file are read."""
    path = _signatures_path(task)
    first, last = task.first_row, task.first_row + task.group.rows
    tables = [SIGNATURES.empty_table()]
    try:
        with pq.ParquetFile(path) as file:
            begin = 0
            for number in range(file.num_row_groups):
                rows = file.metadata.row_group(number).num_rows
                if begin < last and begin + rows > first:
                    table = file.read_row_group(number, columns=SIGNATURES.names)
                    tables.append(table.slice(max(0, first - begin), min(last, begin + rows) - max(first, begin)))
                begin += rows
        return pa.concat_tables(tables)
    except (OSError, pa.ArrowException, KeyError) as error:
        raise TokenShardError(f"{path} cannot be read ({error}); run the stage clean_text again") from error


def _signatures_path(task: EncodingTask) -> Path:
    return Path(task.group.path).with_name(SIGNATURES_FILE)
