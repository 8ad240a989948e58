"""A quantised fastText classifier as arrays, and its prediction as a compiled loop.

fastText's own ``predict`` takes one Python string and reads about 5 MB/s on a core. Here the matrix is unpacked once,
the buckets of n-grams are a flat table, and the loop is called by other compiled loops.

The file's layout, the hash of n-grams, the tree and the order of reading are those of fastText 0.9.2:
``FastText::loadModel``, ``Dictionary::computeSubwords``, ``HierarchicalSoftmaxLoss``. Bojanowski et al. 2017 (arXiv
1607.04606) describe the n-grams, Joulin et al. 2016 (arXiv 1612.03651) quantisation and pruning.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numba
import numpy as np

from assets.clean_text.errors import CleanTextError
from assets.clean_text.kernels.buffers import Array

_MAGIC, _VERSION = 793712314, 12
_HIERARCHICAL_SOFTMAX, _SUPERVISED = 1, 3
_CENTROIDS = 256
_LABEL = "__label__"
_FNV_BASIS, _FNV_PRIME = 0xCBF29CE484222325, 0x100000001B3


class Weights(NamedTuple):
    """What the compiled loop reads.

    Attributes:
        vectors: float32 (words + buckets, dimensions): of words, then of buckets that pruning left.
        buckets: int32 (b,): row of each bucket of n-grams, -1 where it was pruned.
        present: uint8 (b / 8,): a bit for each bucket, lowest first: whether it was left. Small
            enough for the cache.
        words: int32 (2^k,): open-addressing table of rows of words, -1 where there is none.
        word_hashes: uint64 (2^k,): FNV-1a hashes of these words.
        nodes: float32 (labels - 1, dimensions): of the tree's inner nodes, the root last.
        children: int64 (labels - 1, 2): left and right; below ``labels`` a label, from there on an inner node.
        sizes: least and most characters of an n-gram.
    """

    vectors: Array
    buckets: Array
    present: Array
    words: Array
    word_hashes: Array
    nodes: Array
    children: Array
    sizes: tuple[int, int]


@dataclass(frozen=True)
class Classifier:
    """A model that was read: its labels without the prefix ``__label__``, and its weights."""

    labels: tuple[str, ...]
    weights: Weights


def read_classifier(path: Path) -> Classifier:
    """Read a ``.ftz`` file with hierarchical softmax and without word n-grams, such as ``lid.176.ftz``.

    Raises:
        CleanTextError: If there is no such file, or it is another kind of model.
    """
    try:
        reader = _Reader(path.read_bytes())
        return _read(reader)
    except (OSError, struct.error, ValueError) as error:
        raise CleanTextError(f"{path}: cannot be read as a quantised fastText model ({error})") from error


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0

    def values(self, form: str) -> tuple[Any, ...]:
        values = struct.unpack_from("<" + form, self._data, self._place)
        self._place += struct.calcsize("<" + form)
        return values

    def array(self, dtype: str, count: int) -> Array:
        array = np.frombuffer(self._data, dtype, count, self._place)
        self._place += array.nbytes
        return array

    def word(self) -> bytes:
        end = self._data.index(b"\0", self._place)
        word = self._data[self._place : end]
        self._place = end + 1
        return word


def _read(reader: _Reader) -> Classifier:
    if reader.values("ii") != (_MAGIC, _VERSION):
        raise ValueError("not fastText's version 12")
    dimensions, _, _, _, _, word_grams, loss, kind, buckets, least, most, _ = reader.values("12i")
    if (word_grams, loss, kind) != (1, _HIERARCHICAL_SOFTMAX, _SUPERVISED):
        raise ValueError("no classifier with hierarchical softmax and without word n-grams")
    reader.values("d")
    size, words, labels, _, pruned = reader.values("iiiqq")
    entries = [(reader.word(), *reader.values("qb")) for _ in range(size)]
    pairs = reader.array("<i4", 2 * max(pruned, 0)).reshape(-1, 2)
    if pruned < 0 or reader.values("?") != (True,):
        raise ValueError("not quantised and pruned")
    vectors = _quantised(reader)
    quantised_output, rows, columns = reader.values("?qq")
    if quantised_output or (rows, columns) != (labels, dimensions):
        raise ValueError("another output layer than expected")
    nodes = reader.array("<f4", rows * columns).reshape(rows, columns)[: labels - 1]
    table = np.full(buckets, -1, np.int32)
    table[pairs[:, 0]] = words + pairs[:, 1]
    children = _tree([count for _, count, _ in entries[words:]])
    names = tuple(word.decode().removeprefix(_LABEL) for word, _, _ in entries[words:])
    word_rows, word_hashes = _word_table([word for word, _, _ in entries[:words]])
    weights = Weights(
        vectors,
        table,
        np.packbits(table >= 0, bitorder="little"),
        word_rows,
        word_hashes,
        nodes.copy(),
        children,
        (least, most),
    )
    return Classifier(names, weights)


def _quantised(reader: _Reader) -> Array:
    """float32 (m, n): the rows that product quantisation has packed, times their norms."""
    with_norms, rows, columns, code_size = reader.values("?qqi")
    codes = reader.array("u1", code_size)
    packed = _unpacked(reader, codes, rows)
    if packed.shape[1] != columns:
        raise ValueError("another width than expected")
    return packed * _unpacked(reader, reader.array("u1", rows), rows) if with_norms else packed


def _unpacked(reader: _Reader, codes: Array, rows: int) -> Array:
    width, parts, part, last = reader.values("4i")
    if last != part:
        raise ValueError("parts of different width")
    centroids = reader.array("<f4", width * _CENTROIDS).reshape(parts, _CENTROIDS, part)
    picked: Array = centroids[np.arange(parts), codes.reshape(rows, parts)].reshape(rows, width)
    return picked


def _tree(counts: list[int]) -> Array:
    """int64 (labels - 1, 2): Huffman's tree over labels, which come with the most frequent first."""
    labels = len(counts)
    totals = np.array(counts + [10**15] * (labels - 1), np.int64)
    children = np.zeros((labels - 1, 2), np.int64)
    leaf, node = labels - 1, labels
    for inner in range(labels - 1):
        for side in range(2):
            if leaf >= 0 and totals[leaf] < totals[node]:
                children[inner, side], leaf = leaf, leaf - 1
            else:
                children[inner, side], node = node, node + 1
        totals[labels + inner] = totals[children[inner]].sum()
    return children


def _word_table(words: list[bytes]) -> tuple[Array, Array]:
    size = 1 << (4 * len(words)).bit_length()
    rows, hashes = np.full(size, -1, np.int32), np.zeros(size, np.uint64)
    for row, word in enumerate(words):
        value = _FNV_BASIS
        for byte in word:
            value = ((value ^ byte) * _FNV_PRIME) & 0xFFFFFFFFFFFFFFFF
        place = value & (size - 1)
        while rows[place] >= 0:
            place = (place + 1) & (size - 1)
        rows[place], hashes[place] = row, value
    return rows, hashes


@numba.njit(cache=True, nogil=True)
def probabilities(line: Array, weights: Weights) -> Array:
    """float32 (labels,): the probability of each label for a line of UTF-8, as fastText predicts it.

    Words stand between white space of ASCII. A word that begins with ``__label__`` is one like others here.
    """
    total = weights.vectors[0].copy()  # The line's end is the first word of the dictionary.
    count = 1
    begin = 0
    for place in range(len(line) + 1):
        if place == len(line) or line[place] == 32 or (line[place] <= 13 and (line[place] >= 9 or line[place] == 0)):
            if place > begin:
                count += _add_word(line[begin:place], weights, total)
            begin = place + 1
    return _leaves(total / np.float32(count), weights.nodes, weights.children)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _add_word(word: Array, weights: Weights, total: Array) -> int:
    """Add the vectors of a word and its n-grams to a total; returns how many."""
    count = 0
    value = np.uint64(_FNV_BASIS)
    for byte in word:
        value = (value ^ np.uint64(byte)) * np.uint64(_FNV_PRIME)
    mask = len(weights.words) - 1
    place = np.int64(value & np.uint64(mask))
    while weights.words[place] >= 0:
        if weights.word_hashes[place] == value:
            total += weights.vectors[weights.words[place]]
            count = 1
            break
        place = (place + 1) & mask
    least, most = weights.sizes
    size = len(word) + 2
    for begin in range(size):
        if 0 < begin < size - 1 and word[begin - 1] & 0xC0 == 0x80:
            continue
        value32 = np.uint32(2166136261)
        end, characters = begin, 0
        while end < size and characters < most:
            # The word stands between angle brackets; the bytes of one character belong together.
            while True:
                byte = 60 if end == 0 else 62 if end == size - 1 else np.int64(word[end - 1])
                signed = byte - 256 if byte > 127 else byte
                value32 = np.uint32((value32 ^ np.uint32(signed & 0xFFFFFFFF)) * np.uint32(16777619))
                end += 1
                if end >= size - 1 or word[end - 1] & 0xC0 != 0x80:
                    break
            characters += 1
            if characters >= least and not (characters == 1 and (begin == 0 or end == size)):
                bucket = value32 % np.uint32(len(weights.buckets))
                if weights.present[bucket >> 3] >> (bucket & 7) & 1:
                    row = weights.buckets[bucket]
                    for dimension in range(len(total)):
                        total[dimension] += weights.vectors[row, dimension]
                    count += 1
    return count


@numba.njit(cache=True, nogil=True)
def _leaves(hidden: Array, nodes: Array, children: Array) -> Array:
    labels = len(nodes) + 1
    found = np.zeros(2 * labels - 1, np.float32)
    found[2 * labels - 2] = 1.0
    for inner in range(labels - 2, -1, -1):
        product = np.float32(0.0)
        for dimension in range(len(hidden)):
            product += nodes[inner, dimension] * hidden[dimension]
        right = 1.0 / (1.0 + np.exp(-product))
        # fastText adds 1e-5 before it takes the logarithm.
        found[children[inner, 0]] = found[labels + inner] * (1.0 - right + 1e-5)
        found[children[inner, 1]] = found[labels + inner] * (right + 1e-5)
    return found[:labels]
