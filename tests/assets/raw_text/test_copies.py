from __future__ import annotations

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.raw_text.copies import number_copies
from assets.raw_text.documents import DOCUMENTS, DocumentWriter, copy_id, document_hash, document_id
from assets.raw_text.errors import RawTextError


def write(folder: Path, contents: list[str], *, row_group_bytes: int = 256, file_bytes: int = 512) -> list[Path]:
    begun = document_hash("d")
    columns = {name: pa.repeat("", len(contents)) for name in DOCUMENTS.names} | {
        "doc_id": [document_id(begun, content.encode()) for content in contents],
        "text": contents,
        "byte_start": list(range(len(contents))),
        "byte_end": list(range(1, len(contents) + 1)),
    }
    with DocumentWriter(folder, row_group_bytes=row_group_bytes, file_bytes=file_bytes) as writer:
        writer.write(pa.table(columns))
    return sorted(folder.iterdir())


def ids(files: list[Path]) -> list[str]:
    return [doc_id for path in files for doc_id in pq.read_table(path)["doc_id"].to_pylist()]


def expected(contents: list[str]) -> list[str]:
    seen: Counter[str] = Counter()
    found = []
    for content in contents:
        first = document_id(document_hash("d"), content.encode())
        found.append(copy_id(first, seen[content]) if seen[content] else first)
        seen[content] += 1
    return found


def test_copies_are_numbered_in_the_order_of_reading(tmp_path: Path) -> None:
    contents = ["好", "b", "好", "c", "b", "好", "d"]
    files = write(tmp_path, contents)
    before = [path.read_bytes() for path in files]
    assert len(files) == 2
    assert number_copies(tmp_path, where="source 's'") == 3
    assert sorted(tmp_path.iterdir()) == files
    assert ids(files) == expected(contents)
    assert [path.read_bytes() != data for path, data in zip(files, before, strict=True)] == [True, True]
    assert pa.concat_tables(map(pq.read_table, files))["text"].to_pylist() == contents


def test_a_file_without_a_repetition_is_not_touched(tmp_path: Path) -> None:
    files = write(tmp_path, ["a", "b", "c", "d", "e", "f", "a"])
    before = [(path.stat().st_ino, path.read_bytes()) for path in files]
    assert number_copies(tmp_path, where="source 's'") == 1
    after = [(path.stat().st_ino, path.read_bytes()) for path in files]
    assert [old == new for old, new in zip(before, after, strict=True)] == [True, False]


@settings(max_examples=20, deadline=None)
@given(contents=st.lists(st.sampled_from("ab好d"), max_size=20), groups=st.integers(1, 3))
def test_numbering_changes_identities_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, contents: list[str], groups: int
) -> None:
    folder, again = tmp_path_factory.mktemp("numbered"), tmp_path_factory.mktemp("again")
    files = write(folder, contents, file_bytes=256 * groups)
    before = [pq.read_table(path) for path in files]
    sizes = [
        [pq.read_metadata(path).row_group(g).num_rows for g in range(pq.read_metadata(path).num_row_groups)]
        for path in files
    ]
    assert number_copies(folder, where="source 's'") == len(contents) - len(set(contents))
    found = ids(files)
    assert found == expected(contents)
    assert len(set(found)) == len(contents)
    for path, table, groups_before in zip(files, before, sizes, strict=True):
        assert pq.read_table(path).drop_columns("doc_id").equals(table.drop_columns("doc_id"))
        metadata = pq.read_metadata(path)
        assert [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)] == groups_before
    write(again, contents, file_bytes=256 * groups)
    number_copies(again, where="source 's'", threads=1)
    assert [path.read_bytes() for path in files] == [(again / path.name).read_bytes() for path in files]


def test_many_copies_need_little_memory(tmp_path: Path) -> None:
    count = 300_000
    files = write(tmp_path, ["same"] * count, row_group_bytes=1 << 22, file_bytes=1 << 24)
    assert len(files) > 2
    assert number_copies(tmp_path, where="source 's'", memory_limit="40MB", threads=1) == count - 1
    assert len(set(ids(files))) == count


def test_too_little_memory_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    write(tmp_path, [str(number) for number in range(30_000)], row_group_bytes=1 << 20, file_bytes=1 << 22)
    with pytest.raises(RawTextError, match=r"^source 's': telling copies apart failed within 1MB of memory"):
        number_copies(tmp_path, where="source 's'", memory_limit="1MB")
    assert all(path.name.startswith("documents-") for path in tmp_path.iterdir())
