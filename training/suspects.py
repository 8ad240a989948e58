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
    """Add those of a step that the file does not have yet."""
    if suspects and all(known.step != suspects[0].step for known in read_suspects(run)):
        with (run / SUSPECTS).open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(asdict(suspect), ensure_ascii=False) + "\n" for suspect in suspects)
            file.flush()
            os.fsync(file.fileno())


def read_suspects(run: Path) -> list[Suspect]:
    """Of all steps that a run has left out, as they were found."""
    path = run / SUSPECTS
    if not path.is_file():
        return []
    text = path.read_text(encoding="utf-8")
    return [Suspect(**json.loads(line)) for line in text[: text.rfind("\n") + 1].split("\n") if line]
