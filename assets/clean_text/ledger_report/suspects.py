"""Documents that trainings suspect: those of steps that they have left out because of a spike, with their rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import duckdb

from assets.clean_text.ledger_report.examples import Example, example_of, rows_by_id
from training.suspects import Suspect

MEASURE = "nats_a_token"
_NAME_CHARACTERS = 12


def suspect_examples(
    connection: duckdb.DuckDBPyConnection, suspects: Mapping[str, Sequence[Suspect]], *, per_step: int, characters: int
) -> list[Example]:
    """Suspects that the ledger has, by training and step, the strangest first.

    The rule of such an example is the training and its step, its value the loss before that step, and its excerpt what
    of the document was in the batch.

    Args:
        connection: With the view ``ledger``.
        suspects: By the training's name, as its folder has them.
        per_step: Most of a step.
        characters: Most characters of an excerpt.
    """
    rows = rows_by_id(connection, {suspect.doc_id for found in suspects.values() for suspect in found})
    taken: Counter[str] = Counter()
    examples = []
    for training, found in suspects.items():
        for suspect in found:
            rule = f"step {suspect.step} of training {training[:_NAME_CHARACTERS]}"
            if suspect.doc_id not in rows or taken[rule] == per_step:
                continue
            taken[rule] += 1
            row = rows[suspect.doc_id] | {"value": suspect.loss, "threshold": None}
            example = replace(example_of(rule, row), signal=MEASURE, excerpt=suspect.text[:characters])
            examples.append(example)
    return examples
