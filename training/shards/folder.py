"""Opening a folder of token shards."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from training.shards.format import (
    AGAIN,
    DESCRIPTION,
    FORMAT,
    SPLITS,
    ShardError,
    ShardFile,
    SplitName,
    mask_bytes,
    token_dtype,
)
from training.shards.remote import RemoteFolder
from training.shards.split import Split


@dataclass(frozen=True)
class Shards:
    """An opened shard folder.

    Attributes:
        folder: Where its files are on this machine.
        origin: What it was opened from: that folder, or the one on object storage.
        sha256: Of its ``shards.json``, in hex, which names the hash of every file of token ids.
        vocabulary_hash: SHA-256 of the ``tokenizer.json`` that made the ids, in hex.
        vocabulary_size: Ids lie below it.
        end_of_document: The id that closes a document.
        language: Language code of the dump.
        source: Name of the source.
        dump: Name of the dump.
        train: The training split.
        validation: The validation split.
    """

    folder: Path
    origin: Path | RemoteFolder
    sha256: str
    vocabulary_hash: str
    vocabulary_size: int
    end_of_document: int
    language: str
    source: str
    dump: str
    train: Split
    validation: Split

    def split(self, name: SplitName) -> Split:
        """The split of that name."""
        return self.train if name == "train" else self.validation


def open_shards(folder: Path | RemoteFolder, *, vocabulary_hash: str | None = None) -> Shards:
    """Open a folder of shards; reads ``shards.json`` and the files' sizes, maps the rest when it is used.

    Args:
        folder: A folder that a ``ShardWriter`` finished, here or on object storage.
        vocabulary_hash: SHA-256 of the ``tokenizer.json`` to be used with it; another one is refused.

    Raises:
        ShardError: Naming the file that is missing, cut short, or of another vocabulary.
    """
    where = folder.uri if isinstance(folder, RemoteFolder) else str(folder)
    path = f"{where}/{DESCRIPTION}"
    remote = None
    try:
        if isinstance(folder, RemoteFolder):
            content = folder.read(DESCRIPTION)
            remote = folder.described_by(content)
            folder = remote.local
        else:
            content = (folder / DESCRIPTION).read_bytes()
        description = json.loads(content)
        if description["format"] != FORMAT:
            raise ValueError(f"format {description['format']}, this program reads format {FORMAT}")
        vocabulary_size, end = int(description["vocabulary_size"]), int(description["end_of_document"])
        dtype = np.dtype(description["dtype"]).newbyteorder("<")
        if dtype != token_dtype(vocabulary_size):
            raise ValueError(f"dtype {dtype.name} does not fit {vocabulary_size} entries")
        train, validation = (
            Split(
                folder,
                split,
                tuple(ShardFile(**entry) for entry in description["splits"][split]["files"]),
                dtype=dtype,
                vocabulary_size=vocabulary_size,
                end_of_document=end,
                remote=remote,
            )
            for split in SPLITS
        )
        shards = Shards(
            folder=folder,
            origin=folder if remote is None else remote,
            sha256=hashlib.sha256(content).hexdigest(),
            vocabulary_hash=description["vocabulary_hash"],
            vocabulary_size=vocabulary_size,
            end_of_document=end,
            language=description["language"],
            source=description["source"],
            dump=description["dump"],
            train=train,
            validation=validation,
        )
    except FileNotFoundError:
        raise ShardError(f"{where} has no {DESCRIPTION}: it is no finished folder of token shards; {AGAIN}") from None
    except NotADirectoryError:
        raise ShardError(f"{where} is a file; name the folder that holds {DESCRIPTION}") from None
    except OSError as error:
        raise ShardError(f"{path} cannot be read ({error}); make the folder readable") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ShardError(f"{path} is damaged ({error}); {AGAIN}") from None
    _check_files(where, folder if remote is None else remote, (*train.files, *validation.files), dtype)
    if vocabulary_hash is not None and vocabulary_hash != shards.vocabulary_hash:
        raise ShardError(
            f"{path} was encoded with vocabulary {shards.vocabulary_hash[:12]}, not {vocabulary_hash[:12]}; "
            "use that vocabulary, or encode the documents again"
        )
    return shards


def _check_files(where: str, folder: Path | RemoteFolder, files: tuple[ShardFile, ...], dtype: np.dtype[Any]) -> None:
    """One listing of the folder for tens of thousands of files."""
    if isinstance(folder, RemoteFolder):
        found = folder.sizes()
    else:
        with os.scandir(folder) as entries:
            found = {entry.name: entry.stat().st_size for entry in entries}
    for file in files:
        expected = {file.name: file.tokens * dtype.itemsize, file.index_name: None}
        if file.mask_sha256 is not None:
            expected[file.mask_name] = mask_bytes(file.tokens)
        for name, size in expected.items():
            if name not in found:
                raise ShardError(f"{where}/{name} is missing; {AGAIN}")
            if size is not None and found[name] != size:
                raise ShardError(f"{where}/{name} has {found[name]} bytes instead of {size}; {AGAIN}")
