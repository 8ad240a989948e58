"""How varied the characters of a text are, and how many windows of them repeat."""

from __future__ import annotations

import numba
import numpy as np

from assets.clean_text.kernels.buffers import Array
from assets.clean_text.kernels.lines import _decode, _seen_before, _stamp
from assets.clean_text.kernels.unicode_tables import SPACE, character_bits

VARIETY_CHARACTERS = 1 << 12
"""Characters over which variety is measured, white space left out: of a longer text it would say its length."""

WINDOW_CHARACTERS = 1 << 20
"""Characters over which repeated windows are counted, white space left out."""

_BASE = np.uint64(0x9E3779B97F4A7C15)


def character_variety(data: Array, offsets: Array) -> tuple[Array, Array, Array]:
    """Of the first ``VARIETY_CHARACTERS`` of each of n texts, white space left out: float64 (n,) each.

    Returns:
        Different characters, Shannon entropy of their frequencies in bits, and all characters.
    """
    distinct, entropy, visible = _variety(data, offsets, character_bits()).T.copy()
    return distinct, entropy, visible


def repeated_windows(data: Array, offsets: Array, *, width: int) -> tuple[Array, Array]:
    """Windows of ``width`` characters in each of n texts, and those that stand in the text before: int64 (n,)."""
    windows, repeated = _windows(data, offsets, character_bits(), width).T.copy()
    return windows, repeated


@numba.njit(cache=True, nogil=True)
def _size(byte):  # type: ignore[no-untyped-def]
    return 1 if byte < 128 else 2 if byte < 224 else 3 if byte < 240 else 4


@numba.njit(cache=True, nogil=True)
def _variety(data, offsets, bits):  # type: ignore[no-untyped-def]
    texts = len(offsets) - 1
    result = np.zeros((texts, 3), np.float64)
    counts = np.zeros(0x110000, np.int32)
    seen = np.empty(VARIETY_CHARACTERS, np.uint32)
    for text in range(texts):
        at, stop = offsets[text], offsets[text + 1]
        visible = 0
        distinct = 0
        while at < stop and visible < VARIETY_CHARACTERS:
            code = _decode(data, at)
            at += _size(data[at])
            if bits[code] & SPACE:
                continue
            visible += 1
            if counts[code] == 0:
                seen[distinct] = code
                distinct += 1
            counts[code] += 1
        entropy = 0.0
        # In order of frequency, so that the sum does not depend on the order of the characters.
        frequencies = np.empty(distinct, np.int32)
        for place in range(distinct):
            frequencies[place] = counts[seen[place]]
            counts[seen[place]] = 0
        frequencies.sort()
        for place in range(distinct):
            share = frequencies[place] / visible
            entropy -= share * np.log2(share)
        result[text, 0] = distinct
        result[text, 1] = max(entropy, 0.0)
        result[text, 2] = visible
    return result


@numba.njit(cache=True, nogil=True)
def _windows(data, offsets, bits, width):  # type: ignore[no-untyped-def]
    texts = len(offsets) - 1
    result = np.zeros((texts, 2), np.int64)
    longest = 0
    for text in range(texts):
        longest = max(longest, min(offsets[text + 1] - offsets[text], WINDOW_CHARACTERS))
    size = 16
    while size < 4 * longest:
        size *= 2
    table = np.zeros(size, np.uint64)
    codes = np.empty(longest + 1, np.uint64)
    leaving = np.uint64(1)
    for _ in range(width):
        leaving *= _BASE
    for text in range(texts):
        at, stop = offsets[text], offsets[text + 1]
        stamp = _stamp(table, text)
        mask = 16
        while mask < 4 * min(stop - at, WINDOW_CHARACTERS):
            mask *= 2
        mask -= 1
        visible = repeated = 0
        rolled = np.uint64(0)
        while at < stop and visible < WINDOW_CHARACTERS:
            byte = data[at]
            if byte < 128:
                code = np.uint32(byte)
                at += 1
            else:
                code = _decode(data, at)
                at += _size(byte)
            if bits[code] & SPACE:
                continue
            codes[visible] = np.uint64(code) + np.uint64(1)
            rolled = rolled * _BASE + codes[visible]
            if visible >= width:
                rolled -= codes[visible - width] * leaving
            visible += 1
            if visible >= width:
                repeated += _seen_before(table, stamp, rolled, mask)
        result[text, 0] = max(visible - width + 1, 0)
        result[text, 1] = repeated
    return result
