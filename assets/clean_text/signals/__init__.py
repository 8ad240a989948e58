"""Signals: what is measured of a document, a module a family. The order of these imports is the order of the columns."""

from assets.clean_text.signals import (  # noqa: F401, I001
    lengths,
    scripts,
    words,
    layout,
    repetition,
    statistics,
    content,
)
from assets.clean_text.signals.batch import TextBatch
from assets.clean_text.signals.registry import (
    BEFORE_EDITS,
    SIGNALS,
    Signal,
    find_signal,
    measure,
    signal,
    signals_schema,
    usual_signals,
)

__all__ = [
    "BEFORE_EDITS",
    "SIGNALS",
    "Signal",
    "TextBatch",
    "find_signal",
    "measure",
    "signal",
    "signals_schema",
    "usual_signals",
]
