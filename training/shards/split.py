"""Reading one split of a shard folder."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from training.shards.format import AGAIN, DESCRIPTION, Ids, ShardError, ShardFile, SplitName, mask_bytes
from training.shards.index import IndexRow, ShardIndex, index_rows, read_index
from training.shards.maps import keeps_maps, mapped, stretch
from training.shards.remote import RemoteFolder

_BLOCK_TOKENS = 1 << 22
_LONG_STRETCH = 1 << 16
_OPEN_INDEXES = 8
_MOST_REMOVALS = 10

Content = TypeVar("Content")


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


class Place(NamedTuple):
    """Where a document lies in a split.

    Attributes:
        number: Of the document in the split.
        doc_id: Its identifier.
        start: Position of its first token in the split.
        length: Its tokens, the end-of-document id counted in.
    """

    number: int
    doc_id: str
    start: int
    length: int


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


class Split:
    """One split of a shard folder, as one long row of tokens over all its files.

    Opening it reads nothing; files are mapped and indexes read when they are used, a bounded number at a time.

    Attributes:
        name: ``train`` or ``validation``.
        token_count: Tokens in all.
        document_count: Documents in all.
        byte_count: UTF-8 bytes of the documents' texts in all.
        files: The ``.bin`` files in order.
        has_loss_mask: Whether some tokens are not to be learned.
    """

    def __init__(
        self,
        folder: Path,
        name: SplitName,
        files: tuple[ShardFile, ...],
        *,
        dtype: np.dtype[Any],
        vocabulary_size: int,
        end_of_document: int,
        remote: RemoteFolder | None = None,
    ) -> None:
        self.name = name
        self.files = files
        self.has_loss_mask = any(file.mask_sha256 is not None for file in files)
        self._folder = folder
        self._remote = remote
        self._dtype = dtype
        self._vocabulary_size = vocabulary_size
        self._end = end_of_document
        self._token_starts = list(accumulate((file.tokens for file in files), initial=0))
        self._document_starts = list(accumulate((file.documents for file in files), initial=0))
        self._edges = np.array(self._token_starts, dtype=np.int64)
        self.token_count = self._token_starts[-1]
        self.document_count = self._document_starts[-1]
        self.byte_count = sum(file.bytes for file in files)
        # Often the same file is asked for again, and finding its map costs as much as reading a few tokens.
        self._map = keeps_maps(self._map_of, most=1)
        self._index = lru_cache(maxsize=_OPEN_INDEXES)(self._read_index)

    def tokens(self, start: int, length: int) -> Ids:
        """Copy ``length`` token ids from position ``start`` as int64 [length], across files where needed.

        Raises:
            IndexError: If the stretch leaves the split.
        """
        result = np.empty(length, dtype=np.int64)
        self._copy(start, result)
        return result

    def places(self, starts: Ids, length: int) -> tuple[Ids, Ids]:
        """Where windows of ``length`` tokens lie that begin at ``starts``.

        Returns:
            The file of each, int64 [windows], -1 for those that lie in several or run over the split's end; and its
            first token, counted within that file.
        """
        files = np.searchsorted(self._edges, starts, side="right") - 1
        ends = self._edges[np.minimum(files + 1, len(self.files))]
        inside = (starts >= 0) & (starts + length <= ends)
        return np.where(inside, files, -1), starts - self._edges[files]

    def windows(self, file: int, length: int) -> npt.NDArray[Any]:
        """Every window of a file, [tokens - length + 1, length], without a copy.

        Raises:
            ShardError: If the file is missing or shorter than its description says.
        """
        return sliding_window_view(self._map(file), length)

    def ring(self, start: int, length: int) -> npt.NDArray[Any]:
        """Ids from a position on, in the files' type; after the split's last token its first one follows.

        Raises:
            IndexError: If the position is not below ``token_count``.
        """
        found = np.empty(length, dtype=self._dtype)
        before = min(length, self.token_count - start)
        self._copy(start, found[:before])
        self._copy(0, found[before:])
        return found

    def gather(self, positions: Ids, *, fill: int = 0) -> Ids:
        """The ids at any positions; int64 of the same shape, ``fill`` where a position is negative.

        Raises:
            IndexError: If a position is not below ``token_count``.
        """
        flat = np.asarray(positions, dtype=np.int64).ravel()
        result = np.full(flat.size, fill, dtype=np.int64)
        places = np.flatnonzero(flat >= 0)
        if places.size:
            self._check(0, int(flat.max()) + 1)
            files = np.searchsorted(self._edges, flat[places], side="right") - 1
            order = np.argsort(files, kind="stable")
            cuts = np.flatnonzero(np.diff(files[order])) + 1
            for chosen in np.split(order, cuts):
                file = int(files[chosen[0]])
                result[places[chosen]] = self._map(file)[flat[places[chosen]] - self._edges[file]]
        return result.reshape(np.shape(positions))

    def loss_mask(self, start: int, length: int) -> npt.NDArray[np.bool_]:
        """Which of ``length`` tokens from ``start`` are to be learned; all of them without a mask.

        Raises:
            IndexError: If the stretch leaves the split.
        """
        result = np.ones(length, dtype=np.bool_)
        for file, begin, end, done in self._parts(start, length):
            if self.files[file].mask_sha256 is not None:
                packed = self._mask(file)[begin // 8 : mask_bytes(end)]
                bits = np.unpackbits(packed, bitorder="little")[begin % 8 :]
                result[done : done + end - begin] = bits[: end - begin]
        return result

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
        index = self._index(file)
        row = number - self._document_starts[file]
        start = self._token_starts[file] + int(index.starts[row])
        length = int(index.starts[row + 1] - index.starts[row])
        return Document(index.doc_ids[row].as_py(), start, self.tokens(start, length), int(index.bytes[row]))

    def iterate(self) -> Iterator[Document]:
        """All documents in order."""
        return (self.document(number) for number in range(self.document_count))

    def find(self, doc_id: str) -> Place | None:
        """Where a document lies, None if it is not here; reads the ids of one file after the other until it is found.

        Args:
            doc_id: Its identifier, or the beginning of one; then every file is read.

        Raises:
            ShardError: If several identifiers begin so, or an index cannot be read or is that of another file.
        """
        found: list[Place] = []
        for number, file in enumerate(self.files):
            for row, name, start, length in self._index_rows(file, doc_id):
                place = Place(self._document_starts[number] + row, name, self._token_starts[number] + start, length)
                if name == doc_id:
                    return place
                found.append(place)
        if len(found) > 1:
            names = ", ".join(place.doc_id for place in found[:4])
            raise ShardError(
                f"{len(found)} documents of {self._where()} begin with {doc_id}: {names}; write more of it"
            )
        return found[0] if found else None

    def spans(self, start: int, length: int) -> list[Span]:
        """The documents that ``tokens(start, length)`` is made of, in order; their lengths add up to ``length``.

        Raises:
            IndexError: If the stretch leaves the split.
            ShardError: If an index does not fit its file.
        """
        spans: list[Span] = []
        for file, begin, end, _ in self._parts(start, length):
            index = self._index(file)
            first = int(np.searchsorted(index.starts, begin, side="right")) - 1
            last = int(np.searchsorted(index.starts, end, side="left"))
            edges = index.starts[first : last + 1].tolist()
            doc_ids: list[Any] = index.doc_ids[first:last].to_pylist()
            for row, (doc_id, opened, closed) in enumerate(zip(doc_ids, edges[:-1], edges[1:], strict=True), first):
                inside = max(begin, opened)
                number = self._document_starts[file] + row
                spans.append(Span(number, doc_id, inside - opened, min(end, closed) - inside))
        return spans

    def verify(self) -> None:
        """Read everything: each file's SHA-256, each index, and that each id is in the vocabulary and in its place.

        In a folder without the hash of an index, its ``doc_id`` and ``bytes`` may be damaged unnoticed.

        Raises:
            ShardError: Naming the first file that is damaged.
        """
        for number in range(len(self.files)):
            self.verify_file(number)

    def verify_file(self, number: int) -> None:
        """Read all of one file, its index and its mask; threads may verify different files at once.

        Raises:
            ShardError: Naming the one that is damaged.
        """
        for name, expected in self.files[number].hashes.items():
            if expected is not None and self._opened(name, _sha256, expected) != expected:
                raise ShardError(
                    f"{self._folder / name} is damaged: its bytes do not match the hash in {DESCRIPTION}; {AGAIN}"
                )
        self._verify_ids(number, self._read_index(number).starts[1:] - 1)

    def _verify_ids(self, number: int, ends: Ids) -> None:
        path, tokens = self._folder / self.files[number].name, self.files[number].tokens
        for begin in range(0, tokens, _BLOCK_TOKENS):
            block = self._stretch(number, begin, min(begin + _BLOCK_TOKENS, tokens))
            highest = int(block.max())
            if highest >= self._vocabulary_size:
                raise ShardError(
                    f"{path} holds the token id {highest}, but the vocabulary has {self._vocabulary_size} entries; "
                    f"{AGAIN}"
                )
            first, last = np.searchsorted(ends, [begin, begin + block.size])
            if not np.array_equal(np.flatnonzero(block == self._end) + begin, ends[first:last]):
                raise ShardError(
                    f"{path}: its documents are not closed by the end-of-document id where its index says; {AGAIN}"
                )

    def _copy(self, start: int, out: npt.NDArray[np.integer[Any]]) -> None:
        for file, begin, end, done in self._parts(start, out.size):
            part = self._map(file)[begin:end] if end - begin < _LONG_STRETCH else self._stretch(file, begin, end)
            out[done : done + end - begin] = part

    def _parts(self, start: int, length: int) -> Iterator[tuple[int, int, int, int]]:
        """A stretch by files: number of the file, begin and end in it, and how much of the stretch lies before."""
        self._check(start, start + length)
        file = bisect_right(self._token_starts, start) - 1
        done = 0
        while done < length:
            begin = start + done - self._token_starts[file]
            end = min(begin + length - done, self.files[file].tokens)
            yield file, begin, end, done
            done += end - begin
            file += 1

    def _check(self, start: int, end: int) -> None:
        if start < 0 or end < start or end > self.token_count:
            raise IndexError(f"tokens {start} to {end} are not within the {self.token_count} of {self._where()}")

    def _where(self) -> str:
        return f"{self._folder}, split {self.name}"

    def _map_of(self, number: int) -> npt.NDArray[Any]:
        file = self.files[number]
        return self._opened(file.name, lambda path: mapped(path, self._dtype, file.tokens), file.sha256)

    def _stretch(self, number: int, begin: int, end: int) -> npt.NDArray[Any]:
        file = self.files[number]
        return self._opened(file.name, lambda path: stretch(path, self._dtype, begin, end - begin), file.sha256)

    def _mask(self, number: int) -> npt.NDArray[np.uint8]:
        file = self.files[number]
        size = mask_bytes(file.tokens)
        return self._opened(file.mask_name, lambda path: mapped(path, np.dtype(np.uint8), size), file.mask_sha256)

    def _read_index(self, number: int) -> ShardIndex:
        file = self.files[number]
        return self._opened(file.index_name, lambda _: read_index(self._folder, file), file.index_sha256)

    def _index_rows(self, file: ShardFile, beginning: str) -> list[IndexRow]:
        return self._opened(
            file.index_name, lambda _: list(index_rows(self._folder, file, beginning)), file.index_sha256
        )

    def _opened(self, name: str, read: Callable[[Path], Content], sha256: str | None = None) -> Content:
        """What is read of a file, after it was fetched from where it is.

        Raises:
            ShardError: If it cannot be read, or other processes remove it again and again before it is.
        """
        if self._remote is None:
            return read(self._folder / name)
        for _ in range(_MOST_REMOVALS):
            try:
                return read(self._remote.fetch(name, sha256=sha256))
            except ShardError as error:
                if not isinstance(error.__cause__, FileNotFoundError):
                    raise
        raise ShardError(
            f"{self._folder / name} was removed {_MOST_REMOVALS} times before it could be read, to make room for other "
            "files; raise 'cache_gigabytes'"
        )


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise ShardError(f"{path} cannot be read ({error}); {AGAIN}") from error
