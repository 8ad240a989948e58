"""The characters of many texts as flat NumPy arrays, so that a signal is a few array operations, no loop over texts."""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import regex

from assets.clean_text.arrays import strings

Array = npt.NDArray[Any]

LETTER = 1  # \p{L}, and the marks \p{M} that belong to letters
DIGIT = 2  # \p{N}
PUNCTUATION = 4  # \p{P}
SYMBOL = 8  # \p{S}
SPACE = 16  # \s
HAN = 32  # \p{Han}
LATIN = 64  # \p{Latin}

_PATTERNS = {
    LETTER: r"[\p{L}\p{M}]+",
    DIGIT: r"\p{N}+",
    PUNCTUATION: r"\p{P}+",
    SYMBOL: r"\p{S}+",
    SPACE: r"\s+",
    HAN: r"\p{Han}+",
    LATIN: r"\p{Latin}+",
}
_COMPARED_BITS = 44
_BASE = 0x9E3779B97F4A7C15


class Characters:
    """n texts laid end to end.

    Attributes:
        codepoints: uint32, one for each character of all texts.
        starts: int64 of shape (n + 1,): text i is ``codepoints[starts[i]:starts[i + 1]]``.
    """

    def __init__(self, codepoints: Array, starts: Array) -> None:
        self.codepoints = codepoints
        self.starts = starts

    @classmethod
    def of(cls, texts: pa.StringArray) -> Self:
        """The characters of an Arrow array without nulls."""
        contents = strings(texts)
        lengths = np.fromiter(map(len, contents), dtype=np.int64, count=len(contents))
        return cls(np.frombuffer("".join(contents).encode("utf-32-le"), dtype="<u4"), _offsets(lengths))

    def __len__(self) -> int:
        return len(self.starts) - 1

    @cached_property
    def lengths(self) -> Array:
        """int64 (n,): characters of each text."""
        return np.diff(self.starts)

    @cached_property
    def classes(self) -> Array:
        """uint8: the class bits of each character."""
        return character_classes()[self.codepoints]

    @cached_property
    def visible_lengths(self) -> Array:
        """int64 (n,): characters of each text that are not white space."""
        return self.lengths - self.count(self.classes & SPACE)

    @cached_property
    def word_starts(self) -> Array:
        """int64: positions at which a run of characters without white space begins."""
        visible = (self.classes & SPACE) == 0
        begins = visible.copy()
        begins[1:] &= ~visible[:-1]
        first = self.starts[:-1][self.lengths > 0]
        begins[first] = visible[first]
        return np.flatnonzero(begins)

    def heads(self, length: int) -> Characters:
        """The first ``length`` characters of each text; itself, if no text is longer."""
        if not len(self) or self.lengths.max() <= length:
            return self
        ends = np.minimum(self.starts[1:], self.starts[:-1] + length)
        pieces = [self.codepoints[begin:end] for begin, end in zip(self.starts[:-1], ends, strict=True)]
        return Characters(np.concatenate(pieces), _offsets(ends - self.starts[:-1]))

    def without_space(self) -> Characters:
        """The same texts without their white space."""
        return Characters(self.codepoints[(self.classes & SPACE) == 0], _offsets(self.visible_lengths))

    def count(self, marks: Array) -> Array:
        """int64 (n,): how many of each text's characters are marked (not zero) in a mask over all characters."""
        return self.total(marks != 0)

    def total(self, values: Array) -> Array:
        """int64 (n,): sum over each text of one value a character."""
        sums = np.zeros(len(self), dtype=np.int64)
        filled = self.lengths > 0
        if filled.any():
            sums[filled] = np.add.reduceat(values, self.starts[:-1][filled], dtype=np.int64)
        return sums

    def text_of(self, positions: Array) -> Array:
        """int64: index of the text that each character position belongs to."""
        return np.searchsorted(self.starts, positions, side="right") - 1

    def owners(self) -> Array:
        """uint32, one for each character: index of its text."""
        return np.repeat(np.arange(len(self), dtype=np.uint32), self.lengths)

    def windows(self, width: int) -> tuple[Array, Array]:
        """Every window of ``width`` characters within one text: index of the text (uint32), hash (uint64).

        The hash is a polynomial modulo 2^64, built by doubling: hash(ab) = hash(a) * base^len(b) + hash(b).
        """
        if len(self.codepoints) < width:
            return np.zeros(0, np.uint32), np.zeros(0, np.uint64)
        block = self.codepoints.astype(np.uint64) * np.uint64(_BASE)
        hashes, covered, size = block, 0, 1
        while size <= width:
            if width & size:
                hashes = block if not covered else _joined(hashes, block, covered, size)
                covered += size
            block = _joined(block, block, size, size)
            size *= 2
        owners = self.owners()
        # A window within one text begins and ends in the same one.
        begins = owners[: len(owners) - width + 1]
        inside = begins == owners[width - 1 :]
        return begins[inside], hashes[: len(inside)][inside]

    def runs(self, owners: Array, keys: Array) -> tuple[Array, Array]:
        """Index of the text and number of occurrences (both int64) of each different key of each text.

        Args:
            owners: Index of each key's text, below 2^20.
            keys: uint64, of which the lower 44 bits are compared.
        """
        shift = np.uint64(_COMPARED_BITS)
        tagged = (owners.astype(np.uint64) << shift) | (keys & np.uint64((1 << _COMPARED_BITS) - 1))
        tagged.sort()
        begins = np.flatnonzero(np.append(True, tagged[1:] != tagged[:-1])) if len(tagged) else np.zeros(0, np.int64)
        return (tagged[begins] >> shift).astype(np.int64), np.diff(np.append(begins, len(tagged)))


@lru_cache(maxsize=1)
def character_classes() -> Array:
    """uint8 (0x110000,): the class bits of every code point, by the Unicode tables of the ``regex`` module."""
    surrogates = range(0xD800, 0xE000)
    everything = "".join("\0" if point in surrogates else chr(point) for point in range(0x110000))
    table = np.zeros(len(everything), dtype=np.uint8)
    for bit, pattern in _PATTERNS.items():
        for match in regex.finditer(pattern, everything):
            table[match.start() : match.end()] |= bit
    return table


def _joined(left: Array, right: Array, left_size: int, right_size: int) -> Array:
    """Hashes of windows of ``left_size + right_size`` characters from those of their two parts."""
    count = max(len(right) - left_size, 0)
    return left[:count] * np.uint64(pow(_BASE, right_size, 1 << 64)) + right[left_size : left_size + count]


def _offsets(lengths: Array) -> Array:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])
