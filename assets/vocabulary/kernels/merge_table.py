"""The ranks of a vocabulary's merges, by their two ids, in a table where every pair has one place of its own.

A pair's hash names a bucket, the bucket's seed and the hash a slot. The seeds are chosen so that no two pairs share a
slot (hash and displace: Belazzougui, Botelho, Dietzfelbinger 2009, "Hash, displace, and compress", section 2): a
lookup is the same few steps whether the pair is there or not, and most pairs of neighbours in a text are not.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from assets.clean_text.kernels.compiled import compiled, inlined

ID_BITS = 20
NO_ID = (1 << ID_BITS) - 1
"""All ids are lower."""
RANK_BITS = 23
NO_RANK = (1 << RANK_BITS) - 1
"""Of a pair that is not merged; all ranks are lower."""
FREE = (1 << 63) - 1
"""Where nothing is: a slot of this table, a character that may not be merged first."""
_FACTOR = -7046029254386353131
"""An odd number of no meaning, as a signed one: products wrap around."""
_SLOT_BIT, _BUCKET_BIT = 40, 44
"""Where in a hash the slot and the bucket begin."""
_SEEDS = 1 << 16
_SLOTS_A_BUCKET = 8


def merge_table(pairs: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint16]]:
    """The slots, int64 [a power of two], and the seeds, uint16 [buckets, a power of two].

    Args:
        pairs: int64 [merges, 2] in the order of their ranks, none twice.
    """
    keys = pairs[:, 0] << ID_BITS | pairs[:, 1]
    slots = 1 << (2 * len(keys)).bit_length()
    while True:
        merges = np.full(slots, FREE, dtype=np.int64)
        seeds = np.zeros(max(1, slots // _SLOTS_A_BUCKET), dtype=np.uint16)
        buckets = (keys * np.int64(_FACTOR)) >> _BUCKET_BIT & (len(seeds) - 1)
        # The fullest first, while most slots are free.
        order = np.lexsort((buckets, -np.bincount(buckets, minlength=len(seeds))[buckets]))
        begins = np.flatnonzero(np.diff(buckets[order], prepend=-1, append=-1))
        if _fill(keys[order], order, begins, merges, seeds):
            return merges, seeds
        slots *= 2


@inlined
def rank_of(merges: Any, seeds: Any, left: int, right: int) -> Any:
    """Rank of a pair of ids; ``NO_RANK`` if it is not merged.

    Args:
        merges, seeds: See ``merge_table``.
        left, right: Two ids, or ``NO_ID``.
    """
    key = int(left) << ID_BITS | int(right)
    seed = int(seeds[_bucket(key, len(seeds))])
    entry = int(merges[_slot(key, seed, len(merges))])
    # What is left of another pair's entry, or of a free slot, has bits above those of a rank.
    return min(NO_RANK, entry ^ key << RANK_BITS)


@inlined
def _bucket(key: int, buckets: int) -> Any:
    return key * _FACTOR >> _BUCKET_BIT & (buckets - 1)


@inlined
def _slot(key: int, seed: int, slots: int) -> Any:
    return (key * _FACTOR ^ seed) * _FACTOR >> _SLOT_BIT & (slots - 1)


@compiled
def _fill(keys: Any, ranks: Any, begins: Any, merges: Any, seeds: Any) -> Any:
    """Find a seed for each bucket, whose keys lie between two of ``begins``; whether there is one for each."""
    for group in range(len(begins) - 1):
        begin, end = begins[group], begins[group + 1]
        seed, placed = 0, begin
        while placed < end:
            if seed == _SEEDS:
                return False
            placed = begin
            while placed < end:
                slot = _slot(keys[placed], seed, len(merges))
                if merges[slot] != FREE:
                    break
                merges[slot] = keys[placed] << RANK_BITS | ranks[placed]
                placed += 1
            if placed < end:
                for number in range(begin, placed):
                    merges[_slot(keys[number], seed, len(merges))] = FREE
                seed += 1
        seeds[_bucket(keys[begin], len(seeds))] = seed
    return True
