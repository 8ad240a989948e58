"""The documents of a step that a training has left out, the worst first, with their text: ``suspects.jsonl``.

One JSON object a line: ``step`` (counted from 1), ``dump``, ``doc_id``, ``tokens`` of it in the step's batch, their
``loss`` (mean, nats a token) by the weights before the step, and their ``text``.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from training.json_lines import append_lines, read_lines

SUSPECTS = "suspects.jsonl"


@dataclass(frozen=True)
class Suspect:
    """A document, or what of it was in one step's batch."""

    step: int
    dump: str
    doc_id: str
    tokens: int
    loss: float
    text: str


def append_suspects(run: Path, suspects: list[Suspect]) -> None:
    """Add those of a step that the file does not have yet; a line that a killed process has left half written ends."""
    if suspects and all(known.step != suspects[0].step for known in read_suspects(run)):
        append_lines(run / SUSPECTS, map(asdict, suspects), sync=True)


def read_suspects(run: Path) -> list[Suspect]:
    """Of all steps that a run has left out, as they were found; half a line is none."""
    return read_lines(run / SUSPECTS, Suspect)
