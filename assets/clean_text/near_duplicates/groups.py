"""Pairs within groups of documents that agree in a band, from one sorted stream: a few rows in memory, not a group."""

from __future__ import annotations

import numba
import numpy as np

from assets.clean_text.kernels.buffers import Array


class Groups:
    """Takes rows (hash, rank, shingles) in the order of hash and rank, batch by batch, and gives pairs of ranks.

    Each row is paired with all before it in its group if these are no more than ``comparisons``, else with the first
    half as many. Pairs whose numbers of shingles exclude the threshold are left out.

    Args:
        comparisons: Most pairs a row is the second of.
        threshold: Least Jaccard similarity.
    """

    def __init__(self, *, comparisons: int, threshold: float) -> None:
        self._threshold = threshold
        self._half = comparisons // 2
        self._ranks = np.zeros(comparisons + 1, np.int64)
        self._shingles = np.zeros(comparisons + 1, np.int64)
        self._state = np.zeros(1, np.int64)
        self._hash = np.zeros(1, np.uint64)

    def add(self, hashes: Array, ranks: Array, shingles: Array) -> tuple[Array, Array]:
        """Work on more rows.

        Returns:
            int64 (pairs, 2), the lower rank first; and uint64: hashes of groups that are now found to be larger.
        """
        pairs = np.empty((len(hashes) * len(self._ranks), 2), np.int64)
        large = np.empty(len(hashes), np.uint64)
        found, exceeding = _pair(
            hashes, ranks, shingles, self._hash, self._state, self._ranks, self._shingles, self._half, self._threshold,
            pairs, large,
        )  # fmt: skip
        return pairs[:found].copy(), large[:exceeding].copy()


class Neighbours:
    """Takes rows (hash, rank, shingles) in the order of hash and shingles, and pairs each with those just before it.

    Args:
        width: How many rows before.
        threshold: Least Jaccard similarity.
    """

    def __init__(self, *, width: int, threshold: float) -> None:
        self._threshold = threshold
        self._ranks = np.zeros(width, np.int64)
        self._shingles = np.zeros(width, np.int64)
        self._state = np.zeros(1, np.int64)
        self._hash = np.zeros(1, np.uint64)

    def add(self, hashes: Array, ranks: Array, shingles: Array) -> Array:
        """Work on more rows; returns int64 (pairs, 2), the lower rank first."""
        pairs = np.empty((len(hashes) * len(self._ranks), 2), np.int64)
        found = _pair_neighbours(
            hashes, ranks, shingles, self._hash, self._state, self._ranks, self._shingles, self._threshold, pairs
        )
        return pairs[:found].copy()


@numba.njit(cache=True, nogil=True)
def _can_be_similar(first, second, threshold):  # type: ignore[no-untyped-def]
    return min(first, second) >= threshold * max(first, second)


@numba.njit(cache=True, nogil=True)
def _pair(  # type: ignore[no-untyped-def]
    hashes, ranks, shingles, group, size, first_ranks, first_shingles, half, threshold, pairs, large
):
    found = exceeding = 0
    for row in range(len(hashes)):
        if hashes[row] != group[0]:
            group[0] = hashes[row]
            size[0] = 0
        place = size[0]
        size[0] += 1
        partners = place
        if place < len(first_ranks):
            first_ranks[place] = ranks[row]
            first_shingles[place] = shingles[row]
        else:
            partners = half
            if place == len(first_ranks):
                large[exceeding] = hashes[row]
                exceeding += 1
        for partner in range(partners):
            if _can_be_similar(first_shingles[partner], shingles[row], threshold):
                pairs[found, 0] = first_ranks[partner]
                pairs[found, 1] = ranks[row]
                found += 1
    return found, exceeding


@numba.njit(cache=True, nogil=True)
def _pair_neighbours(  # type: ignore[no-untyped-def]
    hashes, ranks, shingles, group, size, last_ranks, last_shingles, threshold, pairs
):
    found = 0
    for row in range(len(hashes)):
        if hashes[row] != group[0]:
            group[0] = hashes[row]
            size[0] = 0
        for partner in range(min(size[0], len(last_ranks))):
            if _can_be_similar(last_shingles[partner], shingles[row], threshold):
                pairs[found, 0] = min(last_ranks[partner], ranks[row])
                pairs[found, 1] = max(last_ranks[partner], ranks[row])
                found += 1
        place = size[0] % len(last_ranks)
        last_ranks[place] = ranks[row]
        last_shingles[place] = shingles[row]
        size[0] += 1
    return found
