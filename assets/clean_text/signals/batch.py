"""A batch of texts with what several signals are made of: its pieces, lines and characters, each computed once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import rjieba

from assets.clean_text.arrays import string_array, strings
from assets.clean_text.kernels.buffers import Array, utf8
from assets.clean_text.kernels.characters import count_characters, count_marks
from assets.clean_text.kernels.contractions import english, universal
from assets.clean_text.kernels.lines import Lines, measure_lines
from assets.clean_text.kernels.ngrams import repeated_characters
from assets.clean_text.kernels.pieces import SEPARATOR, Pieces, cut
from assets.clean_text.kernels.unicode_tables import character_bits
from assets.clean_text.kernels.word_statistics import WordStatistics, word_statistics
from assets.clean_text.language import Languages, identify
from assets.clean_text.stop_words import STOP_WORDS
from assets.clean_text.urls import url_features

ENGLISH, CHINESE, ANY = "english", "rjieba", "spaces"
"""Names of the splitters: spaCy's rules for English, jieba's dictionary and model, spaCy's rules for any language."""

_MARKS = ("#", "...", "…", "{")


def splitter(language: str | None) -> str:
    """Which of the splitters cuts texts of a language."""
    base = (language or "").partition("-")[0]
    return {"en": ENGLISH, "zh": CHINESE, "yue": CHINESE}.get(base, ANY)


class Scorer(Protocol):
    """A model that gives each text a number."""

    def score(self, texts: pa.StringArray) -> Array:
        """float64 (n,)."""


@dataclass(frozen=True)
class Models:
    """Models of the user's that signals ask; None where the settings name none."""

    quality: Scorer | None = None
    perplexity: Scorer | None = None


NO_MODELS = Models()


class TextBatch:
    """n documents, for signals to measure.

    Attributes:
        texts: ``pa.StringArray`` (n,), no nulls.
        languages: ``pa.StringArray`` (n,), declared language codes.
        urls: ``pa.StringArray`` (n,), null where a document has none.
        models: Models of the user's.
    """

    def __init__(
        self,
        texts: pa.StringArray,
        languages: pa.StringArray,
        urls: pa.StringArray | None = None,
        models: Models = NO_MODELS,
    ) -> None:
        self.texts = texts
        self.languages = languages
        self.urls = urls if urls is not None else pa.nulls(len(texts), pa.string())
        self.models = models

    def __len__(self) -> int:
        return len(self.texts)

    @cached_property
    def buffers(self) -> tuple[Array, Array]:
        """The texts' UTF-8 bytes and offsets, as compiled loops read them."""
        return utf8(self.texts)

    @cached_property
    def character_counts(self) -> Array:
        """int64 (n, 33): characters by class bit (``kernels.unicode_tables``), and last all characters."""
        return count_characters(*self.buffers, character_bits())

    @cached_property
    def lines(self) -> Lines:
        """Measures of the lines and paragraphs."""
        return measure_lines(*self.buffers, character_bits())

    @cached_property
    def mark_counts(self) -> dict[str, Array]:
        """int64 (n,): occurrences of ``#``, ``...``, ``…`` and ``{``."""
        return dict(zip(_MARKS, count_marks(*self.buffers, _MARKS).T, strict=True))

    @cached_property
    def splitters(self) -> list[str]:
        """Name of the splitter of each text."""
        return [splitter(language) for language in self.languages.to_pylist()]

    @cached_property
    def pieces(self) -> list[tuple[str, Array, Pieces]]:
        """Pieces by splitter: its language's name, the rows it is for (int64), and their pieces in that order."""
        languages = np.array([(language or "").partition("-")[0] for language in self.languages.to_pylist()], object)
        groups = []
        for language in sorted(set(languages)):
            rows: Array = np.flatnonzero(languages == language)
            texts = self.texts if len(rows) == len(self) else self.texts.take(pa.array(rows, pa.int64()))
            groups.append((language, rows, split(texts, splitter(language))))
        return groups

    @cached_property
    def word_statistics(self) -> WordStatistics:
        """Counts of pieces and words."""
        result = np.zeros((len(WordStatistics._fields), len(self)), np.int64)
        for language, rows, pieces in self.pieces:
            result[:, rows] = word_statistics(pieces, STOP_WORDS.get(language, ()))
        return WordStatistics(*result)

    @cached_property
    def identified(self) -> Languages:
        """Languages found, and how sure that is."""
        return identify(self.texts)

    @cached_property
    def url_features(self) -> pa.Table:
        """n rows of ``urls.URL_FEATURES``."""
        return url_features(self.urls)

    @cached_property
    def sentences(self) -> Array:
        """int64 (n,): sentences, counted line by line."""
        result = np.zeros(len(self), np.int64)
        for _, rows, pieces in self.pieces:
            result[rows] = pieces.sentences
        return result

    @cached_property
    def repeated_characters(self) -> Array:
        """int64 (n, 9): characters of repeated n-grams, see ``kernels.ngrams``."""
        result = np.zeros((len(self), 9), np.int64)
        for _, rows, pieces in self.pieces:
            result[rows] = repeated_characters(pieces)
        return result

    def share(self, bits: int) -> Array:
        """float64 (n,): share of the characters of a class among those that are not white space."""
        return ratio(self.count(bits), self.visible_characters)

    def count(self, bit: int) -> Array:
        """int64 (n,): characters of a class, one bit of ``kernels.unicode_tables``."""
        counts: Array = self.character_counts[:, bit.bit_length() - 1]
        return counts

    @property
    def characters(self) -> Array:
        """int64 (n,): all characters."""
        counts: Array = self.character_counts[:, -1]
        return counts

    @cached_property
    def visible_characters(self) -> Array:
        """int64 (n,): characters that are not white space."""
        from assets.clean_text.kernels.unicode_tables import SPACE

        counts: Array = self.characters - self.count(SPACE)
        return counts


def split(texts: pa.StringArray, name: str) -> Pieces:
    """The pieces of texts, by the splitter of that name."""
    if name == CHINESE:
        texts = string_array([SEPARATOR.join(rjieba.cut(text)) for text in strings(texts)])
    special = english() if name == ENGLISH else universal()
    return cut(*utf8(texts), character_bits(), special, separated=name == CHINESE)


def ratio(part: Array, whole: Array) -> Array:
    """float64: part / whole, 0 where there is nothing to divide by."""
    return np.divide(part, whole, out=np.zeros(len(whole)), where=whole > 0)


def lengths(texts: pa.StringArray) -> Array:
    """int64 (n,): bytes of each text."""
    size: Array = pc.binary_length(texts).to_numpy(zero_copy_only=False).astype(np.int64)
    return size
