from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assets.clean_text.duplicates import DUPLICATES, find_duplicates
from assets.clean_text.errors import CleanTextError
from assets.clean_text.settings import DuplicateSettings
from assets.clean_text.signatures import SIGNATURES
from training.settings import SettingsError

ReadRows = Callable[[Path, str], list[dict[str, Any]]]
DocId = Callable[[str, int], str]


def write_signatures(folder: Path, doc_ids: Sequence[str], contents: Sequence[str]) -> Path:
    folder.mkdir(parents=True)
    signatures = [hashlib.blake2b(content.encode(), digest_size=16).hexdigest() for content in contents]
    pq.write_table(pa.table([list(doc_ids), signatures], schema=SIGNATURES), folder / "signatures.parquet")
    return folder


def duplicates_of(tmp_path: Path, dumps: dict[str, list[str]], doc_id: DocId) -> dict[str, dict[str, str]]:
    """Copies that go by dump; each dump's documents given by their contents."""
    number = len(list(tmp_path.iterdir()))
    out = tmp_path / str(number)
    folders = {
        dump: write_signatures(out / "in" / dump, [doc_id(dump, i) for i in range(len(contents))], contents)
        for dump, contents in dumps.items()
    }
    (out / "out").mkdir()
    report = find_duplicates(folders, out / "out")
    assert report.documents == {dump: len(contents) for dump, contents in dumps.items()}
    found = {}
    for dump in dumps:
        table = pq.read_table(out / "out" / f"duplicates-{dump}.parquet")
        assert table.schema == DUPLICATES
        copies = [(str(row["doc_id"]), str(row["duplicate_of"])) for row in table.to_pylist()]
        assert copies == sorted(copies)
        assert report.duplicates[dump] == table.num_rows
        found[dump] = dict(copies)
    assert sorted(path.name for path in (out / "out").iterdir()) == sorted(f"duplicates-{d}.parquet" for d in dumps)
    return found


def test_the_copy_in_the_first_dump_stays(tmp_path: Path, doc_id: DocId) -> None:
    found = duplicates_of(tmp_path, {"one": ["a", "b", "a"], "two": ["c", "b"], "three": ["b", "c", "d"]}, doc_id)
    assert found == {
        "one": {doc_id("one", 2): doc_id("one", 0)},
        "two": {doc_id("two", 1): doc_id("one", 1)},
        "three": {doc_id("three", 0): doc_id("one", 1), doc_id("three", 1): doc_id("two", 0)},
    }


def test_the_catalogue_decides_which_copy_stays(tmp_path: Path, doc_id: DocId) -> None:
    dumps = {"one": ["a"], "two": ["a"]}
    assert duplicates_of(tmp_path, dumps, doc_id)["one"] == {}
    assert duplicates_of(tmp_path, dict(reversed(dumps.items())), doc_id)["two"] == {}


def test_a_dump_without_duplicates_or_documents_has_its_file(tmp_path: Path, doc_id: DocId) -> None:
    assert duplicates_of(tmp_path, {"one": ["a"], "two": []}, doc_id) == {"one": {}, "two": {}}


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.sampled_from("abcd"), max_size=6), min_size=1, max_size=4))
def test_one_copy_of_each_content_survives(
    tmp_path_factory: pytest.TempPathFactory, doc_id: DocId, contents: list[list[str]]
) -> None:
    dumps = {f"dump{index}": content for index, content in enumerate(contents)}
    found = duplicates_of(tmp_path_factory.mktemp("property"), dumps, doc_id)
    places = [(dump, index) for dump, content in dumps.items() for index in range(len(content))]
    survivors = {doc_id(*place): dumps[place[0]][place[1]] for place in places if doc_id(*place) not in found[place[0]]}
    first = {dumps[dump][index]: doc_id(dump, index) for dump, index in reversed(places)}
    assert {content: survivor for survivor, content in survivors.items()} == first
    assert len(survivors) == len(first)
    for dump, index in places:
        if copy_of := found[dump].get(doc_id(dump, index)):
            assert copy_of == first[dumps[dump][index]]


def test_little_memory_gives_the_same(tmp_path: Path) -> None:
    count = 1_500_000
    words = np.random.default_rng(0).integers(0, 1 << 63, size=(count, 2), dtype=np.uint64)
    words[count // 2 :, :] = words[: count - count // 2, :][::-1]
    doc_ids = pa.array([f"{index:032x}" for index in range(count)])
    signatures = pa.array([f"{a:016x}{b:016x}" for a, b in words.tolist()])
    (tmp_path / "in").mkdir()
    pq.write_table(pa.table([doc_ids, signatures], schema=SIGNATURES), tmp_path / "in" / "signatures.parquet")
    contents = []
    for memory_limit, threads in (("1GB", 2), ("96MB", 1)):
        out = tmp_path / memory_limit
        out.mkdir()
        report = find_duplicates({"dump": tmp_path / "in"}, out, memory_limit=memory_limit, threads=threads)
        assert report.duplicates == {"dump": count // 2}
        contents.append((out / "duplicates-dump.parquet").read_bytes())
    assert contents[0] == contents[1]


def test_too_little_memory_is_an_error_with_a_remedy(tmp_path: Path, doc_id: DocId) -> None:
    folder = write_signatures(tmp_path / "in", [doc_id("d", i) for i in range(30_000)], list(map(str, range(30_000))))
    (tmp_path / "out").mkdir()
    with pytest.raises(CleanTextError, match="allow more memory"):
        find_duplicates({"d": folder}, tmp_path / "out", memory_limit="1MB")


def test_missing_signatures_are_an_error_that_names_the_dump(tmp_path: Path) -> None:
    with pytest.raises(CleanTextError, match=r"news: .* holds no signatures\.parquet"):
        find_duplicates({"news": tmp_path}, tmp_path)


def test_order_of_processing_does_not_matter(tmp_path: Path, doc_id: DocId) -> None:
    # Each order of writing the inputs; the catalogue's order stays.
    contents = {"one": ["a", "b"], "two": ["b", "c"], "three": ["c", "a"]}
    results = []
    for order in itertools.permutations(contents):
        base = tmp_path / "-".join(order)
        for dump in order:
            write_signatures(base / dump, [doc_id(dump, 0), doc_id(dump, 1)], contents[dump])
        (base / "out").mkdir()
        find_duplicates({dump: base / dump for dump in contents}, base / "out")
        results.append({path.name: path.read_bytes() for path in (base / "out").iterdir()})
    assert all(result == results[0] for result in results)


@pytest.mark.parametrize("limit", ["2GB", "512MB", "1.5GiB", "2 gb", "50%"])
def test_amounts_of_memory_are_those_of_duckdb(limit: str) -> None:
    chosen = DuplicateSettings.parse({"memory_limit": limit}, origin="duplicates")
    duckdb.connect(config={"memory_limit": chosen.memory_limit}).close()


@pytest.mark.parametrize("limit", ["", "0", "2", "2 gigs", "much", "-1GB"])
def test_what_is_no_amount_of_memory_is_refused(limit: str) -> None:
    with pytest.raises(SettingsError, match=f"'memory_limit' = '{limit}': .*is no amount of memory; write e.g. 2GB"):
        DuplicateSettings.parse({"memory_limit": limit}, origin="duplicates")
