"""Permutations that are computed, not stored: where the n-th value goes is a function of a key."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from functools import lru_cache
from typing import Protocol

import numpy as np
import numpy.typing as npt

from training.settings import SettingsError

Integers = npt.NDArray[np.int64]

_ROUNDS = 6
_CHUNKS_MIXED = 16


class SampleOrderError(SettingsError):
    """There is no order for these sources and settings; the message says which and why."""


class Permutation(Protocol):
    """A bijection of 0 .. size - 1."""

    size: int

    def __call__(self, values: npt.ArrayLike) -> Integers:
        """Where each of ``values`` (int64, any shape, below ``size``) goes to; same shape."""

    def inverse(self, values: npt.ArrayLike) -> Integers:
        """What goes to each of ``values``; same shape."""


class KeyedPermutation:
    """A permutation of 0 .. size - 1 chosen by a key, evaluated anywhere without being stored.

    A Feistel network on pairs (a, b) with additions modulo the two sides, walked until the value is below ``size``:
    Black and Rogaway, "Ciphers with Arbitrary Finite Domains" (2002), sections 4 and 5.
    """

    def __init__(self, size: int, *key: int | str) -> None:
        """Raises SampleOrderError if ``size`` is not in 1 .. 2**62."""
        if not 1 <= size <= 1 << 62:
            raise SampleOrderError(f"no permutation of {size} values")
        self.size = size
        self._left = np.uint64(math.isqrt(size - 1) + 1)
        self._right = np.uint64(-(-size // int(self._left)))
        self._keys = np.frombuffer(_digest(*key), dtype="<u8")[:_ROUNDS]

    def __call__(self, values: npt.ArrayLike) -> Integers:
        """Where each of ``values`` (int64, any shape, below ``size``) goes to; same shape."""
        return self._walk(values, self._forward)

    def inverse(self, values: npt.ArrayLike) -> Integers:
        """What goes to each of ``values``; same shape."""
        return self._walk(values, self._backward)

    def _walk(
        self, values: npt.ArrayLike, step: Callable[[npt.NDArray[np.uint64]], npt.NDArray[np.uint64]]
    ) -> Integers:
        given = np.asarray(values, dtype=np.int64)
        result = step(given.astype(np.uint64).ravel())
        outside = np.flatnonzero(result >= self.size)
        while outside.size:
            result[outside] = step(result[outside])
            outside = outside[result[outside] >= self.size]
        return result.astype(np.int64).reshape(given.shape)

    def _forward(self, values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
        left, right = values // self._right, values % self._right
        for number, key in enumerate(self._keys):
            if number % 2 == 0:
                left = (left + _mix(right ^ key) % self._left) % self._left
            else:
                right = (right + _mix(left ^ key) % self._right) % self._right
        return left * self._right + right

    def _backward(self, values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
        left, right = values // self._right, values % self._right
        for number in reversed(range(_ROUNDS)):
            key = self._keys[number]
            if number % 2 == 0:
                left = (left + self._left - _mix(right ^ key) % self._left) % self._left
            else:
                right = (right + self._right - _mix(left ^ key) % self._right) % self._right
        return left * self._right + right


class ChunkedPermutation:
    """A permutation that stays near for a while: chunks in random order, sixteen of them mixed at a time.

    For data of which a part is fetched at once: consecutive values lie in sixteen chunks, then in sixteen others. The
    values behind the last whole chunk come at the end, mixed among themselves.
    """

    def __init__(self, size: int, chunk: int, *key: int | str) -> None:
        """Raises SampleOrderError if ``size`` or ``chunk`` is not positive."""
        if size < 1 or chunk < 1:
            raise SampleOrderError(f"no permutation of {size} values in chunks of {chunk}")
        self.size = size
        self._chunk = chunk
        self._chunks = size // chunk
        self._whole = self._chunks * chunk
        self._key = key
        self._order = KeyedPermutation(max(1, self._chunks), *key, "chunks")
        self._mixing = lru_cache(maxsize=8)(self._group_permutation)

    def __call__(self, values: npt.ArrayLike) -> Integers:
        """Where each of ``values`` (int64, any shape, below ``size``) goes to; same shape."""
        given = np.asarray(values, dtype=np.int64)
        flat = given.ravel()
        result = np.empty_like(flat)
        groups = self._groups(flat)
        for group in np.unique(groups).tolist():
            chosen = groups == group
            start = group * _CHUNKS_MIXED * self._chunk if group >= 0 else self._whole
            mixed = self._mixing(group)(flat[chosen] - start)
            if group >= 0:
                places, within = mixed // self._chunk, mixed % self._chunk
                result[chosen] = self._order(group * _CHUNKS_MIXED + places) * self._chunk + within
            else:
                result[chosen] = self._whole + mixed
        return result.reshape(given.shape)

    def inverse(self, values: npt.ArrayLike) -> Integers:
        """What goes to each of ``values``; same shape."""
        given = np.asarray(values, dtype=np.int64)
        flat = given.ravel()
        result = np.empty_like(flat)
        tail = flat >= self._whole
        if tail.any():
            result[tail] = self._whole + self._mixing(-1).inverse(flat[tail] - self._whole)
        if not tail.all():
            places = self._order.inverse(flat[~tail] // self._chunk)
            groups, within = places // _CHUNKS_MIXED, places % _CHUNKS_MIXED
            mixed = within * self._chunk + flat[~tail] % self._chunk
            before = np.empty_like(mixed)
            for group in np.unique(groups).tolist():
                chosen = groups == group
                start = group * _CHUNKS_MIXED * self._chunk
                before[chosen] = start + self._mixing(group).inverse(mixed[chosen])
            result[~tail] = before
        return result.reshape(given.shape)

    def _groups(self, values: Integers) -> Integers:
        """Number of the group of chunks that a value comes from, -1 for those behind the last whole chunk."""
        return np.where(values < self._whole, values // (_CHUNKS_MIXED * self._chunk), -1)

    def _group_permutation(self, group: int) -> KeyedPermutation:
        if group < 0:
            return KeyedPermutation(self.size - self._whole, *self._key, "tail")
        chunks = min(_CHUNKS_MIXED, self._chunks - group * _CHUNKS_MIXED)
        return KeyedPermutation(chunks * self._chunk, *self._key, "group", group)


def _digest(*key: int | str) -> bytes:
    return hashlib.blake2b(repr(key).encode(), digest_size=8 * _ROUNDS).digest()


def _mix(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The finaliser of SplitMix64 (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators")."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
