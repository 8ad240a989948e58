"""Evaluation sets, indexed by the n-grams that documents must not have in common with them.

An n-gram is 13 tokens in a row (``tokens``: words, or single characters of scripts without spaces), as GPT-3 took for
most sets (Brown et al. 2020, appendix C: the 5th percentile of the items' lengths, at least 8 and at most 13 words).
13 Han characters are about 8 words, the least that GPT-3 took.

An item with fewer tokens is one n-gram of its own length and found whole, from ``shortest`` tokens on: 8, GPT-3's
least. Still shorter items are phrases that anybody may write: they stay unprotected, and are listed in
``EvaluationSets.unprotected``.

GPT-3 also ignored n-grams that more than 10 training documents have. That needs a count over the whole corpus before
the first decision, so it is not done here; ``maximum_items`` does it for phrases that many items of one set share.

Hashes are 64 bits: among a million n-grams and 10^12 tokens, 0.05 are expected to be taken for another.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

import numba
import numpy as np
import pyarrow as pa
from pydantic import Field, field_validator, model_validator

from assets.clean_text.arrays import string_array
from assets.clean_text.characters import Array
from assets.clean_text.errors import CleanTextError
from assets.clean_text.evaluation_files import read_items
from assets.clean_text.tokens import tokens
from assets.raw_text.compression import strip_compression
from training.artifact import file_sha256
from training.settings import Settings

BASE = 0x9E3779B97F4A7C15
"""Of the polynomial modulo 2^64 over token hashes that is an n-gram's hash; the golden ratio, made odd."""

_UNPROTECTED: list[pa.Field[Any]] = [
    pa.field("set", pa.string()),
    pa.field("item", pa.int64()),
    pa.field("tokens", pa.int64()),
    pa.field("reason", pa.string()),
    pa.field("text", pa.string()),
]
UNPROTECTED: pa.Schema = pa.schema(_UNPROTECTED)
"""Items that no document is compared with. ``item``: line or row from 1. ``reason``: ``short`` (fewer tokens than
``shortest``) or ``common`` (more than ``maximum_items`` items have each of its n-grams). ``text``: its beginning."""

_SHOWN = 80

# Bits for each n-gram; more of them let fewer strangers through, and fewer stay in the cache.
_FILTER_BITS = 16
_GATE_BITS = 64


class EvaluationSetSettings(Settings):
    """One evaluation set."""

    path: str = Field(
        min_length=1,
        description="A file: txt (an item a line), jsonl, csv, tsv or Parquet (an item a record); text files also .gz, "
        ".bz2, .xz, .zst.",
    )
    name: str = Field("", description="Name in rules and reports; empty: the file's name without its endings.")
    fields: list[str] = Field(
        default_factory=lambda: ["text"],
        min_length=1,
        description="Fields of a record that are an item together, e.g. [question, choices]; choices.text for a "
        "nested one.",
    )

    @property
    def set_name(self) -> str:
        """The set's name."""
        return self.name or Path(strip_compression(Path(self.path).name)).stem


class DecontaminationSettings(Settings):
    """Which evaluation sets documents must not contain, and what becomes of those that do."""

    sets: list[EvaluationSetSettings] = Field(default_factory=list, description="The evaluation sets.")
    policy: Literal["drop", "cut", "report"] = Field(
        "drop",
        description="drop: drop the document; cut: take the common n-grams out of its text; report: only count.",
    )
    share: float = Field(
        0.5,
        gt=0,
        le=1,
        description="Least share of an item's n-grams in a document that makes it contaminated (PaLM: 0.7 of 8-grams; "
        "GPT-3: any 13-gram, which is a share near 0).",
    )
    ngram: int = Field(13, ge=4, le=50, description="Tokens of an n-gram (GPT-3: 13).")
    shortest: int = Field(8, ge=2, le=50, description="Tokens from which a shorter item is protected, as a whole.")
    maximum_items: int | None = Field(
        None,
        ge=1,
        description="Ignore n-grams that more different items of one set have: phrases of its template. Leave it off "
        "where many items share one passage.",
    )

    @field_validator("sets")
    @classmethod
    def _different_names(cls, sets: list[EvaluationSetSettings]) -> list[EvaluationSetSettings]:
        names = [each.set_name for each in sets]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two sets are named '{name}'; give one another 'name'")
        return sets

    @model_validator(mode="after")
    def _shortest_is_shorter(self) -> Self:
        if self.shortest > self.ngram:
            raise ValueError(f"'shortest' = {self.shortest} is more than 'ngram' = {self.ngram}")
        return self


class Index(NamedTuple):
    """What a kernel looks n-grams up in.

    Attributes:
        keys: uint64 (g,): the different n-grams' hashes, sorted.
        slots: int32, a power of two: numbers of n-grams, -1 where empty; open addressing by the hash's lower bits.
        filter: uint64: a bit for each possible value of a hash's upper bits, set where an n-gram has it.
        filter_shift: Shift to the right that leaves those upper bits.
        gates: The same of the last ``shortest`` tokens of the items that are an n-gram of their own.
        gates_shift: Of ``gates``.
        item_starts: int64 (g + 1,): n-gram j belongs to ``items[item_starts[j]:item_starts[j + 1]]``.
        items: int64: numbers of items.
        set_starts: int64 (g + 1,), of ``sets``.
        sets: int64: numbers of sets.
        sizes: int64 (items,): different n-grams of each item.
        set_of_item: int64 (items,).
        widths: int64, sorted: lengths of the items that are an n-gram of their own, and ``ngram``.
    """

    keys: Array
    slots: Array
    filter: Array
    filter_shift: np.uint64
    gates: Array
    gates_shift: np.uint64
    item_starts: Array
    items: Array
    set_starts: Array
    sets: Array
    sizes: Array
    set_of_item: Array
    widths: Array


@dataclass(frozen=True)
class EvaluationSets:
    """Evaluation sets in memory.

    Attributes:
        settings: What they were loaded with.
        names: Their names, in the order of the settings.
        places: int64 (items,): line or row of each protected item, from 1.
        protected: Items of each set that are compared with documents, copies among them once.
        unprotected: Schema ``UNPROTECTED``.
        index: Their n-grams.
    """

    settings: DecontaminationSettings
    names: tuple[str, ...]
    places: Array
    protected: tuple[int, ...]
    unprotected: pa.Table
    index: Index

    @property
    def rules(self) -> tuple[str, ...]:
        """The ledger's rule for each set."""
        return tuple(f"contaminated:{name}" for name in self.names)

    @cached_property
    def ngrams(self) -> int:
        """Different n-grams of all sets."""
        return len(self.index.keys)


def evaluation_identity(settings: DecontaminationSettings, *, folder: Path = Path()) -> dict[str, Any]:
    """What decontamination depends on, as JSON: the settings with each path replaced by the file's SHA-256.

    Raises:
        CleanTextError: If a file cannot be read.
    """
    identity = settings.model_dump(mode="json")
    for each, described in zip(settings.sets, identity["sets"], strict=True):
        path = folder / each.path
        try:
            described["path"] = file_sha256(path)
        except OSError as error:
            raise CleanTextError(
                f"evaluation set {path} cannot be read ({error.strerror}); correct its 'path'"
            ) from None
        described["name"] = each.set_name
    return identity


def load_evaluation_sets(settings: DecontaminationSettings, *, folder: Path = Path()) -> EvaluationSets:
    """Read and index evaluation sets; done once a process.

    Args:
        settings: Names them.
        folder: Where relative paths start.

    Raises:
        CleanTextError: If a file is missing, damaged, or holds no item that can be protected.
    """
    parts, unprotected = [], []
    for number, each in enumerate(settings.sets):
        part = _read_set(each, folder / each.path, settings)
        unprotected.append(part.unprotected)
        parts.append(part._replace(sets=np.full(len(part.places), number, np.int64)))
    keys, items, places, sets, lengths, gates = _join(parts)
    different, number_of = np.unique(keys, return_inverse=True)
    pairs = _different_pairs(number_of, items)
    of_sets = _different_pairs(pairs[0], sets[pairs[1]])
    filter_, filter_shift = _build_filter(different, _FILTER_BITS)
    gates_, gates_shift = _build_filter(gates, _GATE_BITS)
    index = Index(
        keys=different,
        slots=_build_slots(different, np.full(_power_of_two(2 * len(different)), -1, np.int32)),
        filter=filter_,
        filter_shift=filter_shift,
        gates=gates_,
        gates_shift=gates_shift,
        item_starts=np.searchsorted(pairs[0], np.arange(len(different) + 1)),
        items=pairs[1],
        set_starts=np.searchsorted(of_sets[0], np.arange(len(different) + 1)),
        sets=of_sets[1],
        sizes=np.bincount(pairs[1], minlength=len(places)),
        set_of_item=sets,
        widths=np.unique(np.minimum(lengths, settings.ngram)),
    )
    return EvaluationSets(
        settings=settings,
        names=tuple(each.set_name for each in settings.sets),
        places=places,
        protected=tuple(len(part.places) for part in parts),
        unprotected=pa.concat_tables([UNPROTECTED.empty_table(), *unprotected]),
        index=index,
    )


@numba.njit(cache=True, nogil=True)
def find(keys: Array, slots: Array, key: np.uint64) -> Any:
    """Number of the n-gram of a hash, -1 if there is none."""
    mask = np.uint64(len(slots) - 1)
    slot = key & mask
    while slots[slot] >= 0:
        if keys[slots[slot]] == key:
            return np.int64(slots[slot])
        slot = (slot + np.uint64(1)) & mask
    return -1


class _Set(NamedTuple):
    """The n-grams of one set: each one's hash and item, each item's place, length and last ``shortest`` tokens."""

    keys: Array
    items: Array
    places: Array
    sets: Array
    lengths: Array
    gates: Array
    unprotected: pa.Table


def _read_set(described: EvaluationSetSettings, path: Path, settings: DecontaminationSettings) -> _Set:
    entries = list(read_items(path, described.fields))
    if not entries:
        raise CleanTextError(f"evaluation set {path} holds no item; correct its 'path' or remove the set")
    places = np.array([place for place, _ in entries], np.int64)
    hashes, starts = tokens(string_array([unicodedata.normalize("NFC", text) for _, text in entries]))
    lengths = np.diff(starts)
    whole = np.array([polynomial(hashes[begin:end]) for begin, end in pairwise(starts)], np.uint64)
    # Copies of an item are one item.
    first = np.zeros(len(entries), np.bool_)
    first[np.unique(np.stack([whole, lengths.astype(np.uint64)]), axis=1, return_index=True)[1]] = True
    chosen = np.flatnonzero(first & (lengths >= settings.shortest))
    keys, items = _ngrams(hashes, starts, chosen, settings.ngram)
    if settings.maximum_items is not None:
        _, of, counts = np.unique(keys, return_inverse=True, return_counts=True)
        pairs = _different_pairs(of, items)
        common = np.bincount(pairs[0], minlength=len(counts)) > settings.maximum_items
        keys, items = keys[~common[of]], items[~common[of]]
    kept = np.unique(items)
    reasons = {int(entry): "short" for entry in np.flatnonzero(lengths < settings.shortest)}
    reasons |= {int(entry): "common" for entry in np.setdiff1d(chosen, chosen[kept])}
    if not len(kept):
        raise CleanTextError(
            f"evaluation set {path}: none of its {len(entries)} items can be protected: they have fewer than "
            f"{settings.shortest} tokens, or only n-grams of more than {settings.maximum_items} items; name other "
            "'fields', or change 'shortest' or 'maximum_items'"
        )
    rows = [
        {
            "set": described.set_name,
            "item": entries[entry][0],
            "tokens": int(lengths[entry]),
            "reason": reason,
            "text": entries[entry][1][:_SHOWN],
        }
        for entry, reason in sorted(reasons.items())
    ]
    entries_kept = chosen[kept]
    short = entries_kept[lengths[entries_kept] < settings.ngram]
    gates = [polynomial(hashes[starts[entry + 1] - settings.shortest : starts[entry + 1]]) for entry in short]
    return _Set(
        keys=keys,
        items=np.searchsorted(kept, items),
        places=places[entries_kept],
        sets=np.zeros(0, np.int64),
        lengths=lengths[entries_kept],
        gates=np.array(gates, np.uint64),
        unprotected=pa.Table.from_pylist(rows, schema=UNPROTECTED),
    )


def _join(parts: Sequence[_Set]) -> tuple[Array, Array, Array, Array, Array, Array]:
    """Keys, items, places, sets, lengths and gates of all sets, items numbered through."""
    begins = np.cumsum([0, *(len(part.places) for part in parts)])
    numbered = [part.items + begin for part, begin in zip(parts, begins, strict=False)]
    unsigned, signed = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)]
    return (
        np.concatenate(unsigned + [part.keys for part in parts]),
        np.concatenate(signed + numbered),
        np.concatenate(signed + [part.places for part in parts]),
        np.concatenate(signed + [part.sets for part in parts]),
        np.concatenate(signed + [part.lengths for part in parts]),
        np.concatenate(unsigned + [part.gates for part in parts]),
    )


def _different_pairs(first: Array, second: Array) -> tuple[Array, Array]:
    """Each pair once, sorted; both int64 and not negative."""
    width = int(second.max(initial=0)) + 1
    pairs = np.unique(first.astype(np.int64) * width + second)
    return pairs // width, pairs % width


def _power_of_two(least: int) -> int:
    return 1 << max(4, (least - 1).bit_length())


def _build_filter(keys: Array, bits_each: int) -> tuple[Array, np.uint64]:
    bits = max(6, (_power_of_two(bits_each * len(keys)) - 1).bit_length())
    shift = np.uint64(64 - bits)
    marked = np.zeros(1 << bits, np.bool_)
    marked[keys >> shift] = True
    return np.packbits(marked, bitorder="little").view("<u8"), shift


@numba.njit(cache=True)
def _build_slots(keys: Array, slots: Array) -> Array:
    mask = np.uint64(len(slots) - 1)
    for number in range(len(keys)):
        slot = keys[number] & mask
        while slots[slot] >= 0:
            slot = (slot + np.uint64(1)) & mask
        slots[slot] = number
    return slots


@numba.njit(cache=True, nogil=True)
def polynomial(hashes: Array) -> np.uint64:
    """Hash of an n-gram from those of its tokens."""
    value = np.uint64(0)
    for token in hashes:
        value = value * np.uint64(BASE) + token
    return value


@numba.njit(cache=True)
def _ngrams(hashes: Array, starts: Array, chosen: Array, ngram: int) -> tuple[Array, Array]:
    """Hash of each n-gram of the chosen texts, and the text's place among them; a shorter text is one n-gram."""
    total = 0
    for text in chosen:
        total += max(1, starts[text + 1] - starts[text] - ngram + 1)
    keys, owners = np.empty(total, np.uint64), np.empty(total, np.int64)
    used = 0
    for number in range(len(chosen)):
        begin, end = starts[chosen[number]], starts[chosen[number] + 1]
        width = min(ngram, end - begin)
        for position in range(begin, end - width + 1):
            keys[used] = polynomial(hashes[position : position + width])
            owners[used] = number
            used += 1
    return keys, owners
