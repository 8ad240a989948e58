"""Signals: what is measured of a document, a module a family. The order of imports is that of the columns."""

from assets.clean_text.signals import (  # noqa: F401, I001
    lengths,
    scripts,
    words,
    layout,
    repetition,
    statistics,
    content,
    language,
    web,
    learned,
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
