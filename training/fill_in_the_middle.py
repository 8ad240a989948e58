"""Fill in the middle: a document is rearranged so that the model learns to write what stands between two parts.

Bavarian et al. 2022, "Efficient Training of Language Models to Fill in the Middle" (arXiv:2207.14255): a piece is cut
at two random places into prefix, middle and suffix, and read, with three sentinel tokens, as (section 3)

    prefix-suffix-middle:  <prefix> P <suffix> S <middle> M
    suffix-prefix-middle:  <prefix> <suffix> S <middle> P M

Cuts are between tokens. A row stays as long as it is: the piece loses three tokens at its end for the sentinels.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]

SENTINELS = 3
SENTINEL = -2
"""The position of a token that stands in no document: a sentinel."""
_SHORTEST = 2 * SENTINELS + 2


@dataclass(frozen=True)
class FillInTheMiddle:
    """How often, and with which tokens.

    Attributes:
        rate: Share of the pieces that are rearranged.
        suffix_first: Share of them in the order suffix, prefix, middle.
        prefix, middle, suffix: Ids of the sentinels.
        seed: Another seed, other pieces and cuts.
    """

    rate: float
    suffix_first: float
    prefix: int
    middle: int
    suffix: int
    seed: int

    def rearrange(
        self, tokens: Integers, positions: Integers, *, end_of_document: int, key: tuple[int | str, ...]
    ) -> tuple[Integers, Integers]:
        """A row's targets and where they stand in the split, rearranged piece by piece.

        Args:
            tokens: int64 [context], targets of a row; end-of-document ids end its pieces.
            positions: int64 [context], position of each in the split, negative where it is in none.
            end_of_document: The id that stays where it is.
            key: Names the row; the same key gives the same cuts.

        Returns:
            Both of the same shape; sentinels have the position ``SENTINEL``.
        """
        tokens, positions = tokens.copy(), positions.copy()
        ends = np.flatnonzero(tokens == end_of_document)
        begins = np.concatenate(([0], ends + 1))
        for number, (begin, end) in enumerate(zip(begins.tolist(), [*ends.tolist(), tokens.size], strict=True)):
            chance, order, *cuts = _uniform(self.seed, *key, number)
            if end - begin < _SHORTEST or chance >= self.rate:
                continue
            length = end - begin - SENTINELS
            first, second = sorted(int(cut * (length + 1)) for cut in cuts)
            piece = np.arange(begin, begin + length)
            prefix, middle, suffix = piece[:first], piece[first:second], piece[second:]
            mark = [np.asarray([-1 - sentinel]) for sentinel in (self.prefix, self.middle, self.suffix)]
            if order < self.suffix_first:
                parts = [mark[0], mark[2], suffix, mark[1], prefix, middle]
            else:
                parts = [mark[0], prefix, mark[2], suffix, mark[1], middle]
            source = np.concatenate(parts)
            from_row, places = source >= 0, np.maximum(source, 0)
            tokens[begin:end], positions[begin:end] = (
                np.where(from_row, tokens[places], -1 - source),
                np.where(from_row, positions[places], SENTINEL),
            )
        return tokens, positions


def _uniform(*key: int | str) -> list[float]:
    """Four numbers in [0, 1) from a key."""
    digest = hashlib.blake2b(repr(key).encode(), digest_size=32).digest()
    return [int(value) / 2**64 for value in np.frombuffer(digest, dtype="<u8")]
