"""How often each piece of text occurs, in bounded memory.

When the tables are full, the rarest pieces are forgotten until half of the room is free, as in lossy counting (Manku
and Motwani 2002, section 4.2): a piece that comes again afterwards begins again at 0. So a count is too small by at
most ``forgotten``: of each time, the largest count that was forgotten, added up. Only texts with millions of different
pieces come to that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import regex
from tokenizers import Regex, pre_tokenizers

from assets.clean_text.kernels.buffers import utf8
from assets.vocabulary.kernels.classes import LETTER, NUMBER, SPACE, code_point_classes
from assets.vocabulary.kernels.piece_counting import count_pieces, count_texts

MOST_PIECES = 3 << 20
MOST_BYTES = 48 << 20
_BATCH_BYTES = 8 << 20


class CountedPieces(NamedTuple):
    """Pieces and how often each occurs.

    Attributes:
        data: uint8, their bytes one after the other.
        offsets: int64 [pieces + 1], where each begins.
        counts: int64 [pieces].
        forgotten: By how much a count may be too small; 0 if all pieces had room.
    """

    data: npt.NDArray[np.uint8]
    offsets: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]
    forgotten: int


class PieceCounts:
    """Counts pieces of texts that come one after the other."""

    def __init__(self, *, most_pieces: int = MOST_PIECES, most_bytes: int = MOST_BYTES) -> None:
        """Make room for so many different pieces with so many bytes together."""
        slots = 1 << (2 * most_pieces - 1).bit_length()
        self._table = np.zeros(slots, dtype=np.int64)
        self._starts = np.zeros(most_pieces + 1, dtype=np.int64)
        self._lengths = np.zeros(most_pieces, dtype=np.int32)
        self._counts = np.zeros(most_pieces, dtype=np.int64)
        self._kept = np.zeros(most_bytes, dtype=np.uint8)
        self._used = np.zeros(2, dtype=np.int64)
        self._forgotten = 0

    @property
    def _tables(self) -> tuple[Any, ...]:
        return self._table, self._starts, self._lengths, self._counts, self._kept, self._used

    def add_texts(self, texts: Iterable[str], *, longest_han_run: int, digits_per_token: int) -> None:
        """Count the pieces of the pattern corpusline."""
        pattern = np.asarray([longest_han_run, digits_per_token], dtype=np.int64)
        for batch in _batches(texts):
            data, offsets = utf8(pa.array(batch, pa.large_string()))
            longest = int(np.diff(offsets).max(initial=0))
            kinds = np.zeros(longest + 16, dtype=np.uint8)
            eights = np.ndarray(kinds.size - 7, "<i8", kinds, strides=(1,))
            done = 0
            while done < len(batch):
                size = int(offsets[done + 1] - offsets[done])
                self._make_room(size, size)
                done = count_texts(data, offsets, done, code_point_classes(), kinds, eights, pattern, *self._tables)

    def add_matches(self, texts: Iterable[str], pattern: str) -> None:
        """Count the pieces of a regular expression of a peer, as the engine inside ``tokenizers`` reads it."""
        expression = regex.compile(pattern)
        elsewhere = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
        disputed = _disputed()
        for batch in _batches(texts):
            found: Counter[str] = Counter()
            for text in batch:
                if disputed.search(text) is None:
                    found.update(expression.findall(text))
                else:
                    found.update([piece for piece, _ in elsewhere.pre_tokenize_str(text)])
            pieces = [piece.encode() for piece in found]
            offsets = np.cumsum([0, *map(len, pieces)])
            self._make_room(len(pieces), int(offsets[-1]))
            more = np.fromiter(found.values(), dtype=np.int64, count=len(pieces))
            count_pieces(np.frombuffer(b"".join(pieces), dtype=np.uint8), offsets, more, *self._tables)

    def counted(self) -> CountedPieces:
        """All pieces that are remembered."""
        pieces = int(self._used[0])
        offsets = np.append(self._starts[:pieces], self._used[1])
        return CountedPieces(self._kept[: self._used[1]], offsets, self._counts[:pieces], self._forgotten)

    def _make_room(self, pieces: int, size: int) -> None:
        """Forget the rarest pieces, if need be, until so many more with so many bytes fit."""
        most_pieces, most_bytes = self._lengths.size, self._kept.size
        if self._used[0] + pieces <= most_pieces and self._used[1] + size <= most_bytes:
            return
        found = self.counted()
        lengths = np.diff(found.offsets)
        order = np.argsort(found.counts, kind="stable")[::-1]
        room_pieces, room_bytes = min(most_pieces // 2, most_pieces - pieces), min(most_bytes // 2, most_bytes - size)
        fits = (np.arange(order.size) < room_pieces) & (np.cumsum(lengths[order]) <= room_bytes)
        limit = int(found.counts[order[~fits][0]]) if not fits.all() else 0
        stay = np.flatnonzero(found.counts > limit)
        self._forgotten += limit
        data = (
            np.concatenate([found.data[found.offsets[i] : found.offsets[i + 1]] for i in stay])
            if stay.size
            else (np.zeros(0, dtype=np.uint8))
        )
        counts = found.counts[stay].copy()
        offsets = np.append(0, np.cumsum(lengths[stay]))
        self._table[:] = 0
        self._used[:] = 0
        count_pieces(data, offsets, counts, *self._tables)


def _batches(texts: Iterable[str]) -> Iterable[list[str]]:
    batch: list[str] = []
    size = 0
    for text in texts:
        batch.append(text)
        size += len(text)
        if size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


@lru_cache(maxsize=1)
def _disputed() -> Any:
    """Matches a character that the modules regex and tokenizers class otherwise, being of two versions of Unicode."""
    everything = "".join(chr(code) for start, end in ((0, 0xD800), (0xE000, 0x110000)) for code in range(start, end))
    codes = np.frombuffer(everything.encode("utf-32-le"), dtype="<u4")
    classes = code_point_classes()
    disputed = np.zeros(codes.size, dtype=np.bool_)
    for bit, pattern in ((LETTER, r"\p{L}+"), (NUMBER, r"\p{N}+"), (SPACE, r"\s+")):
        inside = np.zeros(codes.size, dtype=np.bool_)
        for match in regex.finditer(pattern, everything):
            inside[match.start() : match.end()] = True
        disputed |= inside != (classes[codes] & bit > 0)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], disputed.astype(np.int8), [0]])))
    spans = [(codes[start], codes[end - 1]) for start, end in edges.reshape(-1, 2).tolist()]
    return regex.compile(
        "[" + "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in spans) + "]" if spans else "(?!)"
    )
