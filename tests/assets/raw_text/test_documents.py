from __future__ import annotations

import hashlib
import itertools
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.raw_text.documents import DOCUMENTS, DocumentWriter, copy_id, document_hash, document_id


def table(texts: list[str], first: int = 0) -> pa.Table:
    rows = [
        {
            "doc_id": f"{number:032x}",
            "text": text,
            "source": "s",
            "dump": "d",
            "path": "a.txt",
            "byte_start": number,
            "byte_end": number + 1,
            "licence": "CC0-1.0",
            "language": "zh",
            "metadata": "{}",
        }
        for number, text in enumerate(texts, start=first)
    ]
    return pa.Table.from_pylist(rows, schema=DOCUMENTS)


def write(folder: Path, tables: list[pa.Table], *, row_group_bytes: int, file_bytes: int) -> list[Path]:
    with DocumentWriter(folder, row_group_bytes=row_group_bytes, file_bytes=file_bytes) as writer:
        for rows in tables:
            writer.write(rows)
    assert writer.rows == sum(rows.num_rows for rows in tables)
    return sorted(folder.iterdir())


def group_sizes(path: Path) -> list[int]:
    metadata = pq.read_metadata(path)
    return [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]


def test_the_identity_is_the_documented_one() -> None:
    raw = "好\n".encode()
    expected = hashlib.blake2b(b"dump\0" + raw, digest_size=16)
    assert document_id(document_hash("dump"), raw) == expected.hexdigest()
    second = hashlib.blake2b(expected.digest() + (258).to_bytes(8, "little"), digest_size=16)
    assert copy_id(expected.hexdigest(), 258) == second.hexdigest()


def test_the_identity_is_of_the_dump_and_the_content() -> None:
    begun = document_hash("d")
    ids = [document_id(begun, b"x"), document_id(begun, b"y"), document_id(document_hash("e"), b"x")]
    ids += [copy_id(ids[0], 1), copy_id(ids[0], 2), copy_id(ids[1], 1)]
    assert len(set(ids)) == 6
    assert document_id(begun, b"x") == document_id(document_hash("d"), b"x") == ids[0]


def test_groups_and_files_roll_at_their_limits(tmp_path: Path) -> None:
    # A row counts for its text and 128 bytes.
    files = write(tmp_path, [table(["x" * 72] * 7)], row_group_bytes=400, file_bytes=800)
    assert [path.name for path in files] == ["documents-00000.parquet", "documents-00001.parquet"]
    assert [group_sizes(path) for path in files] == [[2, 2], [2, 1]]
    assert pq.read_schema(files[0]).equals(DOCUMENTS)


def test_without_a_row_there_is_still_a_file(tmp_path: Path) -> None:
    (path,) = write(tmp_path, [], row_group_bytes=400, file_bytes=800)
    assert pq.read_table(path).num_rows == 0
    assert pq.read_schema(path).equals(DOCUMENTS)


def test_columns_may_come_in_any_order(tmp_path: Path) -> None:
    rows = table(["a", "b"])
    (path,) = write(tmp_path, [rows.select(sorted(rows.column_names))], row_group_bytes=400, file_bytes=800)
    assert pq.read_table(path).equals(rows)


@settings(max_examples=40, deadline=None)
@given(
    texts=st.lists(st.text(max_size=40), max_size=40),
    cuts=st.lists(st.integers(0, 40), max_size=8),
    row_group_bytes=st.integers(1, 2000),
    groups_in_a_file=st.integers(0, 4),
)
def test_the_files_do_not_depend_on_how_the_rows_arrive(
    tmp_path_factory: pytest.TempPathFactory,
    texts: list[str],
    cuts: list[int],
    row_group_bytes: int,
    groups_in_a_file: int,
) -> None:
    rows = table(texts)
    borders = [0, *sorted(min(cut, len(texts)) for cut in cuts), len(texts)]
    pieces = [rows.slice(start, stop - start) for start, stop in itertools.pairwise(borders)]
    limits = {"row_group_bytes": row_group_bytes, "file_bytes": row_group_bytes * groups_in_a_file}
    whole = write(tmp_path_factory.mktemp("whole"), [rows], **limits)
    parts = write(tmp_path_factory.mktemp("parts"), pieces, **limits)
    assert [path.read_bytes() for path in whole] == [path.read_bytes() for path in parts]
    assert pa.concat_tables([pq.read_table(path) for path in parts]).equals(rows)
    assert all(len(group_sizes(path)) <= max(1, groups_in_a_file) for path in parts)
