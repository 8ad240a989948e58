"""Words. The cut depends on the language, and ``word_splitter`` says which it was: thresholds hold for one cut only."""

from __future__ import annotations

import pyarrow as pa

from assets.clean_text.kernels.buffers import Array
from assets.clean_text.signals.batch import TextBatch, ratio
from assets.clean_text.signals.registry import signal


@signal(pa.string(), example=("好书", "rjieba"), language="zh")
def word_splitter(batch: TextBatch) -> pa.Array[pa.StringScalar]:
    """How words were found: ``english`` (spaCy's rules), ``rjieba`` (jieba's dictionary), ``spaces`` (spaCy's general
    rules)."""
    return pa.array(batch.splitters, pa.string())


@signal(pa.int64(), example=("I don't know!", 5))
def pieces(batch: TextBatch) -> Array:
    """Words and marks."""
    return batch.word_statistics.pieces


@signal(pa.int64(), example=("I don't know!", 4))
def words(batch: TextBatch) -> Array:
    """Pieces with a character that is no mark (datatrove's ``non_symbol_words``)."""
    return batch.word_statistics.words


@signal(pa.float64(), example=("Hello, you", 4.0))
def mean_word_length(batch: TextBatch) -> Array:
    """Characters for each of ``words``."""
    return ratio(batch.word_statistics.characters, batch.word_statistics.words)


@signal(pa.float64(), example=("Hello, 12 you", 0.5))
def lettered_piece_share(batch: TextBatch) -> Array:
    """Share of pieces with a letter."""
    return ratio(batch.word_statistics.lettered, batch.word_statistics.pieces)


@signal(pa.int64(), example=("the cat and the dog", 2))
def stop_words(batch: TextBatch) -> Array:
    """How many of the language's stop words occur (``stop_words.py``); 0 for languages without a list."""
    return batch.word_statistics.stop_words


@signal(pa.float64(), example=("# one # two", 0.5))
def hash_signs_per_piece(batch: TextBatch) -> Array:
    """Occurrences of ``#`` for each piece."""
    return ratio(batch.mark_counts["#"], batch.word_statistics.pieces)


@signal(pa.float64(), example=("well ... no …", 0.5))
def ellipses_per_piece(batch: TextBatch) -> Array:
    """Occurrences of ``...`` and ``…`` for each piece."""
    return ratio(batch.mark_counts["..."] + batch.mark_counts["…"], batch.word_statistics.pieces)


@signal(pa.float64(), example=("one\ntwo", 0.5))
def line_breaks_per_piece(batch: TextBatch) -> Array:
    """Line ends for each piece."""
    return ratio(batch.lines.breaks, batch.word_statistics.pieces)
