"""Which window of which source the n-th training sample is: a pure function of counts, weights and a seed.

Windows. A source's training tokens are read as one endless ring: after the last document the first one follows. The
ring is cut every ``context`` tokens, and a window is ``context + 1`` tokens from there: inputs are its first
``context`` tokens, targets its last ``context``, so neighbouring windows share one token, and no token is a target
twice in one pass. A pass (an epoch) is ``tokens // context`` windows; the next one goes on where it ended, therefore
cuts elsewhere, and no token is left out for good.

Order. Samples come in blocks. In each block every source has the same number of samples, its share of the weights;
their order in the block is a keyed shuffle. The k-th sample of a source, over all blocks, is window
``permutation(k)`` of its epoch, a keyed permutation that is computed, not stored. So any sample can be asked for at
once, a resume is one integer, and neither ranks nor micro-batches have a part in it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]

_ROUNDS = 6
_SMALLEST_BLOCK = 1 << 10
_LARGEST_BLOCK = 1 << 20
_SMALLEST_QUOTA = 16


class SampleOrderError(ValueError):
    """There is no order for these sources and weights; the message says which and why."""


class Sample(NamedTuple):
    """One training sample: window ``window`` of epoch ``epoch`` of source ``source``, all counted from 0."""

    source: int
    epoch: int
    window: int


class Samples(NamedTuple):
    """Consecutive samples as three int64 arrays of one length; see ``Sample``."""

    source: Integers
    epoch: Integers
    window: Integers


def window_count(tokens: int, context: int) -> int:
    """Windows of one epoch over a source of that many tokens; 0 if it holds no window of ``context + 1``."""
    return tokens // context if tokens > context else 0


def window_start(epoch: int, window: int, *, tokens: int, context: int) -> int:
    """Position of the window's first token in the source; the window may run over the end to the beginning."""
    return (epoch * window_count(tokens, context) + window) * context % tokens


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


class SampleOrder:
    """The order of all training samples, endless.

    Attributes:
        windows: Windows of one epoch, by source.
        quotas: Samples of each source in one block; they add up to ``block``.
        block: Samples in a block: a power of two, 1,024 unless a source's share is too small for it.
        seed: Another seed, another order.
    """

    def __init__(self, windows: Sequence[int], weights: Sequence[float], *, seed: int) -> None:
        """Take each source's windows of one epoch and its weight in the mixture; weights need not add up to 1.

        Raises:
            SampleOrderError: If there is no source, a source without a window, or a weight that is not positive
                or smaller than a millionth of all.
        """
        if not windows or len(windows) != len(weights):
            raise SampleOrderError(f"{len(windows)} sources and {len(weights)} weights: one weight for each source")
        for source, (count, weight) in enumerate(zip(windows, weights, strict=True)):
            if count < 1:
                raise SampleOrderError(f"source {source} has no window: the context is longer than its training data")
            if not 0 < weight < float("inf"):
                raise SampleOrderError(f"source {source} has weight {weight}: weights are greater than 0")
        self.windows = tuple(windows)
        self.seed = seed
        shares = np.asarray(weights, dtype=np.float64) / sum(weights)
        self.block = _block_size(float(shares.min()))
        self.quotas = _quotas(shares, self.block)
        self._block_sources = lru_cache(maxsize=4)(self._shuffled_sources)
        self._permutation = lru_cache(maxsize=4 * len(windows) + 4)(self._epoch_permutation)

    def sample(self, number: int) -> Sample:
        """The sample of that number (0, 1, 2, ...)."""
        samples = self.samples(number, 1)
        return Sample(int(samples.source[0]), int(samples.epoch[0]), int(samples.window[0]))

    def samples(self, first: int, count: int) -> Samples:
        """The samples ``first`` to ``first + count - 1``."""
        numbers = np.arange(first, first + count, dtype=np.int64)
        sources = np.empty(count, dtype=np.int64)
        ordinals = np.empty(count, dtype=np.int64)
        for block in range(first // self.block, -(-(first + count) // self.block)):
            chosen = numbers // self.block == block
            within = numbers[chosen] - block * self.block
            block_sources, ranks = self._block_sources(block)
            sources[chosen] = block_sources[within]
            ordinals[chosen] = block * self.quotas[block_sources[within]] + ranks[within]
        sizes = np.asarray(self.windows, dtype=np.int64)[sources]
        epochs, places = ordinals // sizes, ordinals % sizes
        windows = np.empty(count, dtype=np.int64)
        for source, epoch in sorted(set(zip(sources.tolist(), epochs.tolist(), strict=True))):
            chosen = (sources == source) & (epochs == epoch)
            windows[chosen] = self._permutation(source, epoch)(places[chosen])
        return Samples(sources, epochs, windows)

    def number(self, sample: Sample) -> int:
        """The one number at which this sample comes: the inverse of ``sample``."""
        place = int(self._permutation(sample.source, sample.epoch).inverse(sample.window))
        ordinal = sample.epoch * self.windows[sample.source] + place
        block, rank = divmod(ordinal, int(self.quotas[sample.source]))
        block_sources, _ = self._block_sources(block)
        return block * self.block + int(np.flatnonzero(block_sources == sample.source)[rank])

    def epochs(self, samples: int) -> list[float]:
        """How many passes over each source the first ``samples`` samples make."""
        shares = self.quotas / self.block
        return [samples * float(share) / count for share, count in zip(shares, self.windows, strict=True)]

    def _shuffled_sources(self, block: int) -> tuple[Integers, Integers]:
        """For each sample of the block, its source, and how many samples of that source precede it in the block."""
        shuffle = KeyedPermutation(self.block, "block", self.seed, block)(np.arange(self.block))
        sources = np.repeat(np.arange(len(self.windows)), self.quotas)[shuffle]
        ranks = np.empty_like(sources)
        ranks[np.argsort(sources, kind="stable")] = np.concatenate([np.arange(quota) for quota in self.quotas])
        return sources, ranks

    def _epoch_permutation(self, source: int, epoch: int) -> KeyedPermutation:
        return KeyedPermutation(self.windows[source], "epoch", self.seed, source, epoch)


def _block_size(smallest_share: float) -> int:
    block = _SMALLEST_BLOCK
    while block * smallest_share < _SMALLEST_QUOTA and block < _LARGEST_BLOCK:
        block *= 2
    if block * smallest_share < 1:
        raise SampleOrderError(
            f"a source's weight is {smallest_share:.2g} of all weights, less than one sample in {block}; "
            "raise it or leave the source out"
        )
    return block


def _quotas(shares: npt.NDArray[np.float64], block: int) -> Integers:
    """Whole numbers nearest to ``shares * block`` that add up to ``block``: largest remainders first."""
    exact = shares * block
    quotas = np.floor(exact).astype(np.int64)
    missing = block - int(quotas.sum())
    largest = np.argsort(quotas - exact, kind="stable")[:missing]
    quotas[largest] += 1
    return quotas


def _digest(*key: int | str) -> bytes:
    return hashlib.blake2b(repr(key).encode(), digest_size=8 * _ROUNDS).digest()


def _mix(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The finaliser of SplitMix64 (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators")."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
