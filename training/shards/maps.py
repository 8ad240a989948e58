"""Memory maps of many files, so many at a time that the process's file descriptors suffice."""

from __future__ import annotations

import mmap
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from training.shards.format import AGAIN, ShardError

_OPEN_MAPS = 256
"""In the whole process. Each takes a file descriptor, of which a process often has 1,024."""


@lru_cache(maxsize=_OPEN_MAPS)
def mapped(path: Path, dtype: np.dtype[Any], count: int) -> npt.NDArray[Any]:
    """The first ``count`` values of a file, [count], read when they are used.

    Raises:
        ShardError: If the file is missing or shorter.
    """
    try:
        with path.open("rb") as file:
            content = mmap.mmap(file.fileno(), count * dtype.itemsize, access=mmap.ACCESS_READ)
        if hasattr(mmap, "MADV_RANDOM"):
            # Else the system reads on behind each window, up to megabytes that nobody asked for.
            content.madvise(mmap.MADV_RANDOM)
        return np.frombuffer(content, dtype=dtype)
    except (OSError, ValueError) as error:
        raise ShardError(f"{path} cannot be read ({error}); {AGAIN}") from None
