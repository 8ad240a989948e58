"""Counts the characters of each class, in one pass over the bytes."""

from __future__ import annotations

from collections.abc import Sequence

import numba
import numpy as np

from assets.clean_text.kernels.buffers import Array


def count_characters(data: Array, offsets: Array, bits: Array) -> Array:
    """int64 (n, 33): for each of n texts the characters with each of the 32 class bits, and last all characters.

    Args:
        data: uint8, as ``buffers.utf8`` gives it.
        offsets: int64 (n + 1,).
        bits: ``unicode_tables.character_bits()``.
    """
    counts: Array = _count(data, offsets, bits)
    return counts


def count_marks(data: Array, offsets: Array, wanted: Sequence[str]) -> Array:
    """int64 (n, k): how often each of k short strings occurs in each text, without overlap with itself."""
    columns = [_occurrences(data, offsets, np.frombuffer(mark.encode(), np.uint8)) for mark in wanted]
    return np.stack(columns, axis=1) if columns else np.zeros((len(offsets) - 1, 0), np.int64)


@numba.njit(cache=True, nogil=True)
def _count(data, offsets, bits):  # type: ignore[no-untyped-def]
    texts = len(offsets) - 1
    result = np.zeros((texts, 33), np.int64)
    histogram = np.zeros(128, np.int64)
    for text in range(texts):
        histogram[:] = 0
        at, stop = offsets[text], offsets[text + 1]
        total = 0
        while at < stop:
            byte = data[at]
            total += 1
            if byte < 128:
                histogram[byte] += 1
                at += 1
                continue
            if byte < 224:
                code = ((byte & 31) << 6) | (data[at + 1] & 63)
                at += 2
            elif byte < 240:
                code = ((byte & 15) << 12) | ((data[at + 1] & 63) << 6) | (data[at + 2] & 63)
                at += 3
            else:
                code = (
                    ((byte & 7) << 18) | ((data[at + 1] & 63) << 12) | ((data[at + 2] & 63) << 6) | (data[at + 3] & 63)
                )
                at += 4
            kind = bits[code]
            place = 0
            while kind:
                if kind & np.uint32(1):
                    result[text, place] += 1
                kind >>= np.uint32(1)
                place += 1
        for code in range(128):
            if histogram[code]:
                kind = bits[code]
                for place in range(32):
                    if kind >> np.uint32(place) & np.uint32(1):
                        result[text, place] += histogram[code]
        result[text, 32] = total
    return result


@numba.njit(cache=True, nogil=True)
def _occurrences(data, offsets, mark):  # type: ignore[no-untyped-def]
    result = np.zeros(len(offsets) - 1, np.int64)
    size = len(mark)
    for text in range(len(offsets) - 1):
        at, stop = offsets[text], offsets[text + 1] - size + 1
        while at < stop:
            if data[at] == mark[0]:
                same = 1
                while same < size and data[at + same] == mark[same]:
                    same += 1
                if same == size:
                    result[text] += 1
                    at += size
                    continue
            at += 1
    return result
