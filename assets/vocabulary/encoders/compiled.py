"""Our own encoder: byte-level BPE over the pattern corpusline, compiled, on the bytes of Arrow's texts."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from assets.clean_text.kernels.buffers import utf8
from assets.vocabulary.encoders.encoded import EncodedTexts, Texts
from assets.vocabulary.encoders.tables import EncoderTables, encoder_tables
from assets.vocabulary.kernels.encoding import SPARE, encode_texts
from assets.vocabulary.patterns import LONGEST_RUN

_SLOTS = 1 << 20
_BYTES_OF_A_CHARACTER = 4
_ROOM = 1 << 21
"""Bytes of texts for which there is room from one call to the next: memory that is new each time costs a tenth."""


class CompiledEncoder:
    """Encodes by the tables of one vocabulary, in one thread at a time; see ``assets.vocabulary.kernels.encoding``.

    Attributes:
        name: For people.
    """

    name = "compiled"

    def __init__(self, definition: dict[str, Any], *, slots: int = _SLOTS) -> None:
        """Take the content of a ``tokenizer.json``.

        Args:
            definition: As parsed.
            slots: Rows of the table of pieces, a power of two.

        Raises:
            UnsuitableError: If it is another kind of vocabulary, or text is cut by another pattern.
        """
        self._take(encoder_tables(definition), slots)

    def twin(self) -> CompiledEncoder:
        """Another one of the same vocabulary, for another thread: what it has seen is its own."""
        twin = object.__new__(CompiledEncoder)
        twin._take(self._tables, len(self._table))
        return twin

    def _take(self, tables: EncoderTables, slots: int) -> None:
        self._tables = tables
        longest = _BYTES_OF_A_CHARACTER * max(LONGEST_RUN, *tables.pattern.tolist()) + 1
        self._table = np.zeros((slots, 4), dtype=np.int64)
        self._kept_bytes = np.empty(max(4 * slots, longest), dtype=np.uint8)
        self._kept_ids = np.empty(max(4 * slots, longest), dtype=np.uint32)
        self._used = np.zeros(3, dtype=np.int64)
        self._symbols = np.empty(longest, dtype=np.uint32)
        self._ranks = np.empty(longest, dtype=np.int64)
        self._room = _room(_ROOM)

    def encode(self, texts: Texts) -> EncodedTexts:
        """Ids of texts without nulls."""
        data, offsets = utf8(texts)
        size = int(offsets[-1] - offsets[0])
        kinds, ids = self._room if size <= _ROOM else _room(size)
        ends = np.empty(len(texts) + 1, dtype=np.int64)
        encode_texts(
            data,
            _eights(data),
            offsets,
            kinds,
            _eights(kinds),
            *self._tables,
            self._table,
            self._kept_bytes,
            self._kept_ids,
            self._used,
            self._symbols,
            self._ranks,
            ids,
            ends,
        )
        return EncodedTexts(ids[: ends[-1]].copy(), ends)


def _room(size: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint32]]:
    """Room for the class bits and the ids of texts of so many bytes."""
    return np.empty(size + 8, dtype=np.uint8), np.empty(size + SPARE, dtype=np.uint32)


def _eights(data: Any) -> Any:
    """At each place but the last seven the eight bytes from there as a number, without a copy."""
    if data.size < 8:
        return np.zeros(0, dtype="<i8")
    return np.ndarray(data.size - 7, "<i8", data, strides=(1,))
