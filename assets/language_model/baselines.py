"""What models without training or with hardly any reach on the same text, in bits a UTF-8 byte."""

from __future__ import annotations

import gzip
import lzma
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]

# All that may follow a character: Unicode's scalar values (The Unicode Standard, D76) and the end of a document.
SYMBOLS = 0x110000 - 0x800 + 1
END = 0x110000
_SHIFT = 21
_CHUNK = 1 << 20


def compressed_bits_per_byte(texts: Sequence[str]) -> dict[str, float]:
    """Size under gzip -9 and xz -9e of the texts, joined by line ends, in bits for each of their bytes."""
    data = "\n".join(texts).encode()
    return {
        "gzip": 8 * len(gzip.compress(data, 9, mtime=0)) / max(1, len(data)),
        "xz": 8 * len(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME)) / max(1, len(data)),
    }


def bigram_bits_per_byte(training: Iterable[str], validation: Iterable[str]) -> float:
    """Cross-entropy of the validation texts, ends of documents included, under a character bigram model.

    Interpolated by Witten and Bell's method C (Witten and Bell 1991, "The zero-frequency problem", section III): with
    n(c) occurrences of c, n(p, c) of c after p, and t the numbers of different characters,

        P(c | p) = (n(p, c) + t(p) P(c)) / (n(p) + t(p)),   P(c) = (n(c) + t / SYMBOLS) / (n + t)

    Memory: the different pairs, and a piece of text.

    Args:
        training: Texts that are counted.
        validation: Texts that are measured.
    """
    pairs, pair_counts = _count(training)
    first, second = pairs >> _SHIFT, pairs & ((1 << _SHIFT) - 1)
    size = END + 1
    occurrences = np.bincount(second, weights=pair_counts, minlength=size)
    contexts = np.bincount(first, weights=pair_counts, minlength=size)
    followers = np.bincount(first, minlength=size).astype(np.float64)
    different = np.count_nonzero(occurrences)
    total = occurrences.sum()
    bits, bytes_ = 0.0, 0
    for text, keys in _pieces(validation):
        before, after = keys >> _SHIFT, keys & ((1 << _SHIFT) - 1)
        unigram = (
            (occurrences[after] + different / SYMBOLS) / (total + different)
            if total
            else np.full(len(after), 1 / SYMBOLS)
        )
        place = np.minimum(np.searchsorted(pairs, keys), max(0, len(pairs) - 1))
        seen = np.where(pairs[place] == keys, pair_counts[place], 0) if len(pairs) else np.zeros(len(keys))
        weight = contexts[before] + followers[before]
        interpolated = (seen + followers[before] * unigram) / np.maximum(weight, 1)
        bits -= float(np.log2(np.where(weight > 0, interpolated, unigram)).sum())
        bytes_ += len(text.encode())
    return bits / max(1, bytes_)


def _count(texts: Iterable[str]) -> tuple[Integers, Integers]:
    """The different pairs, sorted, and how often each occurs."""
    pairs, counts = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    waiting: list[Integers] = []
    size = 0
    for keys in chain((keys for _, keys in _pieces(texts)), [None]):
        if keys is not None:
            waiting.append(keys)
            size += len(keys)
        if waiting and (keys is None or size >= _CHUNK):
            new, new_counts = np.unique(np.concatenate(waiting), return_counts=True)
            merged = np.concatenate((pairs, new))
            pairs, inverse = np.unique(merged, return_inverse=True)
            counts = np.bincount(inverse, weights=np.concatenate((counts, new_counts))).astype(np.int64)
            waiting, size = [], 0
    return pairs, counts


def _pieces(texts: Iterable[str]) -> Iterator[tuple[str, Integers]]:
    """Each text and its pairs: the character before, shifted, plus the character; a text starts after an end."""
    for text in texts:
        symbols = np.empty(len(text) + 2, dtype=np.int64)
        symbols[0] = symbols[-1] = END
        symbols[1:-1] = np.frombuffer(text.encode("utf-32-le"), dtype="<u4")
        yield text, (symbols[:-1] << _SHIFT) | symbols[1:]
