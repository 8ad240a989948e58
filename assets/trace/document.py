"""Backward: the training steps that saw a document."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from assets.trace.errors import TraceError
from assets.trace.run import TracedRun
from training.shards import SPLITS, Place, SplitName


@dataclass(frozen=True)
class SeenStep:
    """A step that saw a document.

    Attributes:
        step: From 0.
        samples: The sequences of the step with a token of it.
        tokens: Of its tokens, how many were targets.
    """

    step: int
    samples: tuple[int, ...]
    tokens: int


@dataclass(frozen=True)
class DocumentTrace:
    """How often a model saw a document.

    Attributes:
        doc_id, dump: The document.
        split: ``train``, or ``validation``, which no step saw.
        length: Its tokens, the end-of-document id counted in.
        steps: The steps that saw it, in order.
    """

    doc_id: str
    dump: str
    split: str
    length: int
    steps: tuple[SeenStep, ...]

    @property
    def tokens(self) -> int:
        """Tokens of it that were targets, in all steps together."""
        return sum(step.tokens for step in self.steps)


def trace_document(run: TracedRun, doc_id: str) -> DocumentTrace:
    """The steps of a model that saw a document.

    Args:
        run: The model's run.
        doc_id: The document's id, or the beginning of it.

    Raises:
        TraceError: If no source has such a document, or several have.
    """
    if not doc_id:
        raise TraceError("the document's id is empty; write the beginning of it")
    found: list[tuple[int, SplitName, Place]] = []
    for source, shards in enumerate(run.sources):
        for split in SPLITS:
            place = shards.split(split).find(doc_id)
            if place is not None:
                found.append((source, split, place))
    found = [each for each in found if each[2].doc_id == doc_id] or found
    if not found:
        names = ", ".join(shards.dump for shards in run.sources)
        raise TraceError(
            f"no document {doc_id} is in the token shards of {names}; `corpusline ledger --document` says why"
        )
    if len(found) > 1:
        several = ", ".join(f"{place.doc_id} of {run.sources[source].dump}" for source, _, place in found)
        raise TraceError(f"several documents begin with {doc_id}: {several}; write more of it")
    ((source, split, place),) = found
    steps = _steps(run, source, place) if split == "train" else ()
    return DocumentTrace(place.doc_id, run.sources[source].dump, split, place.length, steps)


def _steps(run: TracedRun, source: int, place: Place) -> tuple[SeenStep, ...]:
    tokens: Counter[int] = Counter()
    samples: dict[int, list[int]] = {}
    for number in run.reader.samples_of(source, place.start, place.length, samples=run.samples):
        step = run.reader.order.step_of(number)
        if step in run.skipped:
            continue
        _, positions = run.reader.positions(number)
        inside = (positions >= place.start) & (positions < place.start + place.length)
        tokens[step] += int(inside.sum())
        samples.setdefault(step, []).append(number)
    return tuple(SeenStep(step, tuple(samples[step]), tokens[step]) for step in sorted(samples))
