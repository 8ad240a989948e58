"""Decontamination: which documents hold items of evaluation sets, where, and the text without them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assets.clean_text.arrays import string_array
from assets.clean_text.characters import Array
from assets.clean_text.evaluation_sets import BASE, EvaluationSets, Index, find, polynomial
from assets.clean_text.tokens import BUFFERED, scan_tokens, text_bytes, token_table

CONTAMINATED_SPAN = "contaminated_span"
"""The ledger's name for the edit that ``cut_spans`` makes."""

_COLUMNS: list[pa.Field[Any]] = [
    pa.field("doc_id", pa.string()),
    pa.field("set", pa.string()),
    pa.field("item", pa.int64()),
    pa.field("share", pa.float64()),
    pa.field("ngrams", pa.int64()),
    pa.field("bytes", pa.int64()),
]
CONTAMINATION: pa.Schema = pa.schema(_COLUMNS)
"""One row for each document and set that have an n-gram in common. ``item``: line or row, from 1, of the set's item of
which the document has the largest share, the first of several; ``share``: that share; ``ngrams``: different n-grams of
the set in the document; ``bytes``: bytes of the document in them."""

# Tokens kept of what was scanned before; more than the settings allow an n-gram to have.
_BEFORE = 64


@dataclass(frozen=True)
class Contamination:
    """What n documents have in common with s evaluation sets.

    Attributes:
        share: float64 (n, s): largest share of one item's different n-grams that the document holds; 1 is all.
        ngrams: int64 (n, s): different n-grams of the set in the document.
        items: int64 (n, s): line or row, from 1, of the item with the largest share; 0 if there is none.
        spans: int64 (m, 4): document, set, first byte, byte behind the last, of each stretch of the document's UTF-8
            that n-grams of the set cover; in this order, and without overlap within one set.
    """

    share: Array
    ngrams: Array
    items: Array
    spans: Array


@dataclass(frozen=True)
class CutTexts:
    """Texts after a cut: ``texts`` (n,), and how many spans (int64 (n,)) and bytes (int64 (n,)) are gone from each."""

    texts: pa.StringArray
    spans: Array
    bytes: Array


def contamination(texts: pa.StringArray, sets: EvaluationSets) -> Contamination:
    """Compare documents with evaluation sets.

    Args:
        texts: Documents, (n,), no nulls.
        sets: As ``load_evaluation_sets`` gives them.
    """
    data, offsets = text_bytes(texts)
    shape = (len(texts), len(sets.names))
    share, ngrams, items = np.zeros(shape), np.zeros(shape, np.int64), np.full(shape, -1, np.int64)
    spans = np.zeros((0, 4), np.int64)
    if sets.ngrams and len(texts):
        ngram, shortest = sets.settings.ngram, sets.settings.shortest
        found = _scan(
            data,
            offsets,
            token_table(),
            sets.index,
            (ngram, shortest),
            (np.uint64(pow(BASE, ngram, 1 << 64)), np.uint64(pow(BASE, shortest, 1 << 64))),
            # Zeroed by the operating system, page by page, as far as they are touched.
            np.zeros(sets.ngrams, np.int32),
            np.zeros((len(sets.places), 2), np.int32),
            share,
            ngrams,
            items,
        )
        spans = _merge(found[np.lexsort(found.T[::-1])])
    places = np.append(sets.places, 0)
    return Contamination(share=share, ngrams=ngrams, items=places[items], spans=spans)


def cut_spans(texts: pa.StringArray, found: Contamination, sets: EvaluationSets) -> CutTexts:
    """The documents without the n-grams of those sets of which they hold an item to at least ``settings.share``.

    Args:
        texts: The documents that were compared.
        found: What ``contamination`` said of them.
        sets: The same sets.
    """
    counts, bytes_ = np.zeros(len(texts), np.int64), np.zeros(len(texts), np.int64)
    spans = found.spans[found.share[found.spans[:, 0], found.spans[:, 1]] >= sets.settings.share]
    if not len(spans):
        return CutTexts(texts, counts, bytes_)
    documents, starts = np.unique(spans[:, 0], return_index=True)
    cut: list[str] = []
    for document, own in zip(documents, np.split(spans[:, 2:], starts[1:]), strict=True):
        raw = str(texts[int(document)].as_py()).encode()
        kept, done = [], 0
        for begin, end in own[np.argsort(own[:, 0], kind="stable")]:
            if end <= done:
                continue
            counts[document] += begin >= done
            kept.append(raw[done : max(begin, done)])
            done = end
        kept.append(raw[done:])
        left = b"".join(kept)
        bytes_[document] = len(raw) - len(left)
        cut.append(left.decode())
    mask = np.zeros(len(texts), np.bool_)
    mask[documents] = True
    result: pa.StringArray = pc.replace_with_mask(texts, pa.array(mask), string_array(cut))
    return CutTexts(result, counts, bytes_)


def contamination_table(doc_ids: pa.StringArray, found: Contamination, sets: EvaluationSets) -> pa.Table:
    """Table of schema ``CONTAMINATION``, by document and set.

    Args:
        doc_ids: Identifiers of the documents that were compared.
        found: What ``contamination`` said of them.
        sets: The same sets.
    """
    documents, of = np.nonzero(found.ngrams)
    covered = np.zeros(found.share.shape, np.int64)
    np.add.at(covered, (found.spans[:, 0], found.spans[:, 1]), found.spans[:, 3] - found.spans[:, 2])
    columns = {
        "doc_id": doc_ids.take(pa.array(documents, pa.int64())),
        "set": string_array(list(sets.names)).take(pa.array(of, pa.int64())),
        "item": found.items[documents, of],
        "share": found.share[documents, of],
        "ngrams": found.ngrams[documents, of],
        "bytes": covered[documents, of],
    }
    return pa.table(columns, schema=CONTAMINATION)


@numba.njit(cache=True, nogil=True)
def _scan(
    data: Array,
    offsets: Array,
    table: Array,
    index: Index,
    widths: tuple[int, int],
    powers: tuple[np.uint64, np.uint64],
    seen: Array,
    counted: Array,
    share: Array,
    ngrams: Array,
    items: Array,
) -> Array:
    """Fill share, ngrams and items; the spans, neither sorted nor wholly merged.

    Two hashes roll along: over the last ``ngram`` tokens, and over the last ``shortest``. The latter has its bit in
    ``gates`` where a short item may end; only then the short items' lengths are tried.

    Args:
        data: uint8, UTF-8.
        offsets: int64 (n + 1,).
        table: ``token_table()``.
        index: The n-grams.
        widths: ngram, shortest.
        powers: BASE to the power of each.
        seen: int32 (g,), zeros: the last document, from 1, that had the n-gram.
        counted: int32 (items, 2), zeros: the last document with an n-gram of the item, and how many it had.
        share: float64 (n, s), zeros.
        ngrams: int64 (n, s), zeros.
        items: int64 (n, s), -1.
    """
    hashes = np.empty(_BEFORE + BUFFERED, np.uint64)
    begins, stops = np.empty(_BEFORE + BUFFERED, np.int64), np.empty(_BEFORE + BUFFERED, np.int64)
    places = np.empty(BUFFERED, np.int64)
    keys, gates = np.empty(BUFFERED, np.uint64), np.empty(BUFFERED, np.uint64)
    rolled = np.zeros(2, np.uint64)
    current = np.zeros((share.shape[1], 2), np.int64)
    spans, used = np.empty((64, 4), np.int64), 0
    for text in range(len(offsets) - 1):
        start, end = offsets[text], offsets[text + 1]
        position, total = start, 0
        rolled[:] = 0
        hashes[:_BEFORE] = 0
        current[:] = -1
        while position < end:
            count, position = scan_tokens(
                data, position, end, table, hashes[_BEFORE:], begins[_BEFORE:], stops[_BEFORE:]
            )
            candidates = _candidates(
                hashes,
                count,
                rolled,
                widths,
                powers,
                index.filter,
                index.filter_shift,
                index.gates,
                index.gates_shift,
                places,
                keys,
                gates,
            )
            for candidate in range(candidates):
                last = places[candidate]
                before = total + last - _BEFORE + 1
                for width in index.widths:
                    if width > before:
                        break
                    if width < widths[0] and not _has_bit(index.gates, gates[candidate] >> index.gates_shift):
                        continue
                    key = keys[candidate] if width == widths[0] else polynomial(hashes[last - width + 1 : last + 1])
                    found = find(index.keys, index.slots, key)
                    if found >= 0:
                        begin, stop = begins[last - width + 1] - start, stops[last] - start
                        spans, used = _hit(
                            text, found, begin, stop, index, seen, counted, share, ngrams, items, current, spans, used
                        )
            total += count
            hashes[:_BEFORE] = hashes[count : count + _BEFORE].copy()
            begins[:_BEFORE] = begins[count : count + _BEFORE].copy()
        for number in range(len(current)):
            if current[number, 1] >= 0:
                spans, used = _append(spans, used, text, number, current[number, 0], current[number, 1])
    return spans[:used]


@numba.njit(cache=True, nogil=True)
def _candidates(
    hashes: Array,
    count: int,
    rolled: Array,
    widths: tuple[int, int],
    powers: tuple[np.uint64, np.uint64],
    bits: Array,
    shift: np.uint64,
    gate_bits: Array,
    gate_shift: np.uint64,
    places: Array,
    keys: Array,
    gates: Array,
) -> Any:
    """Roll over ``count`` tokens and note the places at which an n-gram may end, with both hashes; how many there are.

    Both hashes are always looked at and always written: a branch would be guessed wrong at every candidate.
    """
    base = np.uint64(BASE)
    rolling, gate = rolled[0], rolled[1]
    ngram, shortest = widths
    candidates = np.int64(0)
    for last in range(_BEFORE, _BEFORE + count):
        rolling = rolling * base + hashes[last] - hashes[last - ngram] * powers[0]
        gate = gate * base + hashes[last] - hashes[last - shortest] * powers[1]
        places[candidates], keys[candidates], gates[candidates] = last, rolling, gate
        place, gate_place = rolling >> shift, gate >> gate_shift
        set_ = bits[place >> np.uint64(6)] >> (place & np.uint64(63))
        set_ |= gate_bits[gate_place >> np.uint64(6)] >> (gate_place & np.uint64(63))
        candidates += np.int64(set_ & np.uint64(1))
    rolled[0], rolled[1] = rolling, gate
    return candidates


@numba.njit(cache=True, nogil=True)
def _has_bit(bits: Array, place: np.uint64) -> Any:
    return (bits[place >> np.uint64(6)] >> (place & np.uint64(63))) & np.uint64(1) != 0


@numba.njit(cache=True, nogil=True)
def _hit(
    text: int,
    found: int,
    begin: int,
    stop: int,
    index: Index,
    seen: Array,
    counted: Array,
    share: Array,
    ngrams: Array,
    items: Array,
    current: Array,
    spans: Array,
    used: int,
) -> tuple[Array, int]:
    """Count an n-gram of a document, once for each item that has it, and extend or begin its sets' spans."""
    for number in index.sets[index.set_starts[found] : index.set_starts[found + 1]]:
        if begin > current[number, 1]:
            if current[number, 1] >= 0:
                spans, used = _append(spans, used, text, number, current[number, 0], current[number, 1])
            current[number, 0] = begin
        current[number, 0] = min(begin, current[number, 0])
        current[number, 1] = stop
        ngrams[text, number] += seen[found] != text + 1
    if seen[found] != text + 1:
        seen[found] = text + 1
        for item in index.items[index.item_starts[found] : index.item_starts[found + 1]]:
            if counted[item, 0] != text + 1:
                counted[item, 0], counted[item, 1] = text + 1, 0
            counted[item, 1] += 1
            part = counted[item, 1] / index.sizes[item]
            number = index.set_of_item[item]
            if part > share[text, number] or (part == share[text, number] and item < items[text, number]):
                share[text, number], items[text, number] = part, item
    return spans, used


@numba.njit(cache=True, nogil=True)
def _append(spans: Array, used: int, text: int, number: int, begin: int, stop: int) -> tuple[Array, int]:
    if used == len(spans):
        grown = np.empty((2 * used, 4), np.int64)
        grown[:used] = spans
        spans = grown
    spans[used, 0], spans[used, 1], spans[used, 2], spans[used, 3] = text, number, begin, stop
    return spans, used + 1


@numba.njit(cache=True, nogil=True)
def _merge(spans: Array) -> Array:
    """Sorted spans with overlapping ones of the same document and set made one."""
    used = 0
    for number in range(len(spans)):
        last = used - 1
        same = used > 0 and spans[number, 0] == spans[last, 0] and spans[number, 1] == spans[last, 1]
        if same and spans[number, 2] <= spans[last, 3]:
            spans[last, 3] = max(spans[last, 3], spans[number, 3])
        else:
            spans[used] = spans[number]
            used += 1
    return spans[:used]
