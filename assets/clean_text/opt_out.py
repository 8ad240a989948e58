"""Documents whose owners do not want them used: lists of URLs, domains and document ids.

A list is a file of one entry a line. Blank lines count for nothing, nor does what follows a ``#`` at the beginning of a
line or after white space. ``.yaml`` and ``.yml`` files are a list of strings; ``.parquet`` files have one column of
strings, for lists too long to edit. An entry may be:

- a URL, with or without its scheme, of one page: ``urls.normal_urls`` decides what is the same page;
- a domain, which blocks its subdomains too: ``example.com`` blocks ``shop.example.com``, not ``my-example.com``. The
  Unicode and the ASCII form of a name are the same. A public suffix (``com``, ``co.uk``) is refused;
- a document id. Ids are made of the dump's name and the document's content, so a block outlives reading the same
  raw text again, on any machine.

Entries are held as 128-bit fingerprints, 16 bytes each: ten million need 160 MB. Of 10^7 entries and 10^11 documents,
the chance that one document is blocked by mistake is below 10^-20.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Self

import numba
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml
from pydantic import Field

from assets.clean_text.arrays import string_array, strings
from assets.clean_text.characters import Array
from assets.clean_text.errors import CleanTextError
from assets.clean_text.kernels.buffers import utf8
from assets.clean_text.urls import ascii_host, hosts, normal_urls, public_suffixes
from training.settings import Settings

OPT_OUT_DOCUMENT = "opt_out_document"
OPT_OUT_URL = "opt_out_url"
OPT_OUT_DOMAIN = "opt_out_domain"

_BLOCK_BYTES = 32 << 20
_PARQUET_ROWS = 1 << 20
_MOST_LABELS = 127  # RFC 1035: 255 octets of a name, at least two a label


class OptOutSettings(Settings):
    """Files of entries; relative paths start from the folder in which the pipeline runs."""

    urls: tuple[Path, ...] = Field((), description="Files of URLs, each of one page.")
    domains: tuple[Path, ...] = Field((), description="Files of domains; a domain blocks its subdomains.")
    documents: tuple[Path, ...] = Field((), description="Files of document ids.")


@dataclass(frozen=True)
class Fingerprints:
    """A set of strings.

    Attributes:
        keys: uint64 (m, 2), sorted: the two halves of each string's fingerprint.
    """

    keys: Array

    @classmethod
    def of(cls, batches: Iterable[pa.StringArray]) -> Self:
        """The set of all strings of some arrays without nulls."""
        keys = np.concatenate([np.zeros((0, 2), np.uint64), *map(_fingerprints, batches)])
        return cls(keys[np.lexsort((keys[:, 1], keys[:, 0]))])

    def __len__(self) -> int:
        return len(self.keys)

    def hold(self, values: pa.StringArray) -> Array:
        """bool (n,): which values are in the set; null is not."""
        if not len(self.keys) or not len(values):
            return np.zeros(len(values), dtype=bool)
        found: Array = _found(self.keys, _fingerprints(values)) & _true(values.is_valid())
        return found


@dataclass(frozen=True)
class BlockList:
    """What must not be used: normal URLs, ASCII domains, and document ids."""

    urls: Fingerprints
    domains: Fingerprints
    documents: Fingerprints

    @classmethod
    def load(cls, paths: OptOutSettings) -> Self:
        """Read all lists.

        Raises:
            CleanTextError: If a file cannot be read or an entry is none of its kind; names file and line.
        """
        return cls(
            Fingerprints.of(_entries(paths.urls, _checked_urls)),
            Fingerprints.of(_entries(paths.domains, _checked_domains)),
            Fingerprints.of(_entries(paths.documents, _checked_documents)),
        )

    def __len__(self) -> int:
        return len(self.urls) + len(self.domains) + len(self.documents)

    def blocked(self, doc_ids: pa.StringArray, urls: pa.StringArray) -> pa.StringArray:
        """Why each document must not be used.

        Args:
            doc_ids: (n,).
            urls: (n,), null where a document has none.

        Returns:
            (n,): ``opt_out_document``, ``opt_out_url`` or ``opt_out_domain``, the first of them that applies; null
            where none does.
        """
        reasons = np.full(len(doc_ids), None, dtype=object)
        if len(self.domains):
            reasons[self._in_domains(hosts(pc.utf8_trim_whitespace(urls)))] = OPT_OUT_DOMAIN
        if len(self.urls):
            reasons[self.urls.hold(normal_urls(urls))] = OPT_OUT_URL
        reasons[self.documents.hold(doc_ids)] = OPT_OUT_DOCUMENT
        return pa.array(reasons, pa.string())

    def _in_domains(self, names: pa.StringArray) -> Array:
        """bool (n,): whether a host or anything above it is in the list."""
        encoded: Any = names.dictionary_encode()
        name: Any = encoded.dictionary
        found = np.zeros(len(name) + 1, dtype=bool)
        rows = np.arange(len(name))
        for _ in range(_MOST_LABELS):
            found[rows] |= self.domains.hold(name)
            above = pc.match_substring(name, ".")
            if not above.true_count:
                break
            rows = rows[_true(above)]
            name = pc.replace_substring_regex(name.filter(above), pattern=r"^[^.]*\.", replacement="")
        # The last place stands for documents without a host.
        blocked: Array = found[encoded.indices.fill_null(len(found) - 1).to_numpy()]
        return blocked


_Checked = Callable[[pa.StringArray], tuple[pa.StringArray, Array, str]]
"""From entries to their normal forms, which of them are wrong (bool), and what to do about those."""


def _entries(paths: Sequence[Path], check: _Checked) -> Iterator[pa.StringArray]:
    for path in paths:
        for numbers, entries in _read(path):
            normal, wrong, remedy = check(entries)
            if wrong.any():
                first = int(np.argmax(wrong))
                raise CleanTextError(f"{path}, line {numbers[first]}: '{entries[first].as_py()[:200]}' is {remedy}")
            yield normal


def _read(path: Path) -> Iterator[tuple[Array, pa.StringArray]]:
    """Line numbers (rows of a Parquet file) from one, and entries without comments and blanks."""
    read = {".parquet": _read_parquet, ".yaml": _read_yaml, ".yml": _read_yaml}.get(path.suffix, _read_lines)
    try:
        for numbers, entries in read(path):
            entries = pc.utf8_trim_whitespace(entries)
            filled = _true(pc.match_substring_regex(entries, "."))
            yield numbers[filled], entries.filter(pa.array(filled))
    except (OSError, pa.ArrowInvalid) as error:
        raise CleanTextError(f"{path}: cannot be read as an opt-out list: {error}") from error


def _read_lines(path: Path) -> Iterator[tuple[Array, pa.StringArray]]:
    number = 1
    with path.open("rb") as file:
        while lines := file.readlines(_BLOCK_BYTES):
            try:
                entries: Any = pa.array(lines, pa.binary()).cast(pa.string())
            except pa.ArrowInvalid:
                wrong = next(index for index, line in enumerate(lines) if not _is_utf8(line))
                raise CleanTextError(f"{path}, line {number + wrong}: is not UTF-8; save the list as UTF-8") from None
            entries = pc.replace_substring_regex(entries, pattern=r"^\x{feff}?(?:\s*#.*)?|\s#.*", replacement="")
            yield np.arange(number, number + len(lines)), entries
            number += len(lines)


def _read_yaml(path: Path) -> Iterator[tuple[Array, pa.StringArray]]:
    try:
        node = yaml.compose(path.read_text("utf-8"), Loader=yaml.SafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CleanTextError(f"{path}: is no YAML file: {error}") from error
    nodes = node.value if isinstance(node, yaml.SequenceNode) else []
    wrong = node if node is not None and not isinstance(node, yaml.SequenceNode) else None
    wrong = wrong or next((item for item in nodes if not isinstance(item, yaml.ScalarNode)), None)
    if wrong is not None:
        raise CleanTextError(f"{path}, line {wrong.start_mark.line + 1}: write a list of strings, '- example.com'")
    yield np.array([item.start_mark.line + 1 for item in nodes], np.int64), string_array([item.value for item in nodes])


def _read_parquet(path: Path) -> Iterator[tuple[Array, pa.StringArray]]:
    file = pq.ParquetFile(path, pre_buffer=False)
    names = [
        field.name
        for field in file.schema_arrow
        if pa.types.is_string(field.type) or pa.types.is_large_string(field.type)
    ]
    if len(names) != 1:
        raise CleanTextError(f"{path}: has {len(names)} columns of strings; an opt-out list has one")
    number = 1
    for batch in file.iter_batches(batch_size=_PARQUET_ROWS, columns=names):
        entries: Any = batch.column(0).cast(pa.string())
        yield np.arange(number, number + len(batch)), entries.fill_null("")
        number += len(batch)


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _checked_urls(entries: pa.StringArray) -> tuple[pa.StringArray, Array, str]:
    wrong = ~_true(pc.match_substring_regex(hosts(entries), r"[.:]"))
    return normal_urls(entries), wrong, "no URL; write one like 'example.com/page'"


def _checked_domains(entries: pa.StringArray) -> tuple[pa.StringArray, Array, str]:
    names = pc.replace_substring_regex(pc.ascii_lower(entries), pattern=r"^(?:\*\.|\.)|\.$", replacement="")
    others = pc.invert(pc.match_substring_regex(names, r"^[a-z0-9_.\-]*$"))
    if others.true_count:
        names = pc.replace_with_mask(
            names, others, string_array([ascii_host(n) for n in strings(names.filter(others))])
        )
    wrong = ~_true(pc.match_substring_regex(names, r"^(?:[a-z0-9_\-]{1,63}\.)*[a-z0-9_\-]{1,63}$"))
    if wrong.any():
        return names, wrong, "no domain; write one like 'example.com', and whole URLs into a list of URLs"
    return (
        names,
        _suffixes_alone(names),
        "a public suffix, and would block everything below it; name domains one by one",
    )


def _checked_documents(entries: pa.StringArray) -> tuple[pa.StringArray, Array, str]:
    wrong = ~_true(pc.match_substring_regex(entries, "^[0-9a-f]{32}$"))
    return entries, wrong, "no document id; write the 32 hexadecimal digits of the column doc_id"


def _suffixes_alone(names: pa.StringArray) -> Array:
    """bool (n,): which domains are public suffixes, or have no public suffix at all."""
    known, parents = _public_suffix_rules()
    parent = pc.replace_substring_regex(names, pattern=r"^[^.]*\.?", replacement="")
    alone = (
        _true(pc.is_in(names, known)) | _true(pc.is_in(parent, parents)) | ~_true(pc.match_substring_regex(parent, "."))
    )
    rows = np.flatnonzero(alone)
    extract = public_suffixes().extract_str
    alone[rows] = [not extract(name).top_domain_under_public_suffix for name in strings(names.take(rows))]
    return alone


@cache
def _public_suffix_rules() -> tuple[pa.StringArray, pa.StringArray]:
    """Public suffixes in ASCII, and names of which each label below is one (``*.ck``)."""
    rules = public_suffixes().tlds
    known = sorted(ascii_host(rule) for rule in rules if rule[0] not in "*!")
    return string_array(known), string_array(sorted(ascii_host(rule[2:]) for rule in rules if rule[0] == "*"))


def _true(flags: Any) -> Array:
    """bool (n,): where flags are true, neither false nor null."""
    return np.asarray(flags.fill_null(False))


def _fingerprints(values: pa.StringArray) -> Array:
    """uint64 (n, 2)."""
    keys: Array = _hashes(*utf8(values))
    return keys


@numba.njit(cache=True, nogil=True)
def _hashes(data: Array, offsets: Array) -> Array:
    """Two FNV-1a hashes (one with another basis and a prime of its own), finished as MurmurHash3 does."""
    keys = np.empty((len(offsets) - 1, 2), np.uint64)
    for row in range(len(offsets) - 1):
        first, second = np.uint64(0xCBF29CE484222325), np.uint64(0x9E3779B97F4A7C15)
        for index in range(offsets[row], offsets[row + 1]):
            first = (first ^ np.uint64(data[index])) * np.uint64(0x100000001B3)
            second = (second ^ np.uint64(data[index])) * np.uint64(0xC6A4A7935BD1E995)
            second ^= second >> np.uint64(29)
        keys[row, 0], keys[row, 1] = _mixed(first), _mixed(second)
    return keys


@numba.njit(cache=True, nogil=True)
def _mixed(value: np.uint64) -> np.uint64:
    value = (value ^ (value >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    value = (value ^ (value >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return value ^ (value >> np.uint64(33))


@numba.njit(cache=True, nogil=True)
def _found(keys: Array, asked: Array) -> Array:
    """bool (n,): which rows are in a sorted table."""
    found = np.zeros(len(asked), np.bool_)
    for row in range(len(asked)):
        first, second = asked[row, 0], asked[row, 1]
        low, high = 0, len(keys)
        while low < high:
            middle = (low + high) >> 1
            if keys[middle, 0] < first or (keys[middle, 0] == first and keys[middle, 1] < second):
                low = middle + 1
            else:
                high = middle
        found[row] = low < len(keys) and keys[low, 0] == first and keys[low, 1] == second
    return found
