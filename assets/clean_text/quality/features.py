"""Hashed features of a text: how often each word and pair of words occurs, by the share of all of them.

Words are ``tokens``: single characters where words are not spaced, so that Chinese is described by single Han
characters and pairs of them. A feature is the bucket that its hash falls into (Weinberger et al. 2009, "Feature hashing
for large scale multitask learning", without the sign); its value is the number of unigrams and bigrams of the text in
that bucket, divided by the number of all. So a score does not grow with the length of a text, as with fastText's
averages (Joulin et al. 2017, section 2).
"""

from __future__ import annotations

import numba
import numpy as np
import pyarrow as pa
from scipy.sparse import csr_matrix

from assets.clean_text.characters import Array
from assets.clean_text.tokens import BUFFERED, mix, scan_tokens, text_bytes, token_table

_PAIR = np.uint64(0x9E3779B97F4A7C15)


def hashed_features(texts: pa.StringArray, *, bits: int, tokens: int | None = None) -> csr_matrix:
    """float32 sparse matrix (n, 2 ** bits) with sorted indices; a row's values add up to 1, or are none.

    Args:
        texts: No nulls, (n,).
        bits: Of the number of buckets, at most 31.
        tokens: Describe only this many of each text's first words; None takes all.
    """
    data, offsets = text_bytes(texts)
    buckets, counts = _buckets(data, offsets, token_table(), np.uint64(64 - bits), tokens or (1 << 62))
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    values = np.repeat((1 / np.maximum(counts, 1)).astype(np.float32), counts)
    matrix = csr_matrix((values, buckets, starts), shape=(len(texts), 1 << bits))
    matrix.sum_duplicates()
    return matrix


def weighted_means(texts: pa.StringArray, weights: Array) -> Array:
    """float64 (n,): the features' product with the weights, without building them; 0 for a text without words.

    Args:
        texts: No nulls, (n,).
        weights: float32, as many as there are buckets, a power of two.
    """
    data, offsets = text_bytes(texts)
    shift = np.uint64(64 - (len(weights) - 1).bit_length())
    return _weighted_means(data, offsets, token_table(), shift, weights)


@numba.njit(cache=True, nogil=True)
def _buckets(data: Array, offsets: Array, table: Array, shift: np.uint64, most: int) -> tuple[Array, Array]:
    buckets, used = np.empty(max(2 * BUFFERED, (offsets[-1] - offsets[0]) // 2), np.int32), 0
    counts = np.zeros(len(offsets) - 1, np.int64)
    hashes, begins, stops = np.empty(BUFFERED, np.uint64), np.empty(BUFFERED, np.int64), np.empty(BUFFERED, np.int64)
    for text in range(len(offsets) - 1):
        position, end = offsets[text], offsets[text + 1]
        before, total = np.uint64(0), 0
        while position < end and total < most:
            count, position = scan_tokens(data, position, end, table, hashes, begins, stops)
            if used + 2 * count > len(buckets):
                grown = np.empty(2 * len(buckets), np.int32)
                grown[:used] = buckets[:used]
                buckets = grown
            for token in hashes[: min(count, most - total)]:
                buckets[used] = token >> shift
                used += 1
                if total:
                    buckets[used] = mix(before * _PAIR + token) >> shift
                    used += 1
                before = token
                total += 1
        counts[text] = max(0, 2 * total - 1)
    return buckets[:used].copy(), counts


@numba.njit(cache=True, nogil=True)
def _weighted_means(data: Array, offsets: Array, table: Array, shift: np.uint64, weights: Array) -> Array:
    means = np.zeros(len(offsets) - 1)
    hashes, begins, stops = np.empty(BUFFERED, np.uint64), np.empty(BUFFERED, np.int64), np.empty(BUFFERED, np.int64)
    for text in range(len(offsets) - 1):
        position, end = offsets[text], offsets[text + 1]
        before, total, sum_ = np.uint64(0), 0, 0.0
        while position < end:
            count, position = scan_tokens(data, position, end, table, hashes, begins, stops)
            for token in hashes[:count]:
                sum_ += weights[token >> shift]
                if total:
                    sum_ += weights[mix(before * _PAIR + token) >> shift]
                before = token
                total += 1
        if total:
            means[text] = sum_ / (2 * total - 1)
    return means
