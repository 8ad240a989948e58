"""Checkpoints: DeepSpeed's own files, and our record of what they are, written last.

Layout: ``checkpoints/step-0000000250/`` with DeepSpeed's files for every rank and ``checkpoint.json``: step, samples
seen, ranks, the run's fingerprint, and size and SHA-256 of each file. It is written under a temporary name, in the
background, and renamed when it is whole; a file that does not match the record afterwards is damaged, and the
checkpoint before is used. Sample order is a pure function of the step and training draws no other random number, so
the step, DeepSpeed's states and a few numbers for the next record of metrics are the whole state.
"""

from __future__ import annotations

import json
import logging
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import deepspeed.comm as dist
from safetensors.torch import save_file
from torch import Tensor

from training.artifact import FileEntry, file_sha256, write_atomically
from training.averaging import WeightAverage
from training.snapshot import Snapshot, SnapshotEngine, write_files

RECORD = "checkpoint.json"
FOLDER = "checkpoints"
FORMAT = 2
_RANK_RECORD = ".rank-{rank:05d}.json"
_POLL_SECONDS = 0.05

log = logging.getLogger(__name__)


class CheckpointError(RuntimeError):
    """A checkpoint does not fit this run; the message names it and the remedy."""


@dataclass(frozen=True)
class Checkpoint:
    """The record of a complete checkpoint.

    Attributes:
        step: Optimizer steps done.
        samples: Samples seen.
        ranks: Ranks that wrote it.
        zero_stage: ZeRO's stage then.
        tensor_ranks: Ranks that shared layers.
        offload_optimizer: Whether the optimizer's states lay in the host's memory.
        fingerprint: Of the settings and data of the run.
        files: What it is made of.
        state: Numbers that the training goes on with.
    """

    step: int
    samples: int
    ranks: int
    zero_stage: int
    fingerprint: str
    files: tuple[FileEntry, ...] = ()
    state: Mapping[str, Any] = field(default_factory=dict)
    tensor_ranks: int = 1
    offload_optimizer: bool = False


@dataclass(frozen=True)
class Retention:
    """Which checkpoints stay.

    Attributes:
        newest: So many of the newest.
        every: Those of a multiple of this step; 0 is none.
    """

    newest: int
    every: int = 0

    def stays(self, step: int, best: int | None) -> bool:
        """Whether it stays when it is none of the newest."""
        return step == best or bool(self.every and step % self.every == 0)


class CheckpointWriter:
    """Writes the checkpoints of a run, one at a time, while the training goes on; all ranks use theirs together."""

    def __init__(self, run: Path, retention: Retention) -> None:
        """Remove what a killed training has left half written."""
        self._folder, self._retention = run / FOLDER, retention
        self._rank, self._ranks = dist.get_rank(), dist.get_world_size()
        self._writing: threading.Thread | None = None
        self._publishing: threading.Thread | None = None
        self._problem = ""
        self._abandoned = threading.Event()
        self._copied = threading.Event()
        self._copied.set()
        self.step = 0
        """Of the one under way; 0 is none."""
        self.waited_seconds = self.written_seconds = 0.0
        """Of the last one: how long the training stood still, and how long it took from then until it was whole."""
        if self._rank == 0:
            for left in self._folder.glob(".step-*"):
                shutil.rmtree(left, ignore_errors=True)
        dist.barrier()

    def save(
        self,
        engine: Any,
        checkpoint: Checkpoint,
        *,
        best: int | None = None,
        average: WeightAverage | None = None,
        since: float | None = None,
    ) -> None:
        """Copy the states of all ranks and write them, both in the background; the one before is settled.

        Nothing may change the states until ``hold`` was called.

        Args:
            engine: DeepSpeed's, with a ``SnapshotEngine``.
            checkpoint: Its record, without files.
            best: Step of a checkpoint that stays.
            average: Of the weights, which is saved too.
            since: ``time.perf_counter()`` when the training began to stand still for it; by default now.
        """
        begin = time.perf_counter()
        self.step = checkpoint.step
        states: SnapshotEngine = engine.checkpoint_engine
        partial = self._folder / f".{tag_of(checkpoint.step)}"
        engine.save_checkpoint(str(self._folder), tag=partial.name, save_latest=False)
        snapshot = states.take()
        self._problem = ""
        self._abandoned.clear()
        self._copied.clear()

        def write() -> None:
            try:
                contents, parts = self._copy(snapshot, average)
                entries = write_files(contents, partial)
                if average is not None and parts is not None:
                    save_file(parts, average.path(partial))
                    entries.append(_entry(average.path(partial), partial))
                values = json.dumps([asdict(entry) for entry in entries])
                write_atomically(partial / _RANK_RECORD.format(rank=self._rank), values)
            # Of a thread nothing else is told: whatever it is, this checkpoint is not there.
            except Exception as error:
                self._problem = f"rank {self._rank}: {error}"

        def publish() -> None:
            try:
                if self._publish(partial, checkpoint, best):
                    self.written_seconds = time.perf_counter() - begin
            except Exception as error:
                self._problem = f"rank {self._rank}: {error}"

        self._writing = threading.Thread(target=write, name="checkpoint", daemon=True)
        self._writing.start()
        if self._rank == 0:
            self._publishing = threading.Thread(target=publish, name="checkpoint record", daemon=True)
            self._publishing.start()
        self.waited_seconds = time.perf_counter() - (begin if since is None else since)

    def hold(self) -> None:
        """Wait until the states are copied; to be called before anything changes them."""
        if not self._copied.is_set():
            begin = time.perf_counter()
            self._copied.wait()
            self.waited_seconds += time.perf_counter() - begin

    def settle(self) -> str:
        """Wait until the one under way is whole, by all ranks together; returns what was in its way, or nothing."""
        if self._writing is None:
            return ""
        self._writing.join()
        self._writing, self.step = None, 0
        problem = self._first_problem()
        if self._publishing is not None:
            if problem:
                self._abandoned.set()
            self._publishing.join()
            self._publishing = None
        return problem or self._first_problem()

    def _copy(
        self, snapshot: Snapshot, average: WeightAverage | None
    ) -> tuple[dict[Path, Any], dict[str, Tensor] | None]:
        """The contents of files, and of this rank's part of the average."""
        try:
            with snapshot.copying():
                return snapshot.copy(), None if average is None else average.taken()
        finally:
            self._copied.set()

    def _first_problem(self) -> str:
        """The same on every rank."""
        problems: list[str | None] = [None] * self._ranks
        dist.all_gather_object(problems, self._problem)
        return next((problem for problem in problems if problem), "")

    def _publish(self, partial: Path, checkpoint: Checkpoint, best: int | None) -> bool:
        """Wait for the ranks' files, write the record, rename, and remove what need not stay."""
        parts = [partial / _RANK_RECORD.format(rank=rank) for rank in range(self._ranks)]
        while not all(part.is_file() for part in parts):
            if self._abandoned.wait(_POLL_SECONDS):
                shutil.rmtree(partial, ignore_errors=True)
                return False
        files = [FileEntry(**entry) for part in parts for entry in json.loads(part.read_text(encoding="utf-8"))]
        for part in parts:
            part.unlink()
        whole = asdict(checkpoint) | {"files": [asdict(entry) for entry in sorted(files, key=lambda entry: entry.path)]}
        write_atomically(partial / RECORD, json.dumps({"format": FORMAT} | whole, indent=1))
        final = self._folder / tag_of(checkpoint.step)
        shutil.rmtree(final, ignore_errors=True)
        partial.rename(final)
        found = [path.parent for path in sorted(self._folder.glob(f"step-*/{RECORD}"))]
        # Later ones were not gone on from: they are damaged, and must not stand for one that is whole.
        complete = [folder for folder in found if step_of(folder) <= checkpoint.step]
        for old in complete[: -self._retention.newest]:
            if not self._retention.stays(step_of(old), best):
                remove_checkpoint(old)
        return True


def remove_checkpoint(folder: Path) -> None:
    """Remove it; what is left when this is killed is no checkpoint any more."""
    gone = folder.with_name(f".{folder.name}.gone")
    folder.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)


def remove_checkpoints_after(run: Path, step: int) -> None:
    """Remove those of later steps."""
    for folder in sorted((run / FOLDER).glob("step-*")):
        if step_of(folder) > step:
            remove_checkpoint(folder)


def newest_checkpoint(
    run: Path, *, rank: int = 0, ranks: int = 1, wanted: Callable[[Checkpoint], bool] = lambda _: True
) -> tuple[tuple[Path, Checkpoint] | None, list[str]]:
    """Folder and record of the newest checkpoint whose files are all as it says, and why newer ones are not used.

    Args:
        run: The run's folder.
        rank, ranks: All ranks together look at the files, each at some of them.
        wanted: Whether a checkpoint is one to go on from; others are left out without a word.
    """
    damaged: list[str] = []
    for path in sorted((run / FOLDER).glob("step-*"), reverse=True):
        problem = ""
        checkpoint = None
        try:
            checkpoint = _record(path / RECORD)
            if not wanted(checkpoint):
                continue
            _check_files(path, checkpoint.files[rank::ranks])
        except (OSError, ValueError, KeyError, TypeError) as error:
            problem = f"checkpoint {path} is not used: {error}"
        if ranks > 1:
            problems: list[str | None] = [None] * ranks
            dist.all_gather_object(problems, problem)
            problem = next((one for one in problems if one), "")
        if not problem and checkpoint is not None:
            return (path, checkpoint), damaged
        log.warning("%s", problem)
        damaged.append(problem)
    return None, damaged


def open_checkpoint(run: Path, step: int) -> tuple[Path, Checkpoint]:
    """The checkpoint of a step.

    Raises:
        CheckpointError: If it is not there, or damaged.
    """
    folder = run / FOLDER / tag_of(step)
    try:
        checkpoint = _record(folder / RECORD)
        _check_files(folder, checkpoint.files)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{folder} cannot be used: {error}") from error
    return folder, checkpoint


def tag_of(step: int) -> str:
    """Name of a checkpoint's folder."""
    return f"step-{step:010d}"


def step_of(folder: Path) -> int:
    """Step of a checkpoint's folder."""
    return int(folder.name.removeprefix("step-"))


def _entry(path: Path, folder: Path) -> FileEntry:
    return FileEntry(path.relative_to(folder).as_posix(), path.stat().st_size, file_sha256(path))


def _record(path: Path) -> Checkpoint:
    fields = json.loads(path.read_text(encoding="utf-8"))
    if fields.pop("format") != FORMAT:
        raise ValueError("its format is that of another version of this program")
    fields["files"] = tuple(FileEntry(**entry) for entry in fields["files"])
    return Checkpoint(**fields)


def _check_files(folder: Path, files: tuple[FileEntry, ...]) -> None:
    for entry in files:
        file = folder / entry.path
        if not file.is_file() or file.stat().st_size != entry.size or file_sha256(file) != entry.sha256:
            raise ValueError(f"{entry.path} is missing or damaged")
