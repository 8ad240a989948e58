"""The documents of a step that a training has left out, the worst first, with their text: ``suspects.jsonl``.

One JSON object a line: ``step`` (counted from 1), ``dump``, ``doc_id``, ``tokens`` of it in the step's batch, their
``loss`` (mean, nats a token) by the weights before the step, and their ``text``.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

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
        lines = [json.dumps(asdict(suspect), ensure_ascii=False).encode() + b"\n" for suspect in suspects]
        with (run / SUSPECTS).open("a+b") as file:
            if file.seek(0, os.SEEK_END):
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    lines.insert(0, b"\n")
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())


def read_suspects(run: Path) -> list[Suspect]:
    """Of all steps that a run has left out, as they were found; half a line is none."""
    path = run / SUSPECTS
    if not path.is_file():
        return []
    suspects = []
    for line in path.read_bytes().split(b"\n"):
        try:
            suspects.append(Suspect(**json.loads(line)))
        except (ValueError, TypeError):
            continue
    return suspects
