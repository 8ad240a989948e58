"""What a worker process does: one row group of clean documents becomes one part of token ids."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from assets.clean_text.arrays import single_array, strings
from assets.clean_text.kernels.buffers import utf8
from assets.clean_text.row_groups import RowGroup, batches
from assets.clean_text.signatures import SIGNATURES
from assets.token_shards.errors import TokenShardError
from assets.token_shards.parts import EncodedDocuments, EncodedPart, is_whole, write_part
from assets.token_shards.split import for_validation
from assets.vocabulary.tokenizer import Vocabulary, open_vocabulary
from training.artifact import fingerprint
from training.shards import token_dtype

SIGNATURES_FILE = "signatures.parquet"
_FORMAT = 1


@dataclass(frozen=True)
class EncodingTask:
    """A row group and what is to become of it.

    Attributes:
        group: The row group.
        first_row: Documents of the folder before it.
        vocabulary: Folder of the ``tokenizer.json``.
        validation_share, seed: Of the split.
    """

    group: RowGroup
    first_row: int
    vocabulary: str
    validation_share: float
    seed: int

    def __str__(self) -> str:
        return str(self.group)


def finish_part(task: EncodingTask, *, parts: str) -> str:
    """Make sure that the part of a row group is there; its path.

    Raises:
        CleanTextError: If the row group cannot be read.
        TokenShardError: If the signatures are not those of the documents.
        VocabularyError: If the vocabulary cannot be opened.
    """
    table = task.group.read(["doc_id", "text"])
    signatures = _signatures(task)
    if single_array(signatures["doc_id"]) != single_array(table["doc_id"]):
        raise TokenShardError(
            f"{_signatures_path(task)} names other documents than {task}; run the stage clean_text again"
        )
    vocabulary = _opened(task.vocabulary)
    identity = [_FORMAT, vocabulary.sha256, task.validation_share, task.seed]
    path = Path(parts) / f"{fingerprint([*identity, _content(table, signatures)])}.arrow"
    if not is_whole(path):
        chosen = for_validation(
            single_array(signatures["signature"]), validation_share=task.validation_share, seed=task.seed
        )
        write_part(path, encode(table, chosen, vocabulary))
    return str(path)


def encode(documents: pa.Table, validation: npt.NDArray[np.bool_], vocabulary: Vocabulary) -> EncodedPart:
    """Encode documents.

    Args:
        documents: Columns doc_id and text.
        validation: Which go to validation, bool [documents].
        vocabulary: Encodes them.
    """
    dtype = token_dtype(vocabulary.size)
    found, counts = [], []
    for batch in batches(documents):
        ids, lengths = _encode_texts(vocabulary, single_array(batch["text"]))
        found.append(ids.astype(dtype))
        counts.append(lengths)
    ids, lengths = np.concatenate(found), np.concatenate(counts)
    sizes = np.diff(utf8(single_array(documents["text"]))[1])
    by_token = np.repeat(validation, lengths)
    doc_ids = single_array(documents["doc_id"])

    def chosen(rows: npt.NDArray[np.bool_], tokens: npt.NDArray[np.bool_]) -> EncodedDocuments:
        return EncodedDocuments(doc_ids.filter(pa.array(rows)), ids[tokens], lengths[rows], sizes[rows])

    return EncodedPart(
        train=chosen(~validation & (lengths > 0), ~by_token),
        validation=chosen(validation & (lengths > 0), by_token),
        left_out=int((lengths == 0).sum()),
    )


def _encode_texts(vocabulary: Vocabulary, texts: pa.StringArray) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    encoded = vocabulary.encode_batch(strings(texts))
    lengths = np.fromiter(map(len, encoded), dtype=np.int64, count=len(encoded))
    ids = np.fromiter((token for each in encoded for token in each), dtype=np.uint32, count=int(lengths.sum()))
    return ids, lengths


def _content(documents: pa.Table, signatures: pa.Table) -> str:
    """Hash of the columns' values; a text's end counts, how rows are stored does not."""
    state = hashlib.sha256()
    for column in (documents["doc_id"], documents["text"], signatures["signature"]):
        data, offsets = utf8(single_array(column))
        state.update(np.diff(offsets).data)
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


_opened: Callable[[str], Vocabulary] = lru_cache(maxsize=1)(lambda folder: open_vocabulary(Path(folder)))
