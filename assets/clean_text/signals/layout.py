"""Lines: how they begin and end, and whether they stand there twice."""

from __future__ import annotations

import pyarrow as pa

from assets.clean_text.kernels.buffers import Array
from assets.clean_text.signals.batch import TextBatch, ratio
from assets.clean_text.signals.registry import signal


@signal(pa.float64(), example=("- a\n• b\nc\nd", 0.5))
def bullet_line_share(batch: TextBatch) -> Array:
    """Share of lines that begin with ``-`` or ``•``."""
    return ratio(batch.lines.bullets, batch.lines.all)


@signal(pa.float64(), example=("a ...\nb…\nc\nd.", 0.5))
def ellipsis_line_share(batch: TextBatch) -> Array:
    """Share of lines that end in ``...`` or ``…``."""
    return ratio(batch.lines.ellipses, batch.lines.all)


@signal(pa.float64(), example=("好。\n书", 0.5), language="zh")
def terminal_line_share(batch: TextBatch) -> Array:
    """Share of filled lines that end in terminal punctuation of any script."""
    return ratio(batch.lines.terminals, batch.lines.filled)


@signal(pa.float64(), example=("short\n" + "long " * 10, 0.5))
def short_line_share(batch: TextBatch) -> Array:
    """Share of filled lines of at most 30 characters."""
    return ratio(batch.lines.short, batch.lines.filled)


@signal(pa.float64(), example=("a\nb\na\nc", 0.25))
def duplicate_line_share(batch: TextBatch) -> Array:
    """Share of lines that stand in the text before."""
    return ratio(batch.lines.repeated_parts, batch.lines.parts)


@signal(pa.float64(), example=("aaa\nbb\naaa", 0.3))
def duplicate_line_character_share(batch: TextBatch) -> Array:
    """Share of the text's characters that stand in lines which stand in the text before."""
    return ratio(batch.lines.repeated_part_characters, batch.characters)


@signal(pa.float64(), example=("aaa\nbb\naaa", 0.375))
def duplicate_line_content_share(batch: TextBatch) -> Array:
    """The same, of the characters without line ends (FineWeb's ``char_duplicates_ratio``)."""
    return ratio(batch.lines.repeated_part_characters, batch.characters - batch.lines.breaks)


@signal(pa.float64(), example=("a\nb\n\nc\n\na\nb\n\nd", 0.25))
def duplicate_paragraph_share(batch: TextBatch) -> Array:
    """Share of paragraphs that stand in the text before."""
    return ratio(batch.lines.repeated_paragraphs, batch.lines.paragraphs)


@signal(pa.float64(), example=("aaa\n\nbb\n\naaa", 0.25))
def duplicate_paragraph_character_share(batch: TextBatch) -> Array:
    """Share of the text's characters that stand in paragraphs which stand in the text before."""
    return ratio(batch.lines.repeated_paragraph_characters, batch.characters)
