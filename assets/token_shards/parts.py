"""Finished parts of a dump that is being encoded, so that a run which was killed does not begin again.

``<parts>/<name>.arrow`` holds what became of one row group, ``<name>.sha256`` the hash of that file; both are written
under temporary names and renamed. The name is a hash of the row group as it is stored, the vocabulary and the settings:
neither the process nor the row group's place has part in it. A part that is damaged counts as not there.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from training.artifact import file_sha256

_LEFT_OUT = b"left_out"


@dataclass(frozen=True)
class EncodedDocuments:
    """Documents of one split, encoded.

    Attributes:
        doc_ids: Their identifiers, [documents].
        ids: Their token ids one after the other, without end-of-document ids; uint16 or uint32 [tokens].
        lengths: Ids of each, at least 1; int64 [documents].
        bytes: UTF-8 bytes of each text, int64 [documents].
    """

    doc_ids: pa.StringArray
    ids: npt.NDArray[Any]
    lengths: npt.NDArray[np.int64]
    bytes: npt.NDArray[np.int64]


@dataclass(frozen=True)
class EncodedPart:
    """What became of one row group.

    Attributes:
        train, validation: Its documents by split.
        left_out: Documents whose text encodes to nothing.
    """

    train: EncodedDocuments
    validation: EncodedDocuments
    left_out: int


def write_part(path: Path, part: EncodedPart) -> None:
    """Write a part, complete or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}")
    batches = [_batch(documents) for documents in (part.train, part.validation)]
    schema = batches[0].schema.with_metadata({_LEFT_OUT: str(part.left_out)})
    with pa.ipc.new_file(str(partial), schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    digest = file_sha256(partial)
    partial.replace(path)
    partial.write_text(digest, encoding="ascii")
    partial.replace(_hash_path(path))


def read_part(path: Path) -> EncodedPart:
    """Map a part into memory.

    Raises:
        FileNotFoundError: If it is not there.
    """
    with pa.memory_map(str(path)) as file:
        opened = pa.ipc.open_file(file)
        train, validation = (_documents(opened.get_batch(number)) for number in range(2))
        return EncodedPart(train, validation, int((opened.schema.metadata or {})[_LEFT_OUT]))


def is_whole(path: Path) -> bool:
    """Whether a part is there and is what was written."""
    try:
        return file_sha256(path) == _hash_path(path).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return False


def remove_parts(parts: Path) -> None:
    """Remove the finished and unfinished parts of a dump."""
    shutil.rmtree(parts, ignore_errors=True)


def _hash_path(path: Path) -> Path:
    return path.with_suffix(".sha256")


def _batch(documents: EncodedDocuments) -> pa.RecordBatch:
    offsets = np.concatenate([[0], np.cumsum(documents.lengths, dtype=np.int64)])
    ids = pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(documents.ids))
    return pa.RecordBatch.from_arrays([documents.doc_ids, ids, pa.array(documents.bytes)], ["doc_id", "ids", "bytes"])


def _documents(batch: pa.RecordBatch) -> EncodedDocuments:
    doc_ids: Any = batch.column("doc_id")
    ids: Any = batch.column("ids")
    return EncodedDocuments(
        doc_ids=doc_ids,
        ids=ids.values.to_numpy(),
        lengths=np.diff(ids.offsets.to_numpy()),
        bytes=batch.column("bytes").to_numpy(),
    )
