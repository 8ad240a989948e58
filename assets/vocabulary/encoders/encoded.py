"""What an encoder is."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Texts = pa.StringArray | pa.LargeStringArray


class EncodedTexts(NamedTuple):
    """Ids of texts: ``ids`` uint32 [tokens], and ``offsets`` int64 [texts + 1] where each text's begin in it."""

    ids: npt.NDArray[np.uint32]
    offsets: npt.NDArray[np.int64]


class UnsuitableError(ValueError):
    """An encoder is not made for a vocabulary; the message says why."""


class Encoder(Protocol):
    """From texts to ids, of one vocabulary.

    Attributes:
        name: For people.
    """

    name: str

    def encode(self, texts: Texts) -> EncodedTexts:
        """Ids of texts without nulls. A special token's name in a text is text like any other."""
