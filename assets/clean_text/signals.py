"""Signals: what is measured of a document. They decide nothing: rules do, and can again over the stored columns.

A signal is one function below: it takes a ``TextBatch`` of n texts and returns n values. Its name is the column's in
``signals-*.parquet``, its docstring what the column means. Where words are counted, the name says how they were split.
Shares are of the characters that are not white space, unless the docstring says otherwise; they are 0 where there are
none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assets.clean_text.arrays import strings
from assets.clean_text.characters import (
    DIGIT,
    HAN,
    LATIN,
    LETTER,
    PUNCTUATION,
    SYMBOL,
    Array,
    Characters,
)
from assets.clean_text.words import words

_LONG_HEAD = 1 << 20
_SHORT_HEAD = 1 << 12
_GRAM = 13
_ALL_GRAMS = 1 << 12
_SAMPLING_BITS = 3


class TextBatch:
    """n texts (``pa.StringArray``, no nulls), their language codes, and their characters as arrays."""

    def __init__(self, texts: pa.StringArray, languages: pa.StringArray) -> None:
        self.texts = texts
        self.languages = languages

    def __len__(self) -> int:
        return len(self.texts)

    @cached_property
    def characters(self) -> Characters:
        """All characters."""
        return Characters.of(self.texts)

    @cached_property
    def lines(self) -> tuple[Array, pa.StringArray]:
        """Index of the text (int64) and content of each line that is not blank."""
        split: Any = pc.split_pattern(self.texts, "\n")
        owners: Array = pc.list_parent_indices(split).to_numpy()
        lines: pa.StringArray = split.flatten()
        filled = pc.binary_length(lines).to_numpy(zero_copy_only=False) > 0
        return owners[filled], lines.filter(pa.array(filled))

    @cached_property
    def character_runs(self) -> tuple[Array, Array]:
        """Index of the text and number of occurrences of each different character of its first 4,096."""
        visible = self.characters.heads(_SHORT_HEAD).without_space()
        return visible.runs(visible.owners(), visible.codepoints.astype(np.uint64))

    @cached_property
    def rjieba_words(self) -> tuple[Array, Array]:
        """Number of words with a letter or digit, and sum of their lengths, of each text; by ``words.words``."""
        counts, lengths = np.zeros(len(self.texts), np.int64), np.zeros(len(self.texts), np.int64)
        pairs = zip(strings(self.texts), self.languages.to_pylist(), strict=True)
        for index, (text, language) in enumerate(pairs):
            sizes = [len(word) for word in words(text, language=language or "") if any(map(str.isalnum, word))]
            counts[index], lengths[index] = len(sizes), sum(sizes)
        return counts, lengths

    def share(self, bits: int) -> Array:
        """float64 (n,): share of characters that have one of these class bits."""
        return _ratio(self.characters.count(self.characters.classes & bits), self.characters.visible_lengths)


@dataclass(frozen=True)
class Signal:
    """A column: its name, Arrow type, meaning, how it is computed, and whether it is only when a rule asks for it."""

    name: str
    type: pa.DataType
    description: str
    compute: Callable[[TextBatch], Array]
    on_request: bool = False


SIGNALS: dict[str, Signal] = {}
"""Every signal by name, in the order of the columns."""


def signal(
    type: pa.DataType, *, on_request: bool = False
) -> Callable[[Callable[[TextBatch], Array]], Callable[[TextBatch], Array]]:
    """Make a function a signal. ``on_request``: costly, computed only if a rule that is on asks for it."""

    def register(compute: Callable[[TextBatch], Array]) -> Callable[[TextBatch], Array]:
        name = compute.__name__
        SIGNALS[name] = Signal(name, type, (compute.__doc__ or "").strip(), compute, on_request)
        return compute

    return register


def signals_schema(requested: Iterable[str] = ()) -> pa.Schema:
    """Schema of ``signals-*.parquet``: doc_id and one column a signal, those on request only where named."""
    wanted = set(requested)
    columns = [s for s in SIGNALS.values() if not s.on_request or s.name in wanted]
    return pa.schema([pa.field("doc_id", pa.string())] + [pa.field(s.name, s.type) for s in columns])


def measure(
    doc_ids: pa.StringArray, texts: pa.StringArray, languages: pa.StringArray, *, requested: Iterable[str] = ()
) -> pa.Table:
    """Table of ``signals_schema(requested)`` with a row for each text, in order.

    Args:
        doc_ids: Identifiers, (n,).
        texts: Normalised texts without nulls, (n,); n is below 2^20.
        languages: Language codes, (n,).
        requested: Names of signals to compute although they are costly.
    """
    batch = TextBatch(texts, languages)
    schema = signals_schema(requested)
    columns = [pa.array(SIGNALS[name].compute(batch), SIGNALS[name].type) for name in schema.names[1:]]
    return pa.Table.from_arrays([doc_ids, *columns], schema=schema)


@signal(pa.int64())
def characters(batch: TextBatch) -> Array:
    """Characters (code points), white space included."""
    return batch.characters.lengths


@signal(pa.int64())
def bytes(batch: TextBatch) -> Array:
    """Bytes of the text as UTF-8."""
    return pc.binary_length(batch.texts).to_numpy(zero_copy_only=False)


@signal(pa.int64())
def visible_characters(batch: TextBatch) -> Array:
    """Characters that are not white space."""
    return batch.characters.visible_lengths


@signal(pa.int64())
def lines(batch: TextBatch) -> Array:
    """Lines that are not blank."""
    return np.bincount(batch.lines[0], minlength=len(batch))


@signal(pa.int64())
def longest_line(batch: TextBatch) -> Array:
    """Characters of the longest line."""
    owners, content = batch.lines
    longest = np.zeros(len(batch), np.int64)
    np.maximum.at(longest, owners, pc.utf8_length(content).to_numpy())
    return longest


@signal(pa.float64())
def letter_share(batch: TextBatch) -> Array:
    """Share of letters of any script, with their marks."""
    return batch.share(LETTER)


@signal(pa.float64())
def digit_share(batch: TextBatch) -> Array:
    """Share of digits and other numerals of any script."""
    return batch.share(DIGIT)


@signal(pa.float64())
def punctuation_share(batch: TextBatch) -> Array:
    """Share of punctuation of any script."""
    return batch.share(PUNCTUATION)


@signal(pa.float64())
def symbol_share(batch: TextBatch) -> Array:
    """Share of symbols: currency, mathematics, arrows, emoji, boxes."""
    return batch.share(SYMBOL)


@signal(pa.float64())
def han_share(batch: TextBatch) -> Array:
    """Share of Han characters among letters; digits and punctuation are common to all scripts."""
    return _script_share(batch, HAN)


@signal(pa.float64())
def latin_share(batch: TextBatch) -> Array:
    """Share of Latin letters among letters; digits and punctuation are common to all scripts."""
    return _script_share(batch, LATIN)


@signal(pa.float64())
def undecoded_share(batch: TextBatch) -> Array:
    """Share of U+FFFD and private use characters: they stand where a decoder met bytes it did not understand."""
    codepoints = batch.characters.codepoints
    private = ((codepoints >= 0xE000) & (codepoints < 0xF900)) | (codepoints >= 0xF0000)
    return _ratio(batch.characters.count(private | (codepoints == 0xFFFD)), batch.characters.visible_lengths)


@signal(pa.int64())
def words_by_space(batch: TextBatch) -> Array:
    """Runs of characters between white space. Says nothing of Chinese, which has no spaces between words."""
    return np.bincount(batch.characters.text_of(batch.characters.word_starts), minlength=len(batch))


@signal(pa.float64())
def mean_word_length_by_space(batch: TextBatch) -> Array:
    """Characters for each of ``words_by_space``."""
    return _ratio(batch.characters.visible_lengths, words_by_space(batch))


@signal(pa.float64())
def lettered_word_share_by_space(batch: TextBatch) -> Array:
    """Share of ``words_by_space`` that hold a letter."""
    starts = batch.characters.word_starts
    if not len(starts):
        return np.zeros(len(batch))
    lettered = np.maximum.reduceat(batch.characters.classes & LETTER, starts) > 0
    counts = np.bincount(batch.characters.text_of(starts[lettered]), minlength=len(batch))
    return _ratio(counts, words_by_space(batch))


@signal(pa.float64())
def duplicate_line_share(batch: TextBatch) -> Array:
    """Share of the characters of all lines that stand in lines which repeat an earlier line of the text."""
    owners, content = batch.lines
    encoded: Any = content.dictionary_encode()
    lengths = pc.utf8_length(encoded.dictionary).to_numpy()[encoded.indices.to_numpy()]
    _, first = np.unique(owners * len(content) + encoded.indices.to_numpy(), return_index=True)
    total = np.bincount(owners, weights=lengths, minlength=len(batch))
    return _ratio(total - np.bincount(owners[first], weights=lengths[first], minlength=len(batch)), total)


@signal(pa.float64())
def repeated_13_gram_share(batch: TextBatch) -> Array:
    """Share of the windows of 13 characters, white space left out, that repeat an earlier window of the text.

    Measured over the first 2^20 characters. Where there are more than 4,096 windows, it is estimated from an eighth
    of them, chosen by their content, so that all copies of a window are in or out.
    """
    owners, hashes = batch.characters.heads(_LONG_HEAD).without_space().windows(_GRAM)
    few = np.bincount(owners, minlength=len(batch)) <= _ALL_GRAMS
    chosen = few[owners] | (hashes >> np.uint64(64 - _SAMPLING_BITS) == 0)
    owners, hashes = owners[chosen], hashes[chosen]
    windows = np.bincount(owners, minlength=len(batch))
    different = np.bincount(batch.characters.runs(owners, hashes)[0], minlength=len(batch))
    return _ratio(windows - different, windows)


@signal(pa.int64())
def distinct_characters(batch: TextBatch) -> Array:
    """Different characters among the first 4,096, white space left out."""
    return np.bincount(batch.character_runs[0], minlength=len(batch))


@signal(pa.float64())
def character_entropy(batch: TextBatch) -> Array:
    """Shannon entropy in bits of the character frequencies of the first 4,096 characters, white space left out."""
    owners, occurrences = batch.character_runs
    frequency = occurrences / np.bincount(owners, weights=occurrences, minlength=len(batch))[owners]
    return np.bincount(owners, weights=-frequency * np.log2(frequency), minlength=len(batch))


@signal(pa.int64(), on_request=True)
def words_by_rjieba(batch: TextBatch) -> Array:
    """Words that hold a letter or digit: Han text by rjieba, the rest by Unicode word boundaries."""
    return batch.rjieba_words[0]


@signal(pa.float64(), on_request=True)
def mean_word_length_by_rjieba(batch: TextBatch) -> Array:
    """Characters for each of ``words_by_rjieba``."""
    return _ratio(batch.rjieba_words[1], batch.rjieba_words[0])


def _script_share(batch: TextBatch, script: int) -> Array:
    classes = batch.characters.classes
    letters = (classes & LETTER) != 0
    return _ratio(batch.characters.count(letters & ((classes & script) != 0)), batch.characters.count(letters))


def _ratio(part: Array, whole: Array) -> Array:
    return np.divide(part, whole, out=np.zeros(len(whole)), where=whole > 0)
