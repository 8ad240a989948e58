from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from assets.raw_text.documents import DOCUMENTS, document_hash, document_id
from assets.raw_text.errors import RawTextError
from assets.raw_text.records import Record
from assets.raw_text.source_writer import FILES, SKIPPED, RawTextReport, SourceWriter

MakeSource = Callable[..., Any]


def records(count: int, *, first: int = 0) -> Iterator[Record]:
    for number in range(first, first + count):
        yield Record("好" * (number % 3 + 1), b"%d" % number, number, number + 1, number + 1)


def test_what_was_written_is_counted(source: MakeSource, tmp_path: Path) -> None:
    with SourceWriter(source(on_invalid="skip"), tmp_path) as output:
        with output.file("a.txt") as member:
            member.add(records(3))
            member.add(iter([Record("", b"", 9, 9, 4, invalid="is broken")]))
            member.encoding, member.size = "gb18030", 20
        with output.file("b.txt") as member:
            member.refuse("is no text")
        with output.file("c.txt") as member:
            member.add(records(1))
            member.encoding, member.size = "ascii", 2
    assert output.report() == RawTextReport(
        documents=4, bytes=21, characters=7, files=3, skipped=2, left_out=0, encodings={"ascii": 1, "gb18030": 1}
    )
    assert output.report().counts == {
        "documents": 4,
        "bytes": 21,
        "characters": 7,
        "files": 3,
        "skipped": 2,
        "left_out": 0,
    }
    assert pq.read_table(tmp_path / "files.parquet", schema=FILES).to_pylist() == [
        {"path": "a.txt", "size": 20, "encoding": "gb18030", "documents": 3, "skipped": 1, "left_out": "{}"},
        {"path": "b.txt", "size": 0, "encoding": None, "documents": 0, "skipped": 1, "left_out": "{}"},
        {"path": "c.txt", "size": 2, "encoding": "ascii", "documents": 1, "skipped": 0, "left_out": "{}"},
    ]
    assert pq.read_table(tmp_path / "skipped.parquet", schema=SKIPPED).to_pylist() == [
        {"path": "a.txt", "line": 4, "byte_start": 9, "reason": "is broken"},
        {"path": "b.txt", "line": None, "byte_start": 0, "reason": "is no text"},
    ]


def test_many_documents_keep_their_order_and_identity(source: MakeSource, tmp_path: Path) -> None:
    count = 40_000
    with SourceWriter(source(), tmp_path) as output, output.file("a.txt") as member:
        member.add(records(count))
    table = pq.read_table(tmp_path / "documents-00000.parquet")
    assert table.schema.equals(DOCUMENTS)
    assert table["byte_start"].to_pylist() == list(range(count))
    begun = document_hash("dump")
    assert table["doc_id"].to_pylist() == [document_id(begun, b"%d" % number) for number in range(count)]


def test_many_skipped_places_each_have_a_row(source: MakeSource, tmp_path: Path) -> None:
    count = 70_000
    with SourceWriter(source(on_invalid="skip"), tmp_path) as output, output.file("a.txt") as member:
        member.add(Record("", b"", number, number, number, invalid="is broken") for number in range(count))
    assert pq.read_table(tmp_path / "skipped.parquet")["line"].to_pylist() == list(range(count))


@pytest.mark.parametrize(
    ("line", "byte_start", "place"),
    [(3, 9, "file a.txt, line 3:"), (None, 9, "file a.txt, byte 9:"), (None, 0, "file a.txt:")],
)
def test_a_refusal_names_the_place(
    source: MakeSource, tmp_path: Path, line: int | None, byte_start: int, place: str
) -> None:
    with (
        pytest.raises(
            RawTextError, match=f"^source 'dump', {place} is broken; correct or exclude it, or set on_invalid"
        ),
        SourceWriter(source(), tmp_path) as output,
        output.file("a.txt") as member,
    ):
        member.add(iter([Record("", b"", byte_start, byte_start, line, invalid="is broken")]))


def test_a_file_without_a_document_is_refused(source: MakeSource, tmp_path: Path) -> None:
    for size, reason in ((0, "is empty"), (3, "holds no text")):
        (tmp_path / str(size)).mkdir()
        with (
            pytest.raises(RawTextError, match=f"file a.txt: {reason}"),
            SourceWriter(source(), tmp_path / str(size)) as output,
            output.file("a.txt") as member,
        ):
            member.size = size


def test_two_files_of_one_path_are_refused(source: MakeSource, tmp_path: Path) -> None:
    with SourceWriter(source(), tmp_path) as output:
        with output.file("a.txt") as member:
            member.add(records(1))
        with pytest.raises(RawTextError, match=r"has two files that are both a\.txt"):
            output.file("a.txt")
