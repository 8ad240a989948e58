"""Forward: the documents of a training step."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from assets.trace.errors import TraceError
from assets.trace.run import TracedRun
from training.permutation import Integers
from training.shards import Span, Split


@dataclass(frozen=True)
class SampleTrace:
    """One sequence of a step.

    Attributes:
        number: Its number in the whole order.
        rank: The rank that read it; of ranks that share sequences or layers the first one.
        dump: The source.
        epoch: The pass over the source that it belongs to, from 0.
        spans: The stretches of documents that are its targets, in order.
    """

    number: int
    rank: int
    dump: str
    epoch: int
    spans: tuple[Span, ...]


@dataclass(frozen=True)
class SeenDocument:
    """A document in a step.

    Attributes:
        dump: The source.
        doc_id: Its id.
        tokens: Of its tokens, how many were targets, each time counted.
        samples: The sequences it was in.
    """

    dump: str
    doc_id: str
    tokens: int
    samples: tuple[int, ...]


def step_samples(run: TracedRun, step: int, *, rank: int | None = None) -> list[SampleTrace]:
    """The sequences of a step, in order.

    Args:
        run: The model's run.
        step: From 0, below ``run.steps``.
        rank: Only those that this rank read.

    Raises:
        TraceError: If there is no such step or rank.
    """
    numbers = _step_numbers(run, step)
    ranks = _ranks_of(run, len(numbers))
    if rank is not None and not 0 <= rank < run.ranks:
        raise TraceError(f"rank {rank} is none of the run's, 0 to {run.ranks - 1}")
    traces = []
    for number, reader in zip(numbers, ranks, strict=True):
        if rank is not None and reader != rank - rank % run.settings.training.parallel.sharing_ranks:
            continue
        source, positions = run.reader.positions(number)
        spans = tuple(position_spans(run.sources[source].train, positions))
        epoch = run.reader.order.sample(number).epoch
        traces.append(SampleTrace(number, reader, run.sources[source].dump, epoch, spans))
    return traces


def seen_documents(samples: Sequence[SampleTrace]) -> list[SeenDocument]:
    """The documents of some sequences, those with most tokens first."""
    tokens: defaultdict[tuple[str, str], int] = defaultdict(int)
    numbers: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
    for sample in samples:
        for span in sample.spans:
            tokens[sample.dump, span.doc_id] += span.length
            numbers[sample.dump, span.doc_id].add(sample.number)
    ordered = sorted(tokens, key=lambda key: (-tokens[key], key))
    return [SeenDocument(dump, doc, tokens[dump, doc], tuple(sorted(numbers[dump, doc]))) for dump, doc in ordered]


def position_spans(split: Split, positions: Integers) -> list[Span]:
    """The stretches of documents at positions of a split, in the positions' order; negative ones are left out."""
    inside = positions[positions >= 0]
    if not inside.size:
        return []
    runs = np.split(inside, np.flatnonzero(np.diff(inside) != 1) + 1)
    return [span for stretch in runs for span in split.spans(int(stretch[0]), stretch.size)]


def _step_numbers(run: TracedRun, step: int) -> range:
    if not 0 <= step < run.steps:
        raise TraceError(f"the model has learned in the steps 0 to {run.steps - 1}; there is no step {step}")
    if step in run.skipped:
        raise TraceError(
            f"the model has not learned from step {step}: it was left out, and `corpusline suspects` says why (it "
            f"counts from 1: step {step + 1}), or it came after the weights that the next run began from"
        )
    first, batch, _ = run.reader.order.step(step)
    return range(first, first + batch)


def _ranks_of(run: TracedRun, batch: int) -> list[int]:
    """The first rank that reads each sequence of a step (``training.loader.BatchStream``)."""
    parallel = run.settings.training.parallel
    groups = run.ranks // parallel.sharing_ranks
    return [place // parallel.micro_batch % groups * parallel.sharing_ranks for place in range(batch)]
