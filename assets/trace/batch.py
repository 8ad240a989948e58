"""What exactly a model saw in a step: every sequence with its tokens, boundaries and masks."""

from __future__ import annotations

import codecs
from dataclasses import dataclass

from assets.trace.run import TracedRun
from assets.trace.step import SampleTrace, step_samples
from training.fill_in_the_middle import SENTINEL
from training.models import IGNORED
from training.rows import PADDING

_Decoder = codecs.getincrementaldecoder("utf-8")


@dataclass(frozen=True)
class SeenToken:
    """One target of a sequence.

    Attributes:
        id: The token.
        text: What it adds to the text: of a character in several tokens the last one has it.
        learned: Whether it counts in the loss.
        kind: ``text``, ``end`` (of a document), ``sentinel`` or ``padding``.
        begins: Whether a document begins with it.
    """

    id: int
    text: str
    learned: bool
    kind: str
    begins: bool


@dataclass(frozen=True)
class SeenSequence:
    """One sequence as the model saw it.

    Attributes:
        trace: Its number, rank, source, epoch and documents.
        first_input: The token before the first target.
        targets: The targets, in order.
    """

    trace: SampleTrace
    first_input: int
    targets: tuple[SeenToken, ...]


def step_sequences(run: TracedRun, step: int, *, rank: int | None = None) -> list[SeenSequence]:
    """The sequences of a step, token by token.

    Args:
        run: The model's run.
        step: From 0, below ``run.steps``.
        rank: Only those that this rank read.

    Raises:
        TraceError: If there is no such step or rank.
    """
    names = run.vocabulary.token_bytes()
    sequences = []
    for trace in step_samples(run, step, rank=rank):
        batch = run.reader.batch(trace.number, 1)
        targets = batch.targets(run.reader.end_of_document)[0].tolist()
        row = batch.rows[0].tolist()
        _, positions = run.reader.positions(trace.number)
        tokens: list[SeenToken] = []
        characters = _Decoder("replace")
        for before, token, target, position in zip(row, row[1:], targets, positions.tolist(), strict=False):
            kind = "padding" if position == PADDING else "sentinel" if position == SENTINEL else "text"
            if kind == "text" and token == run.reader.end_of_document:
                kind = "end"
            text = characters.decode(names[token], final=kind != "text")
            begins = kind != "padding" and before == run.reader.end_of_document
            tokens.append(SeenToken(token, text, target != IGNORED, kind, begins))
        sequences.append(SeenSequence(trace, row[0], tuple(tokens)))
    return sequences
