"""Arrow texts as the flat arrays that compiled loops read."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Array = npt.NDArray[Any]


def utf8(texts: pa.StringArray | pa.LargeStringArray) -> tuple[Array, Array]:
    """The bytes of n texts without nulls, and where each begins; nothing is copied but the offsets.

    Returns:
        uint8 of all bytes, and int64 (n + 1,): text i is ``data[offsets[i]:offsets[i + 1]]``.
    """
    wide = pa.types.is_large_string(texts.type)
    offsets: Any
    data: Any
    _, offsets, data = texts.buffers()
    if offsets is None or not len(texts):
        return np.zeros(0, np.uint8), np.zeros(len(texts) + 1, np.int64)
    # Read-only whatever they come from: a loop is compiled once for each kind of array.
    ends = np.frombuffer(offsets, np.int64 if wide else np.int32)[texts.offset : texts.offset + len(texts) + 1]
    content = np.frombuffer(data, np.uint8) if data is not None and data.size else np.zeros(0, np.uint8)
    return content, ends.astype(np.int64)
