"""What a document contains that pages of a kind contain."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from assets.clean_text.kernels.buffers import Array
from assets.clean_text.signals.batch import TextBatch
from assets.clean_text.signals.registry import signal


@signal(pa.int64(), example=("if (x) { y }", 1))
def curly_brackets(batch: TextBatch) -> Array:
    """Occurrences of ``{``: program text."""
    return batch.mark_counts["{"]


@signal(pa.int64(), example=("Lorem ipsum dolor", 1))
def lorem_ipsum(batch: TextBatch) -> Array:
    """Occurrences of "lorem ipsum": filler text."""
    counts: Any = pc.count_substring(batch.texts, "lorem ipsum", ignore_case=True)
    values: Array = counts.to_numpy(zero_copy_only=False)
    return values


@signal(pa.int64(), example=("锟斤拷锟斤拷", 2), language="zh")
def misread_replacements(batch: TextBatch) -> Array:
    """Occurrences of ``锟斤拷``, which is U+FFFD twice as UTF-8, read as GBK: text whose characters were lost."""
    counts: Any = pc.count_substring(batch.texts, "锟斤拷")
    values: Array = counts.to_numpy(zero_copy_only=False)
    return values
