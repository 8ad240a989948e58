"""Rules on lines: they edit a document, and what they cut is counted for the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Self

import numba
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from assets.clean_text.kernels.buffers import Array, utf8
from assets.clean_text.kernels.lines import _decode
from assets.clean_text.kernels.unicode_tables import SPACE, character_bits
from training.settings import Settings

EDIT_FIELDS: list[pa.Field[Any]] = [
    pa.field("rule", pa.string()),
    pa.field("count", pa.int64()),
    pa.field("bytes", pa.int64()),
]
EDIT: pa.DataType = pa.struct(EDIT_FIELDS)
"""What a rule did to a document: how many lines or pieces it cut or replaced, and how many UTF-8 bytes went."""


Phrase = Annotated[str, Field(min_length=1)]


class DroppedLines(Settings):
    """Which lines go. A line goes if any of these holds."""

    fewer_words_than: int | None = Field(None, ge=1, description="It has fewer runs of characters between white space.")
    longer_word_than: int | None = Field(None, ge=1, description="Such a run has more characters.")
    contains: list[Phrase] = Field(
        default_factory=list, description="It contains one of these, in any case of letters."
    )
    ends_without: list[Phrase] = Field(default_factory=list, description="It ends in none of these.")
    ends_with: list[Phrase] = Field(default_factory=list, description="It ends in one of these.")
    matches: Phrase | None = Field(None, description="This RE2 expression matches somewhere in it.")


class LineRule(Settings):
    """What happens to lines: those that ``drop`` describes go, what ``remove`` matches is cut out of the others."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$", description="As it stands in the ledger's edits.")
    languages: list[str] = Field(
        default_factory=list, description="Language codes it is for (zh is for zh-Hant too); empty: all."
    )
    drop: DroppedLines | None = Field(None, description="Which lines go.")
    remove: Phrase | None = Field(None, description="An RE2 expression: what it matches inside lines is cut out.")
    strip: bool = Field(False, description="Cut white space at the beginning of lines.")
    description: str = Field("", description="What it is for, in a sentence.")

    @model_validator(mode="after")
    def _does_something(self) -> Self:
        if sum((self.drop is not None, self.remove is not None, self.strip)) != 1:
            raise ValueError(f"line rule '{self.name}': write one of 'drop', 'remove' and 'strip'")
        if self.drop == DroppedLines():
            raise ValueError(f"line rule '{self.name}': 'drop' has no condition, so that no line would go; write one")
        for pattern in (self.remove, self.drop.matches if self.drop else None):
            if pattern is not None:
                try:
                    pc.match_substring_regex(pa.array([""]), pattern)
                except pa.ArrowInvalid as error:
                    raise ValueError(f"line rule '{self.name}': {error}") from None
        return self


class EditLog:
    """Collects, rule by rule, what was done to each of n documents."""

    def __init__(self, documents: int) -> None:
        self._documents = documents
        self._rows: list[Array] = []
        self._names: list[str] = []
        self._counts: list[Array] = []
        self._bytes: list[Array] = []

    def add(self, name: str, counts: Array, bytes_cut: Array) -> None:
        """Note a rule's counts and bytes, int64 (n,) each; documents with count 0 are left out."""
        rows = np.flatnonzero(counts)
        if len(rows):
            self._rows.append(rows)
            self._names += [name] * len(rows)
            self._counts.append(counts[rows])
            self._bytes.append(bytes_cut[rows])

    def array(self) -> pa.ListArray[Any]:
        """list of ``EDIT`` (n,)."""
        rows = np.concatenate([*self._rows, np.zeros(0, np.int64)]).astype(np.int64)
        order: Array = np.argsort(rows, kind="stable")
        offsets: Any = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=self._documents))]).astype(np.int32)
        values = pa.StructArray.from_arrays(
            [
                pa.array(self._names, pa.string()).take(pa.array(order, pa.int64())),
                pa.array(np.concatenate([*self._counts, np.zeros(0, np.int64)])[order], pa.int64()),
                pa.array(np.concatenate([*self._bytes, np.zeros(0, np.int64)])[order], pa.int64()),
            ],
            fields=EDIT_FIELDS,
        )
        edits: Any = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values)
        made: pa.ListArray[Any] = edits
        return made


def edit_lines(
    texts: pa.StringArray, languages: pa.StringArray, rules: Sequence[LineRule], log: EditLog
) -> pa.StringArray:
    """Apply line rules in their order; a line is what stands between line feeds, and an empty text has none.

    Blank lines at both ends of what is left of an edited text go; no rule's count has them.

    Args:
        texts: Normalised texts without nulls, (n,).
        languages: Language codes, (n,).
        rules: Applied one after another, each to what the one before left.
        log: Receives what was cut.
    """
    if not rules or not len(texts):
        return texts
    split: Any = pc.split_pattern(texts, "\n")
    owners: Array = pc.list_parent_indices(split).to_numpy()
    lines: pa.StringArray = split.flatten()
    alive = (pc.binary_length(texts).to_numpy(zero_copy_only=False) > 0)[owners]
    touched = np.zeros(len(texts), bool)
    codes = [code or "" for code in languages.to_pylist()]
    bases = [code.partition("-")[0] for code in codes]
    for rule in rules:
        chosen = np.ones(len(lines), bool)
        if rule.languages:
            meant = [code in rule.languages or base in rule.languages for code, base in zip(codes, bases, strict=True)]
            chosen = np.array(meant)[owners]
        if rule.drop is not None:
            going = _dropped(lines, rule.drop, alive & chosen)
            alive &= ~going
            sizes = pc.binary_length(lines).to_numpy(zero_copy_only=False) + 1
        else:
            before = lines
            lines = _without(lines, rule, alive & chosen)
            sizes = (pc.binary_length(before).to_numpy(zero_copy_only=False)).astype(np.int64)
            sizes = sizes - pc.binary_length(lines).to_numpy(zero_copy_only=False)
            going = sizes > 0
        counts = np.bincount(owners[going], minlength=len(texts))
        cut = np.bincount(owners[going], weights=sizes[going], minlength=len(texts)).astype(np.int64)
        if rule.drop is not None:
            # The last line that goes has no line feed left to take along.
            cut -= (counts > 0) & (np.bincount(owners[alive], minlength=len(texts)) == 0)
        touched |= counts > 0
        log.add(rule.name, counts, cut)
    return _joined(texts, lines, owners, alive, touched)


def _dropped(lines: pa.StringArray, drop: DroppedLines, alive: Array) -> Array:
    going = np.zeros(len(lines), bool)
    if drop.fewer_words_than is not None or drop.longer_word_than is not None:
        words, longest = count_words(*utf8(lines), character_bits())
        if drop.fewer_words_than is not None:
            going |= words < drop.fewer_words_than
        if drop.longer_word_than is not None:
            going |= longest > drop.longer_word_than
    if drop.ends_without:
        going |= ~_any(lines, pc.ends_with, drop.ends_without)
    if drop.ends_with:
        going |= _any(lines, pc.ends_with, drop.ends_with)
    if drop.contains:
        pattern = "(?i)" + "|".join(_literal(phrase) for phrase in drop.contains)
        going |= pc.match_substring_regex(lines, pattern).to_numpy(zero_copy_only=False)
    if drop.matches is not None:
        going |= pc.match_substring_regex(lines, drop.matches).to_numpy(zero_copy_only=False)
    return going & alive


def _without(lines: pa.StringArray, rule: LineRule, chosen: Array) -> pa.StringArray:
    pattern = r"^\pZ+|^[\s]+" if rule.strip else rule.remove or ""
    hits = pc.match_substring_regex(lines, pattern).to_numpy(zero_copy_only=False) & chosen
    if not hits.any():
        return lines
    found = lines.filter(pa.array(hits))
    edited: Any = (
        pc.utf8_ltrim_whitespace(found)
        if rule.strip
        else pc.replace_substring_regex(found, pattern=pattern, replacement="")
    )
    result: pa.StringArray = pc.replace_with_mask(lines, pa.array(hits), edited)
    return result


def _joined(
    texts: pa.StringArray, lines: pa.StringArray, owners: Array, alive: Array, touched: Array
) -> pa.StringArray:
    """The texts whose lines were touched made anew of what is left, without line feeds at both ends."""
    if not touched.any():
        return texts
    staying = alive & touched[owners]
    rows = np.flatnonzero(touched)
    counts = np.bincount(owners[staying], minlength=len(texts))[rows]
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    grouped: Any = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), lines.filter(pa.array(staying)))
    made: Any = pc.utf8_trim(pc.binary_join(grouped, pa.scalar("\n", lines.type)), characters="\n")
    result: pa.StringArray = pc.replace_with_mask(texts, pa.array(touched), made)
    return result


def _any(lines: pa.StringArray, test: Any, patterns: Sequence[str]) -> Array:
    result = np.zeros(len(lines), bool)
    for pattern in patterns:
        result |= test(lines, pattern).to_numpy(zero_copy_only=False)
    return result


def _literal(phrase: str) -> str:
    return "".join(
        character if character.isalnum() or character == " " else f"\\x{{{ord(character):x}}}" for character in phrase
    )


@numba.njit(cache=True, nogil=True)
def count_words(data, offsets, bits):  # type: ignore[no-untyped-def]
    """Runs of characters between white space in each of n lines, and characters of the longest: int64 (n,) each."""
    lines = len(offsets) - 1
    words = np.zeros(lines, np.int64)
    longest = np.zeros(lines, np.int64)
    for line in range(lines):
        size = 0
        at = offsets[line]
        while at < offsets[line + 1]:
            byte = data[at]
            code = _decode(data, at)
            at += 1 if byte < 128 else 2 if byte < 224 else 3 if byte < 240 else 4
            if bits[code] & SPACE:
                size = 0
                continue
            if size == 0:
                words[line] += 1
            size += 1
            longest[line] = max(longest[line], size)
    return words, longest
