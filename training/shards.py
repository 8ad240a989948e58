"""Token shards: flat files of token ids, and for every token the document it came from. Bytes: docs/shard-format.md.

A folder holds one dump encoded by one vocabulary::

    shards.json                     written last; a folder without it is incomplete
    train-00000.bin                 token ids, little-endian uint16 or uint32, no header
    train-00000.index.parquet       one row per document: doc_id, start, length, bytes
    validation-00000.bin, ...

Documents lie one after the other, each closed by the end-of-document id, which occurs nowhere else.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

Ids = npt.NDArray[np.int64]
SplitName = Literal["train", "validation"]

SPLITS: tuple[SplitName, ...] = ("train", "validation")
FORMAT = 1
DESCRIPTION = "shards.json"
SHARD_HASH = "corpusline.shard_sha256"
_COLUMNS: list[pa.Field[Any]] = [
    pa.field("doc_id", pa.string(), nullable=False),
    pa.field("start", pa.int64(), nullable=False),
    pa.field("length", pa.int64(), nullable=False),
    pa.field("bytes", pa.int64(), nullable=False),
]
INDEX = pa.schema(_COLUMNS)
_ROWS_PER_GROUP = 65_536
_BUFFERED_TOKENS = 1 << 20
_OPEN_INDEXES = 8


class ShardError(RuntimeError):
    """A shard folder is missing, damaged or does not fit; the message names the file and the remedy."""


def token_dtype(vocabulary_size: int) -> np.dtype[Any]:
    """The little-endian type that holds ids below ``vocabulary_size``: uint16 up to 65,536 entries, then uint32."""
    return np.dtype("<u2" if vocabulary_size <= 1 << 16 else "<u4")


@dataclass(frozen=True)
class ShardFile:
    """One ``.bin`` file.

    Attributes:
        name: File name in the folder.
        tokens: Token ids in it, end-of-document ids included.
        documents: Documents in it; a document is never cut over two files.
        bytes: UTF-8 bytes of the documents' texts.
        sha256: Of the ``.bin`` file's bytes, in hex.
    """

    name: str
    tokens: int
    documents: int
    bytes: int
    sha256: str

    @property
    def index_name(self) -> str:
        """Name of the index that belongs to it."""
        return self.name.removesuffix(".bin") + ".index.parquet"


@dataclass(frozen=True)
class ShardCounts:
    """What a finished folder holds, by split."""

    documents: dict[str, int]
    tokens: dict[str, int]
    bytes: dict[str, int]


class Document(NamedTuple):
    """One document as it lies in a split.

    Attributes:
        doc_id: Its identifier in the documents' Parquet.
        start: Position of its first token in the split.
        ids: int64 [length], the last one is end-of-document.
        bytes: UTF-8 bytes of its text.
    """

    doc_id: str
    start: int
    ids: Ids
    bytes: int


class Span(NamedTuple):
    """A stretch of tokens of one document.

    Attributes:
        document: Number of the document in the split.
        doc_id: Its identifier.
        offset: First token of the stretch, counted within the document.
        length: Tokens of the stretch.
    """

    document: int
    doc_id: str
    offset: int
    length: int


class ShardWriter:
    """Writes a folder of shards in one pass; memory holds one buffer and one row group a split.

    Use as a context manager: leaving it normally finishes the folder, leaving it by an error does not.
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
        """Append one document; the end-of-document id is added here.

        Args:
            split: Where it belongs.
            doc_id: Its identifier.
            ids: Token ids of its text, possibly none.
            bytes: UTF-8 bytes of its text.

        Raises:
            ShardError: If an id is not below the vocabulary size, or is the end-of-document id.
        """
        tokens = np.append(np.asarray(ids, dtype=np.int64), self._end)
        body = tokens[:-1]
        wrong = body[(body < 0) | (body >= self._vocabulary_size)]
        if wrong.size:
            raise ShardError(
                f"document {doc_id}: token id {wrong[0]} is outside the vocabulary of {self._vocabulary_size} entries; "
                "encode with the vocabulary that the shards name"
            )
        if (body == self._end).any():
            raise ShardError(
                f"document {doc_id} holds the end-of-document id {self._end} within its text; "
                "encode special tokens as ordinary text"
            )
        shard = self._open.get(split)
        if shard is not None and shard.tokens + tokens.size > self._shard_tokens:
            self._finished[split].append(shard.close())
            shard = None
        if shard is None:
            name = f"{split}-{len(self._finished[split]):05d}.bin"
            shard = self._open[split] = _ShardFileWriter(self._folder / name, self._dtype)
        shard.add(doc_id, tokens, bytes)

    def close(self) -> ShardCounts:
        """Finish the open files and write ``shards.json``; only now is the folder complete."""
        for split, shard in self._open.items():
            self._finished[split].append(shard.close())
        self._open = {}
        splits = {split: {"files": [asdict(file) for file in files]} for split, files in self._finished.items()}
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


class _ShardFileWriter:
    """One ``.bin`` and its index. The index names the hash of the ``.bin``, so that neither can be exchanged alone."""

    def __init__(self, path: Path, dtype: np.dtype[Any]) -> None:
        self.tokens = 0
        self._path = path
        self._dtype = dtype
        self._file = path.open("wb")
        self._hash = hashlib.sha256()
        self._buffer: list[Ids] = []
        self._buffered = 0
        self._rows: list[tuple[str, int, int, int]] = []
        self._documents = 0
        self._bytes = 0
        self._index = pq.ParquetWriter(_index_path(path), INDEX, compression="zstd")

    def add(self, doc_id: str, tokens: Ids, bytes: int) -> None:
        self._rows.append((doc_id, self.tokens, tokens.size, bytes))
        self._buffer.append(tokens)
        self._buffered += tokens.size
        self.tokens += tokens.size
        self._documents += 1
        self._bytes += bytes
        if self._buffered >= _BUFFERED_TOKENS:
            self._write_tokens()
        if len(self._rows) >= _ROWS_PER_GROUP:
            self._write_rows()

    def close(self) -> ShardFile:
        self._write_tokens()
        self._write_rows()
        self._file.close()
        digest = self._hash.hexdigest()
        self._index.add_key_value_metadata({SHARD_HASH: digest})
        self._index.close()
        return ShardFile(self._path.name, self.tokens, self._documents, self._bytes, digest)

    def abandon(self) -> None:
        self._file.close()
        self._index.close()

    def _write_tokens(self) -> None:
        if self._buffer:
            data = np.concatenate(self._buffer).astype(self._dtype).tobytes()
            self._hash.update(data)
            self._file.write(data)
            self._buffer, self._buffered = [], 0

    def _write_rows(self) -> None:
        if self._rows:
            columns = zip(*self._rows, strict=True)
            arrays = [pa.array(column, type=field.type) for column, field in zip(columns, INDEX, strict=True)]
            self._index.write_table(pa.Table.from_arrays(arrays, schema=INDEX))
            self._rows = []


class Split:
    """One split of a shard folder, as one long row of tokens over all its files.

    Attributes:
        name: ``train`` or ``validation``.
        token_count: Tokens in all.
        document_count: Documents in all.
        byte_count: UTF-8 bytes of the documents' texts in all.
        files: The ``.bin`` files in order.
    """

    def __init__(
        self, folder: Path, name: SplitName, files: tuple[ShardFile, ...], dtype: np.dtype[Any], vocabulary_size: int
    ) -> None:
        self.name = name
        self.files = files
        self._folder = folder
        self._dtype = dtype
        self._vocabulary_size = vocabulary_size
        self._token_starts = list(accumulate((file.tokens for file in files), initial=0))
        self._document_starts = list(accumulate((file.documents for file in files), initial=0))
        self.token_count = self._token_starts[-1]
        self.document_count = self._document_starts[-1]
        self.byte_count = sum(file.bytes for file in files)
        self._maps: dict[int, npt.NDArray[Any]] = {}
        self._load_index = lru_cache(maxsize=_OPEN_INDEXES)(self._read_index)

    def tokens(self, start: int, length: int) -> Ids:
        """Copy ``length`` token ids from position ``start`` as int64 [length], across files where needed.

        Raises:
            IndexError: If the stretch leaves the split.
        """
        if start < 0 or length < 0 or start + length > self.token_count:
            raise IndexError(
                f"tokens {start} to {start + length} are not within the {self.token_count} of {self._where()}"
            )
        result = np.empty(length, dtype=np.int64)
        number = bisect_right(self._token_starts, start) - 1
        done = 0
        while done < length:
            offset = start + done - self._token_starts[number]
            part = self._map(number)[offset : offset + length - done]
            result[done : done + part.size] = part
            done += part.size
            number += 1
        return result

    @property
    def has_loss_mask(self) -> bool:
        """Whether some tokens are not to be learned."""
        return False

    def loss_mask(self, start: int, length: int) -> npt.NDArray[np.bool_]:
        """Which of ``length`` tokens from ``start`` are to be learned; all of them without a mask."""
        return np.ones(length, dtype=np.bool_)

    def gather(self, positions: Ids, *, fill: int = 0) -> Ids:
        """The ids at any positions; int64 of the same shape, ``fill`` where a position is negative.

        Raises:
            IndexError: If a position is not below ``token_count``.
        """
        flat = np.asarray(positions, dtype=np.int64).ravel()
        if flat.size and int(flat.max()) >= self.token_count:
            raise IndexError(f"token {int(flat.max())} is not within the {self.token_count} of {self._where()}")
        result = np.full(flat.size, fill, dtype=np.int64)
        numbers = np.searchsorted(self._token_starts, flat, side="right") - 1
        for number in np.unique(numbers[flat >= 0]).tolist():
            chosen = numbers == number
            result[chosen] = self._map(number)[flat[chosen] - self._token_starts[number]]
        return result.reshape(np.shape(positions))

    def read_windows(self, starts: Ids, length: int, out: npt.NDArray[np.integer[Any]]) -> None:
        """Fill each row of ``out`` [windows, length] with the tokens from one of ``starts`` on, across files too.

        Raises:
            IndexError: If a window leaves the split.
        """
        if starts.size and (int(starts.min()) < 0 or int(starts.max()) + length > self.token_count):
            raise IndexError(
                f"windows of {length} from {int(starts.min())} to {int(starts.max())} are not within the "
                f"{self.token_count} tokens of {self._where()}"
            )
        numbers = np.searchsorted(self._token_starts, starts, side="right") - 1
        for row, (number, start) in enumerate(zip(numbers.tolist(), starts.tolist(), strict=True)):
            begin = start - self._token_starts[number]
            part = self._map(number)[begin : begin + length]
            if part.size == length:
                out[row] = part
            else:
                out[row] = self.tokens(start, length)

    def document_lengths(self) -> Iterator[tuple[int, Ids]]:
        """Of each file, the position of its first token and its documents' lengths, int64 [documents]."""
        for number, start in enumerate(self._token_starts[:-1]):
            yield start, np.diff(self._read_index(number).starts)

    def document(self, number: int) -> Document:
        """The document of that number, in the order they were written.

        Raises:
            IndexError: If there is no such document.
            ShardError: If the index does not fit its file.
        """
        if not 0 <= number < self.document_count:
            raise IndexError(f"document {number} is not among the {self.document_count} of {self._where()}")
        file = bisect_right(self._document_starts, number) - 1
        index = self._load_index(file)
        row = number - self._document_starts[file]
        start = self._token_starts[file] + int(index.starts[row])
        length = int(index.starts[row + 1] - index.starts[row])
        return Document(index.doc_ids[row].as_py(), start, self.tokens(start, length), int(index.bytes[row]))

    def iterate(self) -> Iterator[Document]:
        """All documents in order."""
        return (self.document(number) for number in range(self.document_count))

    def spans(self, start: int, length: int) -> list[Span]:
        """The documents that ``tokens(start, length)`` is made of, in order; their lengths add up to ``length``.

        Raises:
            IndexError: If the stretch leaves the split.
            ShardError: If an index does not fit its file.
        """
        if start < 0 or length < 0 or start + length > self.token_count:
            raise IndexError(
                f"tokens {start} to {start + length} are not within the {self.token_count} of {self._where()}"
            )
        spans: list[Span] = []
        position, end = start, start + length
        while position < end:
            file = bisect_right(self._token_starts, position) - 1
            index = self._load_index(file)
            within = position - self._token_starts[file]
            row = int(np.searchsorted(index.starts, within, side="right")) - 1
            until = min(end, self._token_starts[file] + int(index.starts[row + 1]))
            offset = within - int(index.starts[row])
            number = self._document_starts[file] + row
            spans.append(Span(number, index.doc_ids[row].as_py(), offset, until - position))
            position = until
        return spans

    def verify(self) -> None:
        """Read everything: each file's SHA-256, each index, and that each id is in the vocabulary.

        Raises:
            ShardError: Naming the first file that is damaged.
        """
        for number, file in enumerate(self.files):
            path = self._folder / file.name
            with path.open("rb") as opened:
                if hashlib.file_digest(opened, "sha256").hexdigest() != file.sha256:
                    raise ShardError(f"{path} is damaged: its bytes do not match the hash in {DESCRIPTION}; {_AGAIN}")
            self._load_index(number)
            ids = self._map(number)
            for begin in range(0, ids.size, _BUFFERED_TOKENS):
                highest = int(ids[begin : begin + _BUFFERED_TOKENS].max())
                if highest >= self._vocabulary_size:
                    raise ShardError(
                        f"{path} holds the token id {highest}, but the vocabulary has {self._vocabulary_size} entries; "
                        f"{_AGAIN}"
                    )

    def _where(self) -> str:
        return f"{self._folder}, split {self.name}"

    def _map(self, number: int) -> npt.NDArray[Any]:
        if number not in self._maps:
            path = self._folder / self.files[number].name
            try:
                self._maps[number] = np.memmap(path, dtype=self._dtype, mode="r", shape=(self.files[number].tokens,))
            except (OSError, ValueError) as error:
                raise ShardError(f"{path} cannot be read ({error}); {_AGAIN}") from None
        return self._maps[number]

    def _read_index(self, number: int) -> _Index:
        file = self.files[number]
        path = self._folder / file.index_name
        try:
            with pq.ParquetFile(path) as opened:
                table, metadata = opened.read(), opened.metadata.metadata or {}
        except (OSError, pa.ArrowException) as error:
            raise ShardError(f"{path} cannot be read ({error}); {_AGAIN}") from None
        if metadata.get(SHARD_HASH.encode(), b"").decode() != file.sha256:
            raise ShardError(f"{path} is the index of another shard than {file.name}; {_AGAIN}")
        if table.schema.names != INDEX.names or table.schema.types != INDEX.types:
            raise ShardError(f"{path} has the columns {table.schema.names}, not those of a shard index; {_AGAIN}")
        starts = table["start"].to_numpy()
        ends = starts + table["length"].to_numpy()
        edges = np.append(starts, file.tokens)
        if len(starts) != file.documents or edges[0] != 0 or (ends != edges[1:]).any():
            raise ShardError(f"{path} does not cover {file.name} document by document; {_AGAIN}")
        return _Index(table["doc_id"].combine_chunks(), edges, table["bytes"].to_numpy())


class _Index(NamedTuple):
    doc_ids: Any
    starts: Ids
    bytes: Ids


@dataclass(frozen=True)
class Shards:
    """An opened shard folder.

    Attributes:
        folder: Where it lies.
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


def open_shards(folder: Path, *, vocabulary_hash: str | None = None) -> Shards:
    """Open a folder of shards; reads ``shards.json`` and the files' sizes, maps the rest when it is used.

    Args:
        folder: A folder that a ``ShardWriter`` finished.
        vocabulary_hash: SHA-256 of the ``tokenizer.json`` to be used with it; another one is refused.

    Raises:
        ShardError: Naming the file that is missing, cut short, or of another vocabulary.
    """
    path = folder / DESCRIPTION
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
        if description["format"] != FORMAT:
            raise ValueError(f"format {description['format']}, this program reads format {FORMAT}")
        vocabulary_size = int(description["vocabulary_size"])
        dtype = np.dtype(description["dtype"]).newbyteorder("<")
        if dtype != token_dtype(vocabulary_size):
            raise ValueError(f"dtype {dtype.name} does not fit {vocabulary_size} entries")
        files = {
            split: tuple(ShardFile(**entry) for entry in description["splits"][split]["files"]) for split in SPLITS
        }
        shards = Shards(
            folder=folder,
            vocabulary_hash=description["vocabulary_hash"],
            vocabulary_size=vocabulary_size,
            end_of_document=description["end_of_document"],
            language=description["language"],
            source=description["source"],
            dump=description["dump"],
            train=Split(folder, "train", files["train"], dtype, vocabulary_size),
            validation=Split(folder, "validation", files["validation"], dtype, vocabulary_size),
        )
    except FileNotFoundError:
        raise ShardError(f"{folder} has no {DESCRIPTION}: it is no finished folder of token shards; {_AGAIN}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise ShardError(f"{path} is damaged ({error}); {_AGAIN}") from None
    for file in (*shards.train.files, *shards.validation.files):
        _check_size(folder / file.name, file.tokens * dtype.itemsize)
        if not (folder / file.index_name).is_file():
            raise ShardError(f"{folder / file.index_name} is missing; {_AGAIN}")
    if vocabulary_hash is not None and vocabulary_hash != shards.vocabulary_hash:
        raise ShardError(
            f"{path} was encoded with vocabulary {shards.vocabulary_hash[:12]}, not {vocabulary_hash[:12]}; "
            "use that vocabulary, or encode the documents again"
        )
    return shards


_AGAIN = "remove the folder and run token_shards again"


def _index_path(path: Path) -> Path:
    return path.with_name(path.name.removesuffix(".bin") + ".index.parquet")


def _check_size(path: Path, expected: int) -> None:
    if not path.is_file():
        raise ShardError(f"{path} is missing; {_AGAIN}")
    size = path.stat().st_size
    if size != expected:
        raise ShardError(f"{path} has {size} bytes instead of {expected}; {_AGAIN}")
