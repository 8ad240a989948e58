"""Simplified or traditional: the share of a Chinese text's characters that occur in one of the two writings only.

A character is of one writing if OpenCC's tables (``t2s``, ``s2t``) turn it into another one for the other writing,
leave it alone for its own, and the other writing's national character set does not have it: GB 2312 for simplified,
Big5 for traditional. So 后, 台, 乾 and 里, which both writings use in some sense, belong to neither.
"""

from __future__ import annotations

from functools import cache

import numba
import numpy as np
import opencc
import pyarrow as pa

from assets.clean_text.kernels.buffers import Array, utf8

_SIMPLIFIED, _TRADITIONAL, _BOTH = 1, 2, 3
# Unified ideographs of planes 0 and 2 and 3, extension A, compatibility ideographs; and the iteration mark and zero.
_BLOCKS = ((0x3005, 0x3008), (0x3400, 0x4DC0), (0x4E00, 0xA000), (0xF900, 0xFB00), (0x20000, 0x323B0))
_CODE_POINTS = 0x40000


def traditional_share(texts: pa.StringArray) -> Array:
    """Share of Han characters that only traditional writing has.

    About 0.3 to 0.4 in traditional Chinese, 0 in simplified.

    Args:
        texts: (n,), no nulls.

    Returns:
        float64 (n,), 0 where there is no Han character.
    """
    return _shares(texts)[:, 1]


def simplified_share(texts: pa.StringArray) -> Array:
    """Share of Han characters that only simplified writing has; as ``traditional_share``."""
    return _shares(texts)[:, 0]


@cache
def writings() -> Array:
    """uint8 (0x40000,): of each code point, 1 if only simplified writing has it, 2 if only traditional, 3 for other Han
    characters, 0 for what is not Han.
    """
    table = np.zeros(_CODE_POINTS, np.uint8)
    for begin, end in _BLOCKS:
        table[begin:end] = _BOTH
    han = [chr(code) for code in np.flatnonzero(table).tolist()]
    simple, traditional = _converted(han, "t2s"), _converted(han, "s2t")
    for character, in_simplified, in_traditional in zip(han, simple, traditional, strict=True):
        if in_simplified == character != in_traditional and not _encodes(character, "big5"):
            table[ord(character)] = _SIMPLIFIED
        if in_traditional == character != in_simplified and not _encodes(character, "gb2312"):
            table[ord(character)] = _TRADITIONAL
    return table


def _converted(characters: list[str], configuration: str) -> list[str]:
    # A line each, so that no phrase is seen in neighbours.
    converted: str = opencc.OpenCC(configuration).convert("\n".join(characters))
    return converted.split("\n")


def _encodes(character: str, encoding: str) -> bool:
    try:
        character.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def _shares(texts: pa.StringArray) -> Array:
    """float64 (n, 2): shares of simplified and of traditional characters."""
    shares: Array = _counted(*utf8(texts), writings())
    return shares


@numba.njit(cache=True, nogil=True)
def _counted(data: Array, offsets: Array, table: Array) -> Array:
    shares = np.zeros((len(offsets) - 1, 2), np.float64)
    for row in range(len(offsets) - 1):
        simplified, traditional, han = 0, 0, 0
        index, end = offsets[row], offsets[row + 1]
        while index < end:
            first = data[index]
            if first < 0xE3:
                # No Han character begins so; what follows in a longer sequence is below 0xC0 and passes here too.
                index += 1
                continue
            if first < 0xF0:
                code = (
                    (np.int32(first & 0x0F) << 12) | (np.int32(data[index + 1] & 0x3F) << 6) | (data[index + 2] & 0x3F)
                )
                index += 3
            else:
                code = (np.int32(first & 0x07) << 18) | (np.int32(data[index + 1] & 0x3F) << 12)
                code |= (np.int32(data[index + 2] & 0x3F) << 6) | (data[index + 3] & 0x3F)
                index += 4
            kind = table[code] if code < _CODE_POINTS else 0
            han += kind > 0
            simplified += kind == _SIMPLIFIED
            traditional += kind == _TRADITIONAL
        if han:
            shares[row, 0], shares[row, 1] = simplified / han, traditional / han
    return shares
