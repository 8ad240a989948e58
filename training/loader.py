"""Batches of rows from token shards, in the order of a ``SampleOrder``, read ahead by one thread."""

from __future__ import annotations

import math
import queue
import threading
import time
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import accumulate
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from training.fill_in_the_middle import FillInTheMiddle
from training.models import IGNORED
from training.permutation import Integers
from training.rows import CutRows, PackedRows
from training.sample_order import Sample, SampleOrder
from training.shards import ShardError, Shards
from training.shards.maps import keeps_maps

_ORDER_AHEAD = 1 << 12
_ROWS_AT_ONCE = 128
"""Each may be of another file, which takes a file descriptor."""


class Batch(NamedTuple):
    """Rows as they are read: ``rows`` int32 [count, context + 1], ``counted`` bool [count, context] or None for all."""

    rows: Tensor
    counted: Tensor | None

    def on(self, device: torch.device) -> Batch:
        """The same on a device; from pinned memory without waiting."""
        counted = None if self.counted is None else self.counted.to(device, non_blocking=True)
        return Batch(self.rows.to(device, non_blocking=True), counted)

    def inputs(self) -> Tensor:
        """Inputs int64 [count, context]."""
        return self.rows[:, :-1].long()

    def targets(self, end_of_document: int) -> Tensor:
        """What follows each input, int64 [count, context]; ``IGNORED`` for padding and where the loss mask says so."""
        targets = self.rows[:, 1:].long()
        padding = (targets == end_of_document) & (self.rows[:, :-1] == end_of_document)
        uncounted = padding if self.counted is None else padding | ~self.counted
        return targets.masked_fill(uncounted, IGNORED)


class _Chunk(NamedTuple):
    """Where the rows of many consecutive samples lie.

    Attributes:
        places: The file of each, counted over those of all sources; -1 less the source for those that lie in several
            files or run over the end of their ring.
        begins: The first token of each, int64 [samples], counted within its file or in the ring.
    """

    places: list[int]
    begins: Integers


class SampleReader:
    """Reads samples as tensors. The same numbers give the same batches, whoever asks, in any order.

    Attributes:
        order: The order of samples.
        context: Targets of the longest row.
        end_of_document: The id that closes a document.
    """

    def __init__(
        self,
        shards: Sequence[Shards],
        rows: Sequence[CutRows | PackedRows],
        order: SampleOrder,
        context: int,
        *,
        middle: FillInTheMiddle | None = None,
    ) -> None:
        """Take the sources that the order was made for, and how each is cut into rows.

        Raises:
            ShardError: If the shards are of different vocabularies or do not fit the order.
        """
        check_same_vocabulary(shards)
        windows = [source.windows for source in order.sources]
        if [cut.windows for cut in rows] != windows:
            raise ShardError(
                f"the sample order is for {windows} windows by source, the shards in "
                f"{', '.join(str(source.folder) for source in shards)} hold {[cut.windows for cut in rows]}: not the "
                "data it was made for"
            )
        self.order = order
        self.context = context
        self.end_of_document = shards[0].end_of_document
        self._splits = [source.train for source in shards]
        self._first_files = list(accumulate((len(split.files) for split in self._splits), initial=0))
        self._rows = list(rows)
        self._middle = middle
        self._masked = any(split.has_loss_mask for split in self._splits)
        # A ring cut at multiples of its windows' length is read many windows at a time.
        self._plain = middle is None and not self._masked and all(isinstance(cut, CutRows) for cut in rows)
        self._chunk = lru_cache(maxsize=4)(self._ordered_chunk)
        # Finding a file's map costs as much as reading a window.
        self._windows = keeps_maps(self._windows_of)

    def batch(self, first_sample: int, count: int, *, parts: int | None = None, pin_memory: bool = False) -> Batch:
        """The samples ``first_sample`` to ``first_sample + count - 1``, one a row.

        Args:
            first_sample: Number of the first one.
            count: All are of one step.
            parts: Of that step, where it is known.
            pin_memory: Read into memory that an accelerator copies from by itself.
        """
        if parts is None:
            parts = self.order.step(self.order.step_of(first_sample)).parts
        context = self.context // parts
        if self._plain:
            plain = torch.from_numpy(self._read_plain(first_sample, count, context))
            return Batch(plain.pin_memory() if pin_memory else plain, None)
        rows = torch.empty((count, context + 1), dtype=torch.int32, pin_memory=pin_memory)
        counted = torch.empty((count, context), dtype=torch.bool, pin_memory=pin_memory) if self._masked else None
        for number in range(count):
            sample = self.order.sample(first_sample + number)
            row, positions = self._row(sample, context)
            rows[number] = torch.from_numpy(row)
            if counted is not None:
                counted[number] = torch.from_numpy(self._counted(sample.source, positions))
        return Batch(rows, counted)

    def positions(self, number: int) -> tuple[int, Integers]:
        """Source of a sample, and where each of its targets stands in the source's training split; int64 [context].

        ``rows.PADDING`` for padding, ``fill_in_the_middle.SENTINEL`` for sentinels.
        """
        parts = self.order.step(self.order.step_of(number)).parts
        sample = self.order.sample(number)
        return sample.source, self._row(sample, self.context // parts)[1]

    def samples_of(self, source: int, start: int, length: int, *, samples: int) -> list[int]:
        """The numbers, below ``samples``, of all samples with a target in a stretch of a source's training split.

        The inverse of ``positions``.
        """
        used = math.ceil(self.order.windows_used(samples)[source])
        epochs = -(-used // self.order.sources[source].windows)
        found = []
        for epoch, window in self._rows[source].windows_with(start, length, epochs):
            for number, _ in self.order.window_samples(source, epoch, window):
                if number < samples:
                    _, positions = self.positions(number)
                    if ((positions >= start) & (positions < start + length)).any():
                        found.append(number)
        return sorted(found)

    def _read_plain(self, first: int, count: int, context: int) -> npt.NDArray[np.int32]:
        """Rows [count, context + 1] of rings that are cut at multiples of the longest context."""
        parts = []
        while count:
            number, begin = divmod(first, _ORDER_AHEAD)
            end = min(begin + count, begin + _ROWS_AT_ONCE, _ORDER_AHEAD)
            chunk = self._chunk(number, context)
            parts.append(self._read_places(chunk.places[begin:end], chunk.begins[begin:end], context + 1))
            first, count = first + end - begin, count - (end - begin)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _read_places(self, places: list[int], begins: Integers, length: int) -> npt.NDArray[np.int32]:
        if places[0] >= 0 and places.count(places[0]) == len(places):
            return self._windows(places[0], length)[begins].astype(np.int32)
        rows = []
        for place, begin in zip(places, begins.tolist(), strict=True):
            if place >= 0:
                rows.append(self._windows(place, length)[begin])
            else:
                rows.append(self._splits[-1 - place].ring(begin, length))
        # Put together as they are and turned once, which is twice as fast as turning one after the other.
        return np.concatenate(rows).reshape(len(rows), length).astype(np.int32)

    def _windows_of(self, place: int, length: int) -> npt.NDArray[Any]:
        source = bisect_right(self._first_files, place) - 1
        return self._splits[source].windows(place - self._first_files[source], length)

    def _ordered_chunk(self, number: int, context: int) -> _Chunk:
        samples = self.order.samples(number * _ORDER_AHEAD, _ORDER_AHEAD)
        counts = np.asarray([cut.windows for cut in self._rows], dtype=np.int64)[samples.source]
        # The row begins one token before its first target.
        starts = ((samples.epoch * counts + samples.window) * self.context + samples.part * context) - 1
        places, begins = np.empty_like(starts), np.empty_like(starts)
        for source, split in enumerate(self._splits):
            chosen = np.flatnonzero(samples.source == source)
            rings = starts[chosen] % split.token_count
            files, within = split.places(rings, context + 1)
            places[chosen] = np.where(files < 0, -1 - source, self._first_files[source] + files)
            begins[chosen] = np.where(files < 0, rings, within)
        return _Chunk(places.tolist(), begins)

    def _row(self, sample: Sample, context: int) -> tuple[Integers, Integers]:
        """A row int64 [context + 1] and the positions of its targets int64 [context]."""
        source, epoch, window, part = sample
        split, cut = self._splits[source], self._rows[source]
        positions = cut.positions(epoch, window)[part * context : (part + 1) * context]
        row = np.empty(context + 1, dtype=np.int64)
        row[1:] = split.gather(positions, fill=self.end_of_document)
        if isinstance(cut, CutRows):
            row[:1] = split.gather((positions[:1] - 1) % split.token_count)
        else:
            row[0] = self.end_of_document
        if self._middle is not None:
            row[1:], positions = self._middle.rearrange(
                row[1:],
                positions,
                end_of_document=self.end_of_document,
                key=(self.order.sources[source].name, epoch, window, part),
            )
        return row, positions

    def _counted(self, source: int, positions: Integers) -> npt.NDArray[np.bool_]:
        """The loss mask of a row; what stands in no document counts."""
        counted = np.ones(positions.size, dtype=np.bool_)
        split = self._splits[source]
        if split.has_loss_mask:
            inside = np.flatnonzero(positions >= 0)
            for run in np.split(inside, np.flatnonzero(np.diff(positions[inside]) != 1) + 1):
                if run.size:
                    counted[run] = split.loss_mask(int(positions[run[0]]), run.size)
        return counted


class BatchStream(IterableDataset[Batch]):
    """The micro-batches of one rank, step by step; also for a ``torch.utils.data.DataLoader(batch_size=None)``.

    Where it stands is four integers: the step, the micro-batch within it, and the rank and number of ranks that it is
    read for. At the beginning of a step it goes on with any number of ranks.
    """

    def __init__(
        self,
        reader: SampleReader,
        *,
        steps: int,
        micro_batch: int,
        rank: int = 0,
        ranks: int = 1,
        first_step: int = 0,
        pin_memory: bool = False,
    ) -> None:
        """Take the micro-batches of the steps ``first_step`` to ``steps - 1``.

        Args:
            reader: Reads them.
            steps: Steps of the whole training.
            micro_batch: Samples of a micro-batch; the batch of each step is a multiple of it times the ranks.
            rank, ranks: Whose part it is.
            first_step: Steps that are done.
            pin_memory: Read into memory that an accelerator copies from by itself.
        """
        super().__init__()
        self._reader = reader
        self._steps = steps
        self._micro_batch = micro_batch
        self._rank, self._ranks = rank, ranks
        self._step, self._done = first_step, 0
        self._pin_memory = pin_memory

    def __iter__(self) -> Iterator[Batch]:
        """From where it stands to the end."""
        worker = torch.utils.data.get_worker_info()
        number, workers = (worker.id, worker.num_workers) if worker is not None else (0, 1)
        turn = 0
        while self._step < self._steps:
            first, batch, parts = self._reader.order.step(self._step)
            start = first + (self._done * self._ranks + self._rank) * self._micro_batch
            self._done += 1
            if self._done * self._micro_batch * self._ranks >= batch:
                self._step, self._done = self._step + 1, 0
            if turn % workers == number:
                yield self._reader.batch(start, self._micro_batch, parts=parts, pin_memory=self._pin_memory)
            turn += 1

    def state_dict(self) -> dict[str, int]:
        """The four integers."""
        return {"step": self._step, "micro_batch": self._done, "rank": self._rank, "ranks": self._ranks}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from there.

        Raises:
            ValueError: If it is the middle of a step of another rank or number of ranks.
        """
        if state["micro_batch"] and (state["rank"], state["ranks"]) != (self._rank, self._ranks):
            raise ValueError(
                f"micro-batch {state['micro_batch']} of step {state['step']} of rank {state['rank']} of "
                f"{state['ranks']} cannot be gone on from by rank {self._rank} of {self._ranks}; begin with the step"
            )
        self._step, self._done = state["step"], state["micro_batch"]


class Prefetch:
    """Iterator over batches that a thread reads ahead. Use as a context manager, so that the thread ends.

    Attributes:
        wait_seconds: Time the consumer has waited for batches so far.
    """

    def __init__(self, batches: Iterator[Batch], *, depth: int = 4) -> None:
        """Read at most ``depth`` batches ahead."""
        self.wait_seconds = 0.0
        self._ready: queue.Queue[Batch | BaseException | None] = queue.Queue(maxsize=depth)
        self._stopped = threading.Event()
        self._batches = batches
        self._thread = threading.Thread(target=self._read_ahead, name="batch-reader", daemon=True)
        self._thread.start()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Batch:
        """The next batch.

        Raises:
            StopIteration: When there are no more or the iterator is closed.
            ShardError: Whatever reading raised in the thread.
        """
        if self._stopped.is_set():
            raise StopIteration
        begin = time.perf_counter()
        item = self._ready.get()
        self.wait_seconds += time.perf_counter() - begin
        if isinstance(item, Batch):
            return item
        self.close()
        if item is None:
            raise StopIteration
        raise item

    def close(self) -> None:
        """Stop the thread; batches already read are dropped."""
        self._stopped.set()
        while self._thread.is_alive():
            while not self._ready.empty():
                self._ready.get_nowait()
            self._thread.join(timeout=0.01)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read_ahead(self) -> None:
        try:
            for batch in self._batches:
                if self._stopped.is_set():
                    return
                self._ready.put(batch)
            self._ready.put(None)
        except BaseException as error:
            self._ready.put(error)


def check_same_vocabulary(shards: Sequence[Shards]) -> None:
    """Refuse shards of different vocabularies.

    Raises:
        ShardError: Naming two folders that differ.
    """
    for source in shards[1:]:
        if source.vocabulary_hash != shards[0].vocabulary_hash:
            raise ShardError(
                f"{source.folder} and {shards[0].folder} were encoded with different vocabularies; "
                "encode both with the same one"
            )
