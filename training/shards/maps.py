"""Values of many files: mapped, so many at a time that the file descriptors suffice; long stretches are read."""

from __future__ import annotations

import mmap
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, ParamSpec, cast
from weakref import WeakSet

import numpy as np
import numpy.typing as npt

from training.shards.format import AGAIN, ShardError

_OPEN_MAPS = 128
"""Of each function. A map takes a file descriptor, of which a process often has 1,024."""

Arguments = ParamSpec("Arguments")
_caches: WeakSet[Any] = WeakSet()


def keeps_maps(
    function: Callable[Arguments, npt.NDArray[Any]], *, most: int = _OPEN_MAPS
) -> Callable[Arguments, npt.NDArray[Any]]:
    """The function, of whose answers the last ones are kept until ``forget_maps``."""
    kept = lru_cache(maxsize=most)(function)
    _caches.add(kept)
    return cast("Callable[Arguments, npt.NDArray[Any]]", kept)


def forget_maps() -> None:
    """Let go of every file: a removed one keeps its room on the disk as long as it is mapped."""
    for kept in list(_caches):
        kept.cache_clear()


@keeps_maps
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
        raise ShardError(f"{path} cannot be read ({error}); {AGAIN}") from error


def stretch(path: Path, dtype: np.dtype[Any], begin: int, count: int) -> npt.NDArray[Any]:
    """A copy of ``count`` values of a file from number ``begin`` on, read ahead by the system as a map is not.

    Raises:
        ShardError: If the file is missing or shorter.
    """
    try:
        found = np.fromfile(path, dtype=dtype, count=count, offset=begin * dtype.itemsize)
        if found.size != count:
            raise ValueError(f"it ends {count - found.size} values too early")
        return found
    except (OSError, ValueError) as error:
        raise ShardError(f"{path} cannot be read ({error}); {AGAIN}") from error
