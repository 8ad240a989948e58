"""The tokens of one text with their places, for compiled loops; tokens are those of ``assets.clean_text.tokens``."""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from assets.clean_text.characters import Array
from assets.clean_text.tokens import decode, scan_tokens

WORD = 2
"""Weight of a word. A character that is a token of its own weighs 1: a Chinese text has about twice as many characters
as its English translation has words."""

_ALONE_BIT = np.uint32(31)


class Tokens(NamedTuple):
    """The n tokens of a text.

    Attributes:
        hashes: uint64 (n,).
        starts: int64 (n,): where they begin, in the bytes that were read.
        ends: int64 (n,): where they end.
        weights: int64 (n + 1,): weight of all tokens before each, and of all.
    """

    hashes: Array
    starts: Array
    ends: Array
    weights: Array


@numba.njit(cache=True, nogil=True)
def read_tokens(data: Array, begin: int, end: int, table: Array) -> Tokens:
    """The tokens of ``data[begin:end]``.

    Args:
        data: uint8, UTF-8.
        begin: Where the text begins.
        end: Where it ends.
        table: ``tokens.token_table()``.
    """
    # A token and what parts it from the next take two bytes, or more.
    room = (end - begin) // 2 + 3
    hashes, starts, ends = np.empty(room, np.uint64), np.empty(room, np.int64), np.empty(room, np.int64)
    count, _ = scan_tokens(data, begin, end, table, hashes, starts, ends)
    weights = np.empty(count + 1, np.int64)
    weights[0] = 0
    for token in range(count):
        point, _ = decode(data, starts[token], end)
        weights[token + 1] = weights[token] + (1 if table[point] >> _ALONE_BIT else WORD)
    return Tokens(hashes[:count], starts[:count], ends[:count], weights)


@numba.njit(cache=True, nogil=True)
def window_stops(weights: Array, least: int) -> Array:
    """int64: for each token from which tokens of that weight follow, the token after the shortest such window."""
    stops = np.empty(len(weights), np.int64)
    count = stop = 0
    for first in range(len(weights) - 1):
        while stop < len(weights) and weights[stop] - weights[first] < least:
            stop += 1
        if stop == len(weights):
            break
        stops[count] = stop
        count += 1
    return stops[:count]


@numba.njit(cache=True, nogil=True)
def window_hashes(hashes: Array, stops: Array, base: np.uint64) -> Array:
    """uint64: a polynomial modulo 2^64 over the token hashes of each window, rolled from one to the next.

    Args:
        hashes: uint64, of the tokens.
        stops: ``window_stops``.
        base: Odd.
    """
    result = np.empty(len(stops), np.uint64)
    if not len(stops):
        return result
    longest = 0
    for first in range(len(stops)):
        longest = max(longest, stops[first] - first)
    powers = np.empty(longest + 1, np.uint64)
    powers[0] = 1
    for exponent in range(longest):
        powers[exponent + 1] = powers[exponent] * base
    value, stop = np.uint64(0), 0
    for first in range(len(stops)):
        while stop < stops[first]:
            value = value * base + hashes[stop]
            stop += 1
        result[first] = value
        value -= hashes[first] * powers[stop - first - 1]
    return result
