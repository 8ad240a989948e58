"""DeepSpeed's checkpoint files, copied from memory and written while the training goes on.

DeepSpeed hands its states to a checkpoint engine, file by file. This one only remembers them. Until the next optimizer
step nothing changes them, so a thread copies them while the next batch goes forward and backward (as DataStates-LLM
does, Maurya et al., HPDC 2024), into host memory that is page-locked beside a GPU and used again at the next
checkpoint, and then writes them. Reading never runs code: the files are pickles, of which only tensors, containers and
DeepSpeed's own plain records are let in.
"""

from __future__ import annotations

import copy
import hashlib
import itertools
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from enum import Enum
from pathlib import Path
from pickle import UnpicklingError
from typing import IO, Any, cast

import torch
from deepspeed.runtime.checkpoint_engine.checkpoint_engine import CheckpointEngine
from torch import Tensor

from training.artifact import FileEntry


class DamagedFileError(ValueError):
    """A file of a checkpoint holds something that no checkpoint of ours does."""


class Snapshot:
    """What belongs into files, as it is until an optimizer step changes it."""

    def __init__(self, held: Mapping[Path, Any], buffers: dict[tuple[str, int], Tensor]) -> None:
        self._held, self._buffers = held, buffers
        self._stream = torch.cuda.Stream() if torch.cuda.is_available() else None  # type: ignore[no-untyped-call]
        if self._stream is not None:
            self._stream.wait_stream(torch.cuda.current_stream())

    @contextmanager
    def copying(self) -> Iterator[None]:
        """In a thread: copy from a GPU beside what it computes; all is copied at the end."""
        with nullcontext() if self._stream is None else torch.cuda.stream(self._stream):
            yield
        if self._stream is not None:
            self._stream.synchronize()

    def copy(self) -> dict[Path, Any]:
        """The contents of files; valid until those of the next snapshot are copied."""
        return {path: self._copied(value, path.name, itertools.count()) for path, value in self._held.items()}

    def _copied(self, value: Any, file: str, count: Iterator[int]) -> Any:
        if isinstance(value, Tensor):
            return self._copied_tensor(value, (file, next(count)))
        if isinstance(value, dict):
            return {key: self._copied(inner, file, count) for key, inner in value.items()}
        if isinstance(value, list | tuple) and not isinstance(value, torch.Size):
            inner = [self._copied(item, file, count) for item in value]
            return inner if isinstance(value, list) else tuple(inner)
        return value

    def _copied_tensor(self, value: Tensor, key: tuple[str, int]) -> Tensor:
        buffer = self._buffers.get(key)
        if buffer is None or buffer.shape != value.shape or buffer.dtype != value.dtype:
            buffer = torch.empty(value.shape, dtype=value.dtype, device="cpu", pin_memory=value.is_cuda)
            self._buffers[key] = buffer
        return buffer.copy_(value, non_blocking=True)


class SnapshotEngine(CheckpointEngine):  # type: ignore[misc]
    """Remembers now; who takes the snapshot copies and writes."""

    def __init__(self) -> None:
        super().__init__(None)
        self.name = "SnapshotEngine"
        self._held: dict[Path, Any] = {}
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
        """Remember what belongs into a file."""
        self._held[Path(path)] = _held(state_dict)

    def take(self) -> Snapshot:
        """The files that were saved since."""
        held, self._held = self._held, {}
        return Snapshot(held, self._buffers)

    def load(self, path: str, map_location: Any = None) -> Any:
        """Read a file as data.

        Raises:
            DamagedFileError: If something in it would have to be executed.
        """
        return load_data(Path(path), map_location=map_location)


def _held(value: Any) -> Any:
    """The same tensors, whatever becomes of what they were in; anything else is small and copied at once."""
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, Enum):
        # Some versions of Python (3.11.0 to 3.11.3) would write a call of getattr, which is not let in again.
        return value.value
    if isinstance(value, dict):
        return {key: _held(inner) for key, inner in value.items()}
    # A shape is a tuple with methods, which DeepSpeed calls when it reads it.
    if isinstance(value, list | tuple) and not isinstance(value, torch.Size):
        inner = [_held(item) for item in value]
        return inner if isinstance(value, list) else tuple(inner)
    return copy.deepcopy(value)


def load_data(path: Path, *, map_location: Any = None) -> Any:
    """Read one of DeepSpeed's files without running anything that is in it.

    Raises:
        DamagedFileError: If something in it would have to be executed.
    """
    with only_data(path):
        return torch.load(path, map_location=map_location, weights_only=True)


@contextmanager
def only_data(path: Path) -> Iterator[None]:
    """Around whatever opens files of DeepSpeed's, so that what they are allowed to hold is the same.

    Args:
        path: The file, or the folder that they are in.

    Raises:
        DamagedFileError: If something in it would have to be executed.
    """
    # Let in for good: the context manager of that name also takes away what others had let in before.
    torch.serialization.add_safe_globals(_plain_records())
    try:
        yield
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
            try:
                torch.save(value, cast(IO[bytes], hashed))
            except RuntimeError:
                # What torch says of a full disk is that a position is unexpected.
                if hashed.problem is not None:
                    raise hashed.problem from None
                raise
            file.flush()
            os.fsync(file.fileno())
        entries.append(FileEntry(path.relative_to(folder).as_posix(), hashed.size, hashed.digest()))
    return entries


class _Hashed:
    """A file that is hashed while it is written."""

    def __init__(self, file: Any) -> None:
        self._file, self._hash = file, hashlib.sha256()
        self.size = 0
        self.problem: OSError | None = None

    def write(self, data: bytes) -> int:
        self._hash.update(data)
        self.size += len(data)
        try:
            return int(self._file.write(data))
        except OSError as error:
            self.problem = error
            raise

    def flush(self) -> None:
        self._file.flush()

    def digest(self) -> str:
        return self._hash.hexdigest()


def _plain_records() -> list[Any]:
    """What DeepSpeed keeps beside tensors: enumerations and records of numbers."""
    from deepspeed.runtime.fp16.loss_scaler import DynamicLossScaler, LossScaler
    from deepspeed.runtime.zero.config import ZeroStageEnum
    from deepspeed.utils.tensor_fragment import fragment_address

    return [ZeroStageEnum, fragment_address, LossScaler, DynamicLossScaler]
