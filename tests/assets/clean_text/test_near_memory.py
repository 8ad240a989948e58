from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from assets.clean_text.errors import CleanTextError
from assets.clean_text.near_duplicates.minhash import minhash_schema, sign_documents
from assets.clean_text.near_duplicates.search import find_near_duplicates
from assets.clean_text.near_duplicates.settings import NearDuplicateSettings
from assets.clean_text.tables import TableWriter

DEFAULT = NearDuplicateSettings()


def write_pairs(folder: Path, count: int, write: Callable[..., Path]) -> Path:
    """As many documents of 24 words, and each once more with another word at the end."""
    words = np.random.default_rng(0).integers(0, 1 << 32, (count, 24))
    texts = [" ".join(map("{:x}".format, row)).translate(LETTERS) for row in words.tolist()]
    write(folder, [*texts, *(f"{text} more" for text in reversed(texts))], rows_per_group=20_000)
    with TableWriter(folder / "minhash.parquet", minhash_schema(DEFAULT)) as writer:
        for group in pq.ParquetFile(folder / "documents-00000.parquet").iter_batches(20_000):
            writer.write(sign_documents(group["doc_id"], group["text"], DEFAULT))
    return folder


LETTERS = str.maketrans("0123456789", "ghijklmnop")


@pytest.mark.slow
def test_little_memory_gives_the_same(tmp_path: Path, write_raw_text: Callable[..., Path]) -> None:
    count = 200_000
    folder = write_pairs(tmp_path / "in", count, write_raw_text)
    contents = []
    for memory_limit, threads in (("1GB", 2), ("64MB", 1)):
        out = tmp_path / memory_limit
        out.mkdir()
        report = find_near_duplicates(
            {"dump": folder}, out, settings=DEFAULT, memory_limit=memory_limit, threads=threads
        )
        assert report.candidates == report.compared == report.near_duplicates["dump"] == count
        contents.append((out / "near-duplicates-dump.parquet").read_bytes())
        assert [path.name for path in out.iterdir()] == ["near-duplicates-dump.parquet"]
    assert contents[0] == contents[1]
    similarities = pq.read_table(tmp_path / "64MB" / "near-duplicates-dump.parquet")["similarity"]
    assert pc.unique(similarities).to_pylist() == [20 / 21]


def test_too_little_memory_is_an_error_with_a_remedy(tmp_path: Path, write_raw_text: Callable[..., Path]) -> None:
    folder = write_pairs(tmp_path / "in", 10_000, write_raw_text)
    (tmp_path / "out").mkdir()
    with pytest.raises(CleanTextError, match="allow more memory"):
        find_near_duplicates({"dump": folder}, tmp_path / "out", settings=DEFAULT, memory_limit="1MB")
    assert list((tmp_path / "out").iterdir()) == []
