"""Batches of windows from token shards, in the order of a ``SampleOrder``, read ahead by one thread."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from training.sample_order import SampleOrder, window_count, window_start
from training.shards import ShardError, Shards, Span


class Batch(NamedTuple):
    """Inputs and what follows each of them: int64 [count, context] each, ``targets[:, :-1] == tokens[:, 1:]``."""

    tokens: Tensor
    targets: Tensor


def sample_order(shards: Sequence[Shards], weights: Sequence[float], *, context: int, seed: int) -> SampleOrder:
    """The order of windows over the training splits of these shards.

    Args:
        shards: One for each source, in the order that ``Sample.source`` counts.
        weights: The sources' shares of the samples; they need not add up to 1.
        context: Tokens of a window.
        seed: Another seed, another order.

    Raises:
        ShardError: If a training split is too short for one window.
        SampleOrderError: If the weights do not fit.
    """
    for source in shards:
        if window_count(source.train.token_count, context) == 0:
            raise ShardError(
                f"{source.folder} has {source.train.token_count} training tokens, too few for one window of "
                f"{context + 1}; shorten the context, add documents to '{source.dump}', or leave it out"
            )
    windows = [window_count(source.train.token_count, context) for source in shards]
    return SampleOrder(windows, weights, seed=seed)


class WindowLoader:
    """Reads samples as tensors. The same numbers give the same batches, whoever asks, in any order."""

    def __init__(self, shards: Sequence[Shards], order: SampleOrder, context: int) -> None:
        """Take the sources that the order was made for.

        Raises:
            ShardError: If the shards are of different vocabularies or do not fit the order.
        """
        check_same_vocabulary(shards)
        windows = tuple(window_count(source.train.token_count, context) for source in shards)
        if windows != order.windows:
            raise ShardError(
                f"the sample order is for {order.windows} windows by source, the shards in "
                f"{', '.join(str(source.folder) for source in shards)} hold {windows}: not the data it was made for"
            )
        self._splits = [source.train for source in shards]
        self._order = order
        self._context = context

    def batch(self, first_sample: int, count: int) -> Batch:
        """The samples ``first_sample`` to ``first_sample + count - 1``, one a row."""
        samples = self._order.samples(first_sample, count)
        rows = np.empty((count, self._context + 1), dtype=np.int64)
        columns = (samples.source.tolist(), samples.epoch.tolist(), samples.window.tolist())
        for row, (source, epoch, window) in enumerate(zip(*columns, strict=True)):
            filled = 0
            for start, length in self._stretches(source, epoch, window):
                rows[row, filled : filled + length] = self._splits[source].tokens(start, length)
                filled += length
        windows = torch.from_numpy(rows)
        return Batch(windows[:, :-1].contiguous(), windows[:, 1:].contiguous())

    def documents(self, sample: int) -> tuple[int, list[Span]]:
        """The source of that sample and the documents its ``context + 1`` tokens come from, in order."""
        source, epoch, window = self._order.sample(sample)
        split = self._splits[source]
        spans = [split.spans(start, length) for start, length in self._stretches(source, epoch, window)]
        return source, [span for part in spans for span in part]

    def prefetch(self, requests: Iterable[tuple[int, int]], *, depth: int = 4, pin_memory: bool = False) -> Prefetch:
        """Read the batches of ``requests`` (first sample, count) ahead, at most ``depth`` of them."""
        return Prefetch(self, requests, depth=depth, pin_memory=pin_memory)

    def _stretches(self, source: int, epoch: int, window: int) -> list[tuple[int, int]]:
        """Start and length of the window's tokens in its split: one stretch, or two where it runs over the end."""
        tokens = self._splits[source].token_count
        start = window_start(epoch, window, tokens=tokens, context=self._context)
        length = min(self._context + 1, tokens - start)
        rest = self._context + 1 - length
        return [(start, length), (0, rest)] if rest else [(start, length)]


class Prefetch:
    """Iterator over batches that a thread reads ahead. Use as a context manager, so that the thread ends.

    Attributes:
        wait_seconds: Time the consumer has waited for batches so far.
    """

    def __init__(
        self, loader: WindowLoader, requests: Iterable[tuple[int, int]], *, depth: int, pin_memory: bool
    ) -> None:
        self.wait_seconds = 0.0
        self._ready: queue.Queue[Batch | BaseException | None] = queue.Queue(maxsize=depth)
        self._stopped = threading.Event()
        self._arguments = (loader, iter(requests), pin_memory)
        self._thread = threading.Thread(target=self._read_ahead, name="window-loader", daemon=True)
        self._thread.start()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Batch:
        """The next batch.

        Raises:
            StopIteration: When the requests are used up or the iterator is closed.
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
        loader, requests, pin_memory = self._arguments
        try:
            for first_sample, count in requests:
                if self._stopped.is_set():
                    return
                batch = loader.batch(first_sample, count)
                self._ready.put(Batch(batch.tokens.pin_memory(), batch.targets.pin_memory()) if pin_memory else batch)
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
