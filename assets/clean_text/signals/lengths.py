"""How much there is of a document."""

from __future__ import annotations

import pyarrow as pa

from assets.clean_text.kernels.buffers import Array
from assets.clean_text.signals.batch import TextBatch, ratio
from assets.clean_text.signals.batch import lengths as byte_lengths
from assets.clean_text.signals.registry import signal


@signal(pa.int64(), example=("Two words.\n", 11))
def characters(batch: TextBatch) -> Array:
    """Characters (code points), white space included."""
    return batch.characters


@signal(pa.int64(), example=("书 a", 5), language="zh")
def bytes_(batch: TextBatch) -> Array:
    """Bytes of the text as UTF-8."""
    return byte_lengths(batch.texts)


@signal(pa.int64(), example=("Two words.\n", 9))
def visible_characters(batch: TextBatch) -> Array:
    """Characters that are not white space."""
    return batch.visible_characters


@signal(pa.int64(), example=("one\n\n  \ntwo", 2))
def lines(batch: TextBatch) -> Array:
    """Lines that are not blank."""
    return batch.lines.filled


@signal(pa.int64(), example=("a\nb\n\nc", 2))
def paragraphs(batch: TextBatch) -> Array:
    """Blocks of lines between blank lines."""
    return batch.lines.paragraphs


@signal(pa.int64(), example=("one\nthree", 5))
def longest_line(batch: TextBatch) -> Array:
    """Characters of the longest line."""
    return batch.lines.longest


@signal(pa.float64(), example=("one\n\nthree", 4.0))
def mean_line_length(batch: TextBatch) -> Array:
    """Characters for each line that is not empty."""
    return ratio(batch.characters - batch.lines.breaks, batch.lines.parts)


@signal(pa.int64(), example=("Dr. No came. He saw!\nThe end", 3))
def sentences(batch: TextBatch) -> Array:
    """Sentences: one begins with each line and after terminal punctuation in a line."""
    return batch.sentences
