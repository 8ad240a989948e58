"""Best-fit packing: whole documents in rows of one length, with little padding and no document cut that fits a row.

Ding et al. 2024, "Fewer Truncations Improve Language Modeling" (arXiv:2404.10830): a document longer than a row is cut
into full rows and a rest; rests and shorter documents are packed by best fit decreasing. Here this is done on the
histogram of lengths (as Krell et al. 2021, arXiv:2107.02027, pack), which gives the same rows: the work of the search
depends on the length of a row alone, and documents are only sorted by length.

Each file of shards is planned for itself, so that memory is bounded by a file's documents. A plan is kept in a folder::

    rows.bin      little-endian int64 [rows + 1]: number of each row's first piece; the last is the number of pieces
    starts.bin    little-endian int64 [pieces]: position in the split of the piece's first token
    lengths.bin   little-endian int32 [pieces]: its tokens, the end-of-document id counted in
    plan.json     written last: what it was made for and the sums

It costs 12 bytes a piece and 8 a row on disk: for a billion documents about 14 GB.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import shutil
import socket
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from training.artifact import fingerprint, write_atomically
from training.process_lock import process_lock
from training.shards import ShardError, Split

Integers = npt.NDArray[np.int64]

FORMAT = 1
PLAN = "plan.json"

log = logging.getLogger(__name__)


class Rows(NamedTuple):
    """Rows of pieces: ``first`` int64 [rows + 1] counts pieces, ``starts`` and ``lengths`` int64 [pieces]."""

    first: Integers
    starts: Integers
    lengths: Integers


@dataclass(frozen=True)
class PlanSize:
    """What a plan holds.

    Attributes:
        rows: Rows of one epoch.
        pieces: Documents and parts of documents.
        tokens: Tokens in them; the rest of the rows is padding.
    """

    rows: int
    pieces: int
    tokens: int


class PackingPlan:
    """An opened plan, memory-mapped.

    Attributes:
        context: Tokens of a row.
        size: What it holds.
    """

    def __init__(self, folder: Path, context: int, size: PlanSize) -> None:
        self.context = context
        self.size = size
        self._first = _mapped(folder / "rows.bin", np.dtype("<i8"), size.rows + 1)
        self._starts = _mapped(folder / "starts.bin", np.dtype("<i8"), size.pieces)
        self._lengths = _mapped(folder / "lengths.bin", np.dtype("<i4"), size.pieces)
        self._by_start: Integers | None = None

    @property
    def padding(self) -> float:
        """Share of padding in the rows."""
        return 1 - self.size.tokens / (self.size.rows * self.context)

    def row(self, number: int) -> list[tuple[int, int]]:
        """Start and length of each piece of a row, in order."""
        pieces = slice(int(self._first[number]), int(self._first[number + 1]))
        return list(zip(self._starts[pieces].tolist(), self._lengths[pieces].tolist(), strict=True))

    def rows_with(self, start: int, length: int) -> list[int]:
        """The rows that hold a token of this stretch of the split, ascending."""
        if self._by_start is None:
            self._by_start = np.argsort(self._starts, kind="stable")
        sorted_starts = self._starts[self._by_start]
        begin = max(0, int(np.searchsorted(sorted_starts, start, side="right")) - 1)
        end = int(np.searchsorted(sorted_starts, start + length, side="left"))
        pieces = self._by_start[begin:end]
        pieces = pieces[self._starts[pieces] + self._lengths[pieces] > start]
        return sorted(set((np.searchsorted(self._first, pieces, side="right") - 1).tolist()))


def plan_packing(split: Split, context: int, folder: Path) -> PackingPlan:
    """The plan for a split, made if it is not in the folder yet or is damaged; the same whoever makes it.

    Of several processes that want it at once one makes it, and the others wait.

    Args:
        split: Its files' indexes are read, one at a time.
        context: Tokens of a row.
        folder: Where plans are kept, each in a folder of its own.

    Raises:
        ShardError: If an index is damaged, or the plan cannot be written.
    """
    identity = fingerprint([FORMAT, context, [file.sha256 for file in split.files]])
    place = folder / identity
    try:
        plan = _opened(place, context)
        if plan is None:
            folder.mkdir(parents=True, exist_ok=True)
            with process_lock(folder / f".{identity}.lock"):
                plan = _opened(place, context) or _made(place, split, context)
    except OSError as error:
        raise ShardError(
            f"the packing plan {place} cannot be read or made ({error}); make room on its disk, or the folder writable"
        ) from error
    return plan


def pack(lengths: npt.NDArray[np.integer[Any]], start: int, context: int) -> Rows:
    """Pack consecutive documents.

    Args:
        lengths: Tokens of each document, int [documents], none is 0.
        start: Position of the first document's first token.
        context: Tokens of a row.
    """
    sizes = np.asarray(lengths, dtype=np.int64)
    begins = start + np.concatenate(([0], np.cumsum(sizes)[:-1])) if sizes.size else sizes
    full = sizes // context
    rest = sizes - full * context
    # Full rows of long documents.
    document = np.repeat(np.arange(sizes.size), full)
    within = np.arange(document.size) - np.repeat(np.cumsum(full) - full, full)
    full_starts = begins[document] + within * context
    # Everything else by length, documents of one length in their order.
    short = np.flatnonzero(rest)
    order = short[np.argsort(rest[short], kind="stable")]
    rest_starts = begins[order] + full[order] * context
    counts = np.bincount(rest[short], minlength=context + 1)
    taken = np.concatenate(([0], np.cumsum(counts)[:-1]))
    row_lengths: list[Integers] = [np.ones(full_starts.size, dtype=np.int64)]
    starts: list[Integers] = [full_starts]
    piece_lengths: list[Integers] = [np.full(full_starts.size, context, dtype=np.int64)]
    for composition, rows in best_fit(counts, context):
        places = np.empty((rows, len(composition)), dtype=np.int64)
        for slot, length in enumerate(composition):
            places[:, slot] = taken[length] + np.arange(rows)
            taken[length] += rows
        starts.append(rest_starts[places].ravel())
        piece_lengths.append(np.tile(np.asarray(composition, dtype=np.int64), rows))
        row_lengths.append(np.full(rows, len(composition), dtype=np.int64))
    first = np.concatenate(([0], np.cumsum(np.concatenate(row_lengths))))
    return Rows(first, np.concatenate(starts), np.concatenate(piece_lengths))


def best_fit(counts: npt.NDArray[np.integer[Any]], context: int) -> list[tuple[tuple[int, ...], int]]:
    """Best fit decreasing on a histogram.

    Args:
        counts: Number of items of each length, int [context + 1]; of length 0 none.
        context: Size of a row.

    Returns:
        Kinds of rows: the lengths of its items, descending, and how many rows are of that kind.
    """
    # Kinds of rows by the space that is left in them; those of the same space first come, first served.
    by_space: list[list[tuple[tuple[int, ...], int]]] = [[] for _ in range(context + 1)]
    spaces = _Spaces(context)
    for length in range(context, 0, -1):
        left = int(counts[length])
        while left:
            space = spaces.smallest_from(length)
            if space is None:
                # As many new rows as it takes when each holds as many items of this length as fit.
                each = context // length
                rows, odd = divmod(left, each)
                for items, number in ((each, rows), (odd, 1 if odd else 0)):
                    if number:
                        remaining = context - items * length
                        by_space[remaining].append(((length,) * items, number))
                        spaces.add(remaining)
                break
            kinds = by_space[space]
            composition, number = kinds.pop()
            if not kinds:
                spaces.remove(space)
            # Best fit puts one item into each row before it looks again: the row with less space is then a better fit.
            items = min(space // length, left)
            used = min(number, left // items)
            remaining = space - items * length
            by_space[remaining].append((composition + (length,) * items, used))
            spaces.add(remaining)
            if number > used:
                kinds.append((composition, number - used))
                spaces.add(space)
            left -= used * items
    return [kind for kinds in by_space for kind in kinds]


class _Spaces:
    """A set of numbers up to a limit that finds its smallest member from a number on, as bits of one integer."""

    def __init__(self, limit: int) -> None:
        self._bits = 0
        self._limit = limit

    def add(self, space: int) -> None:
        self._bits |= 1 << space

    def remove(self, space: int) -> None:
        self._bits &= ~(1 << space)

    def smallest_from(self, space: int) -> int | None:
        above = self._bits >> space
        return None if not above else space + (above & -above).bit_length() - 1


def _opened(place: Path, context: int) -> PackingPlan | None:
    """A plan; None if it is not there or was cut short."""
    try:
        fields = json.loads((place / PLAN).read_text(encoding="utf-8"))
        return PackingPlan(place, context, PlanSize(fields["rows"], fields["pieces"], fields["tokens"]))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _made(place: Path, split: Split, context: int) -> PackingPlan:
    """Make a plan; by who holds its lock."""
    if place.exists():
        log.warning("the packing plan %s is damaged and is made again", place)
        shutil.rmtree(place)
    begin = f".{place.name}.partial-{socket.gethostname()}-"
    for abandoned in place.parent.glob(f"{begin}*"):
        # Nobody else on this machine is at work on it.
        shutil.rmtree(abandoned, ignore_errors=True)
    partial = place.with_name(f"{begin}{os.getpid()}-{secrets.token_hex(4)}")
    partial.mkdir()
    try:
        size = _write(partial, (pack(lengths, start, context) for start, lengths in split.document_lengths()))
        write_atomically(partial / PLAN, json.dumps({"format": FORMAT, "context": context} | asdict(size)))
        try:
            partial.rename(place)
        except OSError:
            # Where a network disk's locks hold on one machine only, another may have made the same plan first.
            if not (place / PLAN).is_file():
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return PackingPlan(place, context, size)


def _write(folder: Path, files: Iterator[Rows]) -> PlanSize:
    rows = pieces = tokens = 0
    with (
        (folder / "rows.bin").open("wb") as first,
        (folder / "starts.bin").open("wb") as starts,
        (folder / "lengths.bin").open("wb") as lengths,
    ):
        for packed in files:
            first.write((packed.first[:-1] + pieces).astype("<i8").tobytes())
            starts.write(packed.starts.astype("<i8").tobytes())
            lengths.write(packed.lengths.astype("<i4").tobytes())
            rows += packed.first.size - 1
            pieces += packed.starts.size
            tokens += int(packed.lengths.sum())
        first.write(np.asarray([pieces], dtype="<i8").tobytes())
        for file in (first, starts, lengths):
            file.flush()
            os.fsync(file.fileno())
    return PlanSize(rows, pieces, tokens)


def _mapped(path: Path, dtype: np.dtype[Any], count: int) -> npt.NDArray[Any]:
    if path.stat().st_size != count * dtype.itemsize:
        raise ValueError(f"{path} has another size than {count} numbers")
    return np.memmap(path, dtype=dtype, mode="r", shape=(count,)) if count else np.zeros(0, dtype=dtype)
