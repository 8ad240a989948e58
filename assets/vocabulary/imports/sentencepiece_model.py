"""Reading a SentencePiece ``.model``: a protocol buffer, of which a few fields say all that is needed.

Field numbers from ``sentencepiece_model.proto`` of google/sentencepiece.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

UNIGRAM, BPE = 1, 2
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6


class ModelPiece(NamedTuple):
    """An entry: its text with ▁ for a space, its score, and its type."""

    text: str
    score: float
    type: int


@dataclass(frozen=True)
class SentencePieceModel:
    """What a model says.

    Attributes:
        kind: ``UNIGRAM`` or ``BPE``, or another that is not read here.
        pieces: The entries by id.
        charsmap: Compiled rules of normalisation, possibly none.
        add_dummy_prefix: Whether a space is put before every text.
        remove_extra_whitespaces: Whether spaces are joined and those at the ends removed.
        byte_fallback: Whether unknown characters are written as their bytes.
    """

    kind: int
    pieces: tuple[ModelPiece, ...]
    charsmap: bytes
    add_dummy_prefix: bool
    remove_extra_whitespaces: bool
    byte_fallback: bool


def read_model(content: bytes) -> SentencePieceModel:
    """Read a model.

    Raises:
        ValueError: If it is none.
    """
    pieces, trainer, normalizer = [], {}, {}
    try:
        for number, value in _fields(content):
            if number == 1 and isinstance(value, bytes):
                entry = dict(_fields(value))
                score = entry.get(2, 0.0)
                kind = entry.get(3, NORMAL)
                pieces.append(ModelPiece(bytes(entry[1]).decode("utf-8"), float(score), int(kind)))  # type: ignore[arg-type]
            elif number == 2 and isinstance(value, bytes):
                trainer = dict(_fields(value))
            elif number == 3 and isinstance(value, bytes):
                normalizer = dict(_fields(value))
    except (struct.error, IndexError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise ValueError(f"it is no SentencePiece model ({error})") from None
    if not pieces:
        raise ValueError("it is no SentencePiece model: it has no pieces")
    return SentencePieceModel(
        kind=int(trainer.get(3, UNIGRAM)),
        pieces=tuple(pieces),
        charsmap=bytes(normalizer.get(2, b"")),  # type: ignore[arg-type]
        add_dummy_prefix=bool(normalizer.get(3, 1)),
        remove_extra_whitespaces=bool(normalizer.get(4, 1)),
        byte_fallback=bool(trainer.get(35, 0)),
    )


def _fields(content: bytes) -> Iterator[tuple[int, int | float | bytes]]:
    """Field numbers and values of a message, in the wire format of protocol buffers."""
    place = 0
    while place < len(content):
        key, place = _varint(content, place)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, place = _varint(content, place)
            yield number, value
        elif wire == 1:
            yield number, struct.unpack_from("<d", content, place)[0]
            place += 8
        elif wire == 5:
            yield number, struct.unpack_from("<f", content, place)[0]
            place += 4
        elif wire == 2:
            length, place = _varint(content, place)
            if place + length > len(content):
                raise IndexError("it is cut short")
            yield number, content[place : place + length]
            place += length
        else:
            raise TypeError(f"wire type {wire}")


def _varint(content: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = content[place]
        value |= (byte & 0x7F) << shift
        place += 1
        if byte < 0x80:
            return value, place
        shift += 7
