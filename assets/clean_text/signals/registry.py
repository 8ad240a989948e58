"""The register of signals: a function becomes a column by ``@signal``.

A signal takes a ``TextBatch`` of n documents and returns n values. Its name is the column's in ``signals-*.parquet``,
its docstring what the column means, its ``example`` a text and the value it must have, which a test measures. It
decides nothing: rules do, and can again over the stored columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from assets.clean_text.errors import CleanTextError
from assets.clean_text.signals.batch import TextBatch
from training.settings import nearest

BEFORE_EDITS = "_before_edits"
"""Ending of a column measured on the text as it was before line rules and masks changed it."""

_TAKEN = ("doc_id", "declared_language")

Compute = Callable[[TextBatch], Any]


@dataclass(frozen=True)
class Signal:
    """A column of ``signals-*.parquet``.

    Attributes:
        name: The function's name.
        type: Arrow type of the values.
        description: What it means, in words.
        compute: From a batch of n documents to n values, as NumPy or Arrow array.
        on_request: Costly: computed only where a rule or a setting asks for it.
        language: Language code of the example.
        example: A text and the value it has; None where that depends on a model.
    """

    name: str
    type: pa.DataType
    description: str
    compute: Compute
    on_request: bool
    language: str
    example: tuple[str, Any] | None


SIGNALS: dict[str, Signal] = {}
"""Every signal by name, in the order of the columns."""


def signal(
    type: pa.DataType, *, example: tuple[str, Any] | None = None, language: str = "en", on_request: bool = False
) -> Callable[[Compute], Compute]:
    """Make a function of a ``TextBatch`` a signal.

    Raises:
        ValueError: If the function has no docstring, or a signal of its name exists.
    """

    def register(compute: Compute) -> Compute:
        name = compute.__name__.rstrip("_")
        if not compute.__doc__:
            raise ValueError(f"the signal '{name}' needs a docstring: what does the column mean?")
        if name in SIGNALS or name in _TAKEN or name.endswith(BEFORE_EDITS):
            raise ValueError(f"a signal cannot be named '{name}': the name is taken")
        SIGNALS[name] = Signal(name, type, compute.__doc__.strip(), compute, on_request, language, example)
        return compute

    return register


def find_signal(name: str) -> Signal:
    """The signal of a column's name.

    Raises:
        CleanTextError: If there is none; the message has the nearest.
    """
    base = name.removesuffix(BEFORE_EDITS)
    if base not in SIGNALS:
        raise CleanTextError(f"no signal '{base}', {nearest(base, list(SIGNALS))}")
    return SIGNALS[base]


def usual_signals(requested: Iterable[str] = ()) -> list[str]:
    """Names of the columns to measure: every signal that is not costly, and those that are asked for."""
    wanted = dict.fromkeys(requested)
    names = [s.name for s in SIGNALS.values() if not s.on_request or s.name in wanted]
    return names + [name for name in wanted if name not in names]


def signals_schema(names: Iterable[str]) -> pa.Schema:
    """Schema of ``signals-*.parquet``: doc_id, the declared language, and a column for each name.

    Raises:
        CleanTextError: If a name is no signal's.
    """
    columns: list[pa.Field[Any]] = [pa.field("doc_id", pa.string()), pa.field("declared_language", pa.string())]
    return pa.schema(columns + [pa.field(name, find_signal(name).type) for name in names])


def measure(
    doc_ids: pa.StringArray, batch: TextBatch, names: Iterable[str], *, before: TextBatch | None = None
) -> pa.Table:
    """Table of ``signals_schema(names)`` with a row for each document, in order.

    Args:
        doc_ids: Identifiers, (n,).
        batch: The documents.
        names: Columns to measure.
        before: The same documents before edits; by default they were not edited.

    Raises:
        CleanTextError: If a name is no signal's, or a signal's values are not one of its type for each document.
    """
    schema = signals_schema(names)
    columns: list[Any] = [doc_ids, batch.languages]
    for name in schema.names[2:]:
        found = find_signal(name)
        subject = batch if before is None or not name.endswith(BEFORE_EDITS) else before
        columns.append(_column(found, found.compute(subject), len(batch)))
    return pa.Table.from_arrays(columns, schema=schema)


def _column(found: Signal, values: Any, documents: int) -> Any:
    if len(values) != documents:
        raise CleanTextError(f"the signal '{found.name}' gives {len(values)} values for {documents} documents")
    try:
        column: Any = values if isinstance(values, pa.ChunkedArray) else pa.array(values)
        return column.cast(found.type)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise CleanTextError(f"the signal '{found.name}' gives no {found.type}: {error}") from None
