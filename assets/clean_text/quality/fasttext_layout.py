"""The layout of a fastText file, checked before fastText reads it: its own reader never returns from a file cut short.

As fastText 0.9.2 writes it: ``FastText::saveModel``, ``Args::save``, ``Dictionary::save``, ``DenseMatrix::save``,
``QuantMatrix::save``, ``ProductQuantizer::save``.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from typing import Any

MAGIC = 793712314
"""``FASTTEXT_FILEFORMAT_MAGIC_INT32``, the first four bytes, little-endian."""

_VERSION = 12
_SUPERVISED = 3
_CENTROIDS = 256
_LABEL = 1


def read_labels(path: Path) -> tuple[str, ...]:
    """The labels of a classifier, as they stand in it; its weights are passed over.

    Raises:
        ValueError: If the file is no supervised model of fastText's version 12, or not of the length it says.
        OSError: If it cannot be read.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        layout = _Layout(data)
        try:
            labels = layout.labels()
            quantised = layout.values("?")[0]
            layout.pass_matrix(quantised=quantised)
            output_quantised = layout.values("?")[0]
            layout.pass_matrix(quantised=quantised and output_quantised)
        except (struct.error, OverflowError):
            raise ValueError("it ends too early") from None
        if layout.place != len(data):
            raise ValueError(f"it has {len(data):,} bytes instead of {layout.place:,}")
        return labels


class _Layout:
    """A place in the file that moves on with what is read or passed over."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self.place = 0

    def values(self, form: str) -> tuple[Any, ...]:
        values = struct.unpack_from("<" + form, self._data, self.place)
        self.place += struct.calcsize("<" + form)
        return values

    def labels(self) -> tuple[str, ...]:
        magic, version, *options = self.values("ii12i")
        if (magic, version) != (MAGIC, _VERSION):
            raise ValueError("it is not of fastText's version 12")
        if options[7] != _SUPERVISED:
            raise ValueError("it holds word vectors, no classifier")
        self.values("d")
        size, _, count, _, pruned = self.values("3i2q")
        labels = []
        for _ in range(size):
            end = self._data.find(b"\0", self.place)
            if end < 0:
                raise ValueError("it ends too early")
            word, self.place = self._data[self.place : end], end + 1
            if self.values("qb")[1] == _LABEL:
                labels.append(word.decode("utf-8", "replace"))
        if len(labels) != count or not labels:
            raise ValueError(f"it holds {len(labels)} labels instead of {count}")
        self.place += 8 * max(0, pruned)
        return tuple(labels)

    def pass_matrix(self, *, quantised: bool) -> None:
        if not quantised:
            rows, columns = self.values("qq")
            self.place += 4 * rows * columns
            return
        with_norms, rows, _, codes = self.values("?qqi")
        self.place += codes
        self._pass_centroids()
        if with_norms:
            self.place += rows
            self._pass_centroids()

    def _pass_centroids(self) -> None:
        width, *_ = self.values("4i")
        self.place += 4 * _CENTROIDS * width
