"""DeepSpeed's checkpoint files, taken from memory in a moment and written while the training goes on.

DeepSpeed hands its states to a checkpoint engine, file by file. This one copies them into host memory, page-locked
beside a GPU and used again at the next checkpoint, and leaves the writing to a thread. Reading never runs code: the
files are pickles, of which only tensors, containers and DeepSpeed's own plain records are let in.
"""

from __future__ import annotations

import copy
import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import IO, Any, cast

import torch
from deepspeed.runtime.checkpoint_engine.checkpoint_engine import CheckpointEngine
from torch import Tensor

from training.artifact import FileEntry


class DamagedFileError(ValueError):
    """A file of a checkpoint holds something that no checkpoint of ours does."""


class SnapshotEngine(CheckpointEngine):  # type: ignore[misc]
    """Copies now, writes later."""

    def __init__(self) -> None:
        super().__init__(None)
        self.name = "SnapshotEngine"
        self._taken: dict[Path, Any] = {}
        self._buffers: dict[tuple[str, int], Tensor] = {}

    def create(self, info: Any) -> None:
        """Called by DeepSpeed before it saves."""

    def commit(self, info: Any) -> bool:
        """Called by DeepSpeed when it has saved."""
        return True

    def preserves_storage_sharing(self) -> bool:
        """Whether views would be written with all of what they are views of."""
        return False

    def save(self, state_dict: Any, path: str) -> None:
        """Copy what belongs into a file."""
        count = iter(range(1 << 60))
        self._taken[Path(path)] = self._copied(state_dict, Path(path).name, count)

    def take(self) -> dict[Path, Any]:
        """The contents of files that were saved since; valid until the next one is saved."""
        taken, self._taken = self._taken, {}
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return taken

    def load(self, path: str, map_location: Any = None) -> Any:
        """Read a file as data.

        Raises:
            DamagedFileError: If something in it would have to be executed.
        """
        return load_data(Path(path), map_location=map_location)

    def _copied(self, value: Any, file: str, count: Iterator[int]) -> Any:
        if isinstance(value, Tensor):
            return self._copied_tensor(value, (file, next(count)))
        if isinstance(value, dict):
            return {key: self._copied(inner, file, count) for key, inner in value.items()}
        # A shape is a tuple with methods, which DeepSpeed calls when it reads it.
        if isinstance(value, list | tuple) and not isinstance(value, torch.Size):
            inner = [self._copied(item, file, count) for item in value]
            return inner if isinstance(value, list) else tuple(inner)
        return copy.deepcopy(value)

    def _copied_tensor(self, value: Tensor, key: tuple[str, int]) -> Tensor:
        buffer = self._buffers.get(key)
        if buffer is None or buffer.shape != value.shape or buffer.dtype != value.dtype:
            buffer = torch.empty(value.shape, dtype=value.dtype, device="cpu", pin_memory=value.is_cuda)
            self._buffers[key] = buffer
        buffer.copy_(value.detach(), non_blocking=True)
        return buffer


def load_data(path: Path, *, map_location: Any = None) -> Any:
    """Read one of DeepSpeed's files without running anything that is in it.

    Raises:
        DamagedFileError: If something in it would have to be executed.
    """
    # Let in for good: the context manager of that name also takes away what others had let in before, and DeepSpeed
    # opens files of a converted checkpoint itself.
    torch.serialization.add_safe_globals(plain_records())
    try:
        return torch.load(path, map_location=map_location, weights_only=True)
    except UnpicklingError as error:
        raise DamagedFileError(
            f"{path} holds more than data and is not opened ({str(error).splitlines()[0]}); remove its checkpoint"
        ) from error


def write_files(contents: Mapping[Path, Any], folder: Path) -> list[FileEntry]:
    """Write files and sync them; returns what they are, hashed on the way."""
    entries = []
    for path, value in contents.items():
        with path.open("wb") as file:
            hashed = _Hashed(file)
            torch.save(value, cast(IO[bytes], hashed))
            file.flush()
            os.fsync(file.fileno())
        entries.append(FileEntry(path.relative_to(folder).as_posix(), hashed.size, hashed.digest()))
    return entries


class _Hashed:
    """A file that is hashed while it is written."""

    def __init__(self, file: Any) -> None:
        self._file, self._hash = file, hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        self._hash.update(data)
        self.size += len(data)
        return int(self._file.write(data))

    def flush(self) -> None:
        self._file.flush()

    def digest(self) -> str:
        return self._hash.hexdigest()


def plain_records() -> list[Any]:
    """What DeepSpeed keeps beside tensors: enumerations and records of numbers."""
    from deepspeed.runtime.fp16.loss_scaler import DynamicLossScaler, LossScaler
    from deepspeed.runtime.zero.config import ZeroStageEnum
    from deepspeed.utils.tensor_fragment import fragment_address

    return [ZeroStageEnum, fragment_address, LossScaler, DynamicLossScaler]
