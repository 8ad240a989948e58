"""Which window of which source the n-th training sample is: a pure function of counts, shares and a seed.

Windows. A source is cut into windows, each of as many target tokens as the longest context (``training.rows`` says
which). A pass over all of them is an epoch.

Phases. A training is one phase or several, one after the other, each with its own number of steps, batch, context and
shares of the sources. A context shorter than the longest divides it, and a window is then several samples, its parts.

Order. Within a phase samples come in blocks. In each block every source has the same number of samples, its share;
their order in the block is a keyed shuffle. The k-th sample of a source in the phase leads to a window by a keyed
permutation of its epoch, and every phase goes on where the one before it ended; what is asked for behind the last one
is like it. Nothing is stored: any sample can be asked for at once, a resume is one integer, and neither ranks nor
micro-batches have a part in it. Keys name sources, not their places, so that phases can be added to the end of an
order, and sources anywhere, without a change to what was before; but which source comes before which has to stay.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from training.permutation import ChunkedPermutation, Integers, KeyedPermutation, Permutation, SampleOrderError

_SMALLEST_BLOCK = 1 << 10
_LARGEST_BLOCK = 1 << 20
_SMALLEST_QUOTA = 16
_ENDLESS = 1 << 62


class OrderedSource(NamedTuple):
    """A source as the order knows it.

    Attributes:
        name: Of its dump; another name, another order.
        windows: Windows of one epoch.
    """

    name: str
    windows: int


class Phase(NamedTuple):
    """A stretch of steps that are alike.

    Attributes:
        steps: Their number.
        batch: Samples of a step.
        parts: Samples that a window is cut into: the longest context by this phase's.
        shares: Of the samples, by source; 0 where a source is not read. They need not add up to 1.
    """

    steps: int
    batch: int
    parts: int
    shares: tuple[float, ...]


class Sample(NamedTuple):
    """One training sample: part ``part`` of window ``window`` of epoch ``epoch`` of source ``source``, from 0."""

    source: int
    epoch: int
    window: int
    part: int


class Samples(NamedTuple):
    """Consecutive samples as four int64 arrays of one length; see ``Sample``."""

    source: Integers
    epoch: Integers
    window: Integers
    part: Integers


class StepSamples(NamedTuple):
    """The samples of a step.

    Attributes:
        first: Number of the first one.
        batch: Their number.
        parts: Each is one of so many parts of a window.
    """

    first: int
    batch: int
    parts: int


class SampleOrder:
    """The order of all training samples, endless.

    Attributes:
        sources: As given.
        phases: As given.
        seed: Another seed, another order.
    """

    def __init__(
        self, sources: Sequence[OrderedSource], phases: Sequence[Phase], *, seed: int, chunk_windows: int = 0
    ) -> None:
        """Take the sources and the phases.

        Args:
            sources: At least one; names differ.
            phases: At least one, each with a share for each source.
            seed: Another seed, another order.
            chunk_windows: 0 shuffles each epoch as a whole; else ``ChunkedPermutation`` of chunks of so many windows.

        Raises:
            SampleOrderError: If there is no source, a source has no window, or shares or phases are not possible.
        """
        if not sources or not phases:
            raise SampleOrderError("an order needs a source and a phase")
        names = [source.name for source in sources]
        if len(set(names)) != len(names):
            raise SampleOrderError(f"two sources have the same name among {', '.join(names)}: each dump is named once")
        for source in sources:
            if source.windows < 1:
                raise SampleOrderError(f"source '{source.name}' has no window: the context is longer than its text")
        self.sources = tuple(sources)
        self.phases = tuple(phases)
        self.seed = seed
        self._chunk_windows = chunk_windows
        self._permutation = lru_cache(maxsize=4 * len(sources) + 16)(self._epoch_permutation)
        self._parts_permutation = lru_cache(maxsize=4 * len(sources) + 16)(self._segment_permutation)
        self._ordered: list[_PhaseOrder] = []
        start = _Start(0, 0, np.zeros(len(sources), dtype=np.int64))
        stretches = list(phases)
        if phases[-1].parts > 1:
            # Parts are mixed up to the end of their phase, which must not depend on whether another one follows.
            stretches.append(phases[-1])
        for number, phase in enumerate(stretches):
            last = number == len(stretches) - 1
            ordered = _PhaseOrder(names, number, phase, seed=seed, start=start, endless=last)
            self._ordered.append(ordered)
            start = ordered.end
        self._first_samples = [ordered.start.sample for ordered in self._ordered]
        self._first_steps = [ordered.start.step for ordered in self._ordered]

    def step(self, number: int) -> StepSamples:
        """The samples of a step (0, 1, 2, ...)."""
        ordered = self._ordered[bisect_right(self._first_steps, number) - 1]
        batch = ordered.phase.batch
        return StepSamples(ordered.start.sample + (number - ordered.start.step) * batch, batch, ordered.phase.parts)

    def step_of(self, sample: int) -> int:
        """The step that a sample belongs to."""
        ordered = self._of_sample(sample)
        return ordered.start.step + (sample - ordered.start.sample) // ordered.phase.batch

    def sample(self, number: int) -> Sample:
        """The sample of that number (0, 1, 2, ...)."""
        return Sample(*(int(column[0]) for column in self.samples(number, 1)))

    def samples(self, first: int, count: int) -> Samples:
        """The samples ``first`` to ``first + count - 1``."""
        taken: list[Samples] = []
        end = first + count
        while first < end:
            number = bisect_right(self._first_samples, first) - 1
            until = min(end, self._first_samples[number + 1] if number + 1 < len(self._ordered) else end)
            taken.append(self._phase_samples(self._ordered[number], first, until - first))
            first = until
        if len(taken) == 1:
            return taken[0]
        empty = [np.zeros(0, dtype=np.int64)]
        return Samples(*(np.concatenate([part[column] for part in taken] or empty) for column in range(4)))

    def window_samples(self, source: int, epoch: int, window: int) -> list[tuple[int, Sample]]:
        """The numbers of the samples that a window is read by, with them: the inverse of ``sample``.

        One for each part, but for those that fell to the end of a phase.
        """
        windows = self.sources[source].windows
        ordinal = epoch * windows + int(self._permutation(source, epoch).inverse(window))
        for ordered in self._ordered:
            begin = int(ordered.start.windows[source])
            if not begin <= ordinal < begin + ordered.windows(source):
                continue
            found = []
            for part in range(ordered.phase.parts):
                rank = self._rank(ordered, source, epoch, ordinal, part)
                number = ordered.number(source, rank)
                if number is not None:
                    found.append((number, Sample(source, epoch, window, part)))
            return sorted(found)
        return []

    def epochs(self, samples: int) -> list[float]:
        """How many passes over each source the first ``samples`` samples make."""
        windows = np.zeros(len(self.sources))
        for ordered in self._ordered:
            taken = samples - ordered.start.sample
            if ordered.samples is not None:
                taken = min(taken, ordered.samples)
            if taken > 0:
                windows += ordered.counts(taken) / ordered.phase.parts
        return [float(read) / source.windows for read, source in zip(windows, self.sources, strict=True)]

    def windows_used(self, samples: int) -> list[float]:
        """Windows of each source, counted over all epochs, that the first ``samples`` samples use up.

        More than they read where a phase ends within a window: the rest of that one is left out.
        """
        ordered = self._of_sample(max(0, samples - 1))
        counts = ordered.counts(samples - ordered.start.sample)
        used: list[float] = (ordered.start.windows + counts / ordered.phase.parts).tolist()
        return used

    def _of_sample(self, number: int) -> _PhaseOrder:
        return self._ordered[bisect_right(self._first_samples, number) - 1]

    def _phase_samples(self, ordered: _PhaseOrder, first: int, count: int) -> Samples:
        sources, ranks = ordered.ranks(first - ordered.start.sample, count)
        ordinals, parts = np.empty_like(ranks), np.zeros_like(ranks)
        if ordered.phase.parts == 1:
            ordinals = ordered.start.windows[sources] + ranks
        else:
            for source in np.unique(sources).tolist():
                chosen = sources == source
                ordinals[chosen], parts[chosen] = self._split_ranks(ordered, source, ranks[chosen])
        sizes = np.asarray([source.windows for source in self.sources], dtype=np.int64)[sources]
        epochs, places = ordinals // sizes, ordinals % sizes
        windows = np.empty_like(ranks)
        # Sources and epochs as one number, so that unique is fast.
        keys = epochs * len(self.sources) + sources
        for key in np.unique(keys).tolist():
            chosen = keys == key
            epoch, source = divmod(key, len(self.sources))
            windows[chosen] = self._permutation(source, epoch)(places[chosen])
        return Samples(sources, epochs, windows, parts)

    def _split_ranks(self, ordered: _PhaseOrder, source: int, ranks: Integers) -> tuple[Integers, Integers]:
        """From the k-th sample of a source in a phase to its window, counted over all epochs, and part."""
        ordinals, parts = np.empty_like(ranks), np.empty_like(ranks)
        for segment in np.unique(ordered.segment_of(source, ranks, self.sources[source].windows)).tolist():
            start, length = ordered.segment(source, segment, self.sources[source].windows)
            first = (start - int(ordered.start.windows[source])) * ordered.phase.parts
            chosen = (ranks >= first) & (ranks < first + length * ordered.phase.parts)
            mixed = self._parts_permutation(ordered.number_of_phase, source, segment)(ranks[chosen] - first)
            ordinals[chosen] = start + mixed // ordered.phase.parts
            parts[chosen] = mixed % ordered.phase.parts
        return ordinals, parts

    def _rank(self, ordered: _PhaseOrder, source: int, epoch: int, ordinal: int, part: int) -> int:
        """The inverse of ``_split_ranks``."""
        begin = int(ordered.start.windows[source])
        if ordered.phase.parts == 1:
            return ordinal - begin
        windows = self.sources[source].windows
        segment = epoch - begin // windows
        start, _ = ordered.segment(source, segment, windows)
        mixed = (ordinal - start) * ordered.phase.parts + part
        within = int(self._parts_permutation(ordered.number_of_phase, source, segment).inverse(mixed))
        return (start - begin) * ordered.phase.parts + within

    def _epoch_permutation(self, source: int, epoch: int) -> Permutation:
        name, windows = self.sources[source]
        if self._chunk_windows:
            return ChunkedPermutation(windows, self._chunk_windows, "epoch", self.seed, name, epoch)
        return KeyedPermutation(windows, "epoch", self.seed, name, epoch)

    def _segment_permutation(self, phase: int, source: int, segment: int) -> KeyedPermutation:
        name, windows = self.sources[source]
        ordered = self._ordered[phase]
        _, length = ordered.segment(source, segment, windows)
        return KeyedPermutation(length * ordered.phase.parts, "parts", self.seed, phase, name, segment)


class _Start(NamedTuple):
    """Where a phase begins: its first step and sample, and the windows of each source that were read before it."""

    step: int
    sample: int
    windows: Integers


class _PhaseOrder:
    """The order of one phase: which source a sample is of, and the how many-th of that source in the phase."""

    def __init__(
        self, names: Sequence[str], number: int, phase: Phase, *, seed: int, start: _Start, endless: bool
    ) -> None:
        _check(phase, names, number)
        self.number_of_phase = number
        self.phase = phase
        self.start = start
        self.samples = None if endless else phase.steps * phase.batch
        shares = np.asarray(phase.shares, dtype=np.float64) / sum(phase.shares)
        self.block = _block_size(shares, names)
        self.quotas = _quotas(shares, self.block)
        self._seed = seed
        self._block_sources = lru_cache(maxsize=4)(self._shuffled_sources)

    @property
    def end(self) -> _Start:
        """Where the next phase begins."""
        samples = self.phase.steps * self.phase.batch
        windows = -(-self.counts(samples) // self.phase.parts)
        return _Start(self.start.step + self.phase.steps, self.start.sample + samples, self.start.windows + windows)

    def counts(self, samples: int) -> Integers:
        """Samples of each source among the first ``samples`` of the phase; int64 [sources]."""
        blocks, rest = divmod(samples, self.block)
        counts = blocks * self.quotas
        if rest:
            counts = counts + np.bincount(self._block_sources(blocks)[0][:rest], minlength=len(self.quotas))
        return counts

    def windows(self, source: int) -> int:
        """Windows of a source that the phase reads; without an end many."""
        if self.samples is None:
            return _ENDLESS if self.quotas[source] else 0
        return -(-int(self.counts(self.samples)[source]) // self.phase.parts)

    def ranks(self, first: int, count: int) -> tuple[Integers, Integers]:
        """Source of each of ``count`` samples of the phase from ``first``, and its samples before it in the phase."""
        numbers = np.arange(first, first + count, dtype=np.int64)
        sources = np.empty(count, dtype=np.int64)
        ranks = np.empty(count, dtype=np.int64)
        for block in range(first // self.block, -(-(first + count) // self.block)):
            chosen = slice(max(0, block * self.block - first), (block + 1) * self.block - first)
            within = numbers[chosen] - block * self.block
            block_sources, block_ranks = self._block_sources(block)
            sources[chosen] = block_sources[within]
            ranks[chosen] = block * self.quotas[sources[chosen]] + block_ranks[within]
        return sources, ranks

    def number(self, source: int, rank: int) -> int | None:
        """The number, in the whole order, of a source's sample of that rank; None if the phase ends before it."""
        block, within = divmod(rank, int(self.quotas[source]))
        block_sources, _ = self._block_sources(block)
        place = block * self.block + int(np.flatnonzero(block_sources == source)[within])
        return None if self.samples is not None and place >= self.samples else self.start.sample + place

    def segment_of(self, source: int, ranks: Integers, windows: int) -> Integers:
        """Which of the epochs that the phase touches, from 0, each sample of a source is of."""
        begin = int(self.start.windows[source])
        return (begin + ranks // self.phase.parts) // windows - begin // windows

    def segment(self, source: int, number: int, windows: int) -> tuple[int, int]:
        """First window, counted over all epochs, of the phase's part of an epoch, and its windows."""
        begin = int(self.start.windows[source])
        epoch = begin // windows + number
        first = max(begin, epoch * windows)
        return first, min((epoch + 1) * windows, begin + self.windows(source)) - first

    def _shuffled_sources(self, block: int) -> tuple[npt.NDArray[np.int64], Integers]:
        """For each sample of the block, its source, and how many samples of that source precede it in the block."""
        numbers = np.arange(self.block)
        if np.count_nonzero(self.quotas) == 1:
            return np.full(self.block, np.flatnonzero(self.quotas)[0]), numbers
        shuffle = KeyedPermutation(self.block, "block", self._seed, self.number_of_phase, block)(numbers)
        # The source whose stretch of the block a shuffled place falls into.
        sources = np.searchsorted(np.cumsum(self.quotas), shuffle, side="right")
        ranks = np.empty_like(sources)
        ranks[np.argsort(sources, kind="stable")] = np.concatenate([np.arange(quota) for quota in self.quotas])
        return sources, ranks


def windows_asked(phases: Sequence[Phase], *, continued: bool = False) -> list[float]:
    """What ``SampleOrder.windows_used`` would be after the phases if shares were not rounded to samples in blocks.

    Args:
        phases: At least one.
        continued: Others follow, which leave out what the last one has not read of a window.
    """
    asked = np.zeros(len(phases[0].shares))
    for number, phase in enumerate(phases):
        shares = np.asarray(phase.shares, dtype=np.float64) / sum(phase.shares)
        windows = shares * (phase.steps * phase.batch / phase.parts)
        if phase.parts > 1 and (continued or number < len(phases) - 1):
            # Whole ones, however a sum of fractions was rounded.
            windows = np.ceil(windows - 1e-6)
        asked += windows
    total: list[float] = asked.tolist()
    return total


def _check(phase: Phase, names: Sequence[str], number: int) -> None:
    where = f"phase {number}"
    if phase.steps < 1 or phase.batch < 1 or phase.parts < 1:
        raise SampleOrderError(f"{where}: steps, batch and parts are at least 1, not {phase[:3]}")
    if len(phase.shares) != len(names):
        raise SampleOrderError(f"{where} has {len(phase.shares)} shares for {len(names)} sources: one for each")
    for name, share in zip(names, phase.shares, strict=True):
        if not 0 <= share < math.inf:
            raise SampleOrderError(f"{where}: source '{name}' has the share {share}; shares are not negative")
    if not sum(phase.shares) > 0:
        raise SampleOrderError(f"{where} reads no source: give one of {', '.join(names)} a share")


def _block_size(shares: npt.NDArray[np.float64], names: Sequence[str]) -> int:
    number = int(np.argmin(np.where(shares > 0, shares, math.inf)))
    smallest = float(shares[number])
    block = _SMALLEST_BLOCK
    while block * smallest < _SMALLEST_QUOTA and block < _LARGEST_BLOCK:
        block *= 2
    if block * smallest < 1:
        raise SampleOrderError(
            f"the weight of '{names[number]}' is {smallest:.2g} of all weights, less than one sample in {block}; "
            "raise it or leave the source out"
        )
    return block


def _quotas(shares: npt.NDArray[np.float64], block: int) -> Integers:
    """Whole numbers nearest to ``shares * block`` that add up to ``block``: largest remainders first."""
    exact = shares * block
    quotas = np.floor(exact).astype(np.int64)
    missing = block - int(quotas.sum())
    largest = np.argsort(quotas - exact, kind="stable")[:missing]
    quotas[largest] += 1
    return quotas
