from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import strategies as st

from assets.vocabulary.batches import document_batches
from tests.assets.vocabulary.documents import ENGLISH, document_id, write_documents

MEBIBYTE = 1 << 20
text_with_lines = st.text("aB ,.'’ 你好あ7\n\r\t\x85\u2028!😀", max_size=120)


def test_documents_come_in_order_whatever_their_files(tmp_path: Path) -> None:
    folder = write_documents(tmp_path / "dump", ENGLISH, rows_per_group=2, files=2)
    batches = list(document_batches(folder, ["doc_id", "text"]))
    assert [batch.num_rows for batch in batches] == [2, 1, 2, 1]
    assert batches[0].column_names == ["doc_id", "text"]
    rows = [row for batch in batches for row in batch.to_pylist()]
    assert rows == [{"doc_id": document_id("dump", number), "text": text} for number, text in enumerate(ENGLISH)]


def test_a_batch_is_four_mebibytes_or_one_document(tmp_path: Path) -> None:
    sizes = [1, 2 * MEBIBYTE, 2 * MEBIBYTE - 1, 1, 5 * MEBIBYTE, 0, 4 * MEBIBYTE, 1]
    folder = write_documents(tmp_path / "dump", ["x" * size for size in sizes], rows_per_group=99)
    batches = [[len(text) for text in batch["text"].to_pylist()] for batch in document_batches(folder, ["text"])]
    assert batches == [sizes[:3], sizes[3:4], sizes[4:5], sizes[5:7], sizes[7:]]


def test_a_batch_of_tiny_documents_is_bounded_too(tmp_path: Path) -> None:
    folder = write_documents(tmp_path / "dump", [""] * 10_000, rows_per_group=10_000)
    assert [batch.num_rows for batch in document_batches(folder, ["text"])] == [4096, 4096, 1808]


def test_no_documents_is_no_batch_and_no_folder_is_refused(tmp_path: Path) -> None:
    assert list(document_batches(write_documents(tmp_path / "dump", []), ["text"])) == []
    with pytest.raises(FileNotFoundError, match=r"holds no documents-\*.parquet; run the stage"):
        next(document_batches(tmp_path, ["text"]))
