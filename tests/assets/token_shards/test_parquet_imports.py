"""What Parquet files with a row a document may hold."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.token_shards.errors import TokenShardError
from tests.assets.token_shards.test_layouts import documents_of, imported
from tests.assets.vocabulary.documents import CHINESE, ENGLISH, train

DOC_IDS = [f"{number:032x}" for number in range(30)]
IDS = [[5 + number, 6, 7] for number in range(30)]
LISTS = pa.list_(pa.uint16())


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parquet")
    train(folder, {"en": ENGLISH, "zh": CHINESE}, size=400)
    return folder / "vocabulary"


def written(path: Path, doc_ids: Any, ids: Any) -> Path:
    pq.write_table(pa.table({"doc_id": doc_ids, "ids": ids}), path)
    return path


def hashed(name: str) -> str:
    return hashlib.blake2b(name.encode(), digest_size=16).hexdigest()


@pytest.mark.parametrize(
    "kind",
    [pa.list_(pa.uint16(), 3), pa.large_list(pa.uint32()), pa.list_(pa.int64()), pa.list_(pa.uint64())],
    ids=str,
)
def test_all_kinds_of_lists_of_integers(tmp_path: Path, vocabulary: Path, kind: pa.DataType) -> None:
    path = written(tmp_path / "x.parquet", pa.array(DOC_IDS), pa.array(IDS, kind))
    found = documents_of(imported(tmp_path / "second", vocabulary, [path], "parquet"))
    assert sorted(found) == list(zip(DOC_IDS, IDS, strict=True))


@pytest.mark.parametrize(
    "doc_ids",
    [
        pa.array([f"doc {number}" for number in range(30)]),
        pa.array([f"{number:032X}" for number in range(0xA0, 0xBE)], pa.large_string()),
        pa.array(range(30)),
        pa.array([f"doc {number}" for number in range(30)]).dictionary_encode(),
    ],
)
def test_doc_ids_of_another_form_are_hashed(tmp_path: Path, vocabulary: Path, doc_ids: Any) -> None:
    path = written(tmp_path / "x.parquet", doc_ids, pa.array(IDS, LISTS))
    found = documents_of(imported(tmp_path / "second", vocabulary, [path], "parquet"))
    assert dict(found) == {hashed(str(name)): ids for name, ids in zip(doc_ids.to_pylist(), IDS, strict=True)}


@pytest.mark.parametrize(
    ("doc_ids", "ids", "message"),
    [
        (pa.array([None, *DOC_IDS[1:]]), pa.array(IDS, LISTS), "a doc_id must not be null"),
        (pa.array([1.5] * 30), pa.array(IDS, LISTS), "doc_id is double; write strings, or integers"),
        (pa.array(DOC_IDS), pa.array([None, *IDS[1:]], LISTS), "the ids of a document must not be null"),
        (pa.array(DOC_IDS), pa.array([[5, None]] * 30, LISTS), "an id must not be null"),
        (pa.array(DOC_IDS), pa.array(range(30)), "ids is int64; write a list of integers"),
        (pa.array(DOC_IDS), pa.array([[5.7, 6.2]] * 30), "ids is list<.*double>; write a list of integers"),
        (pa.array(DOC_IDS), pa.array([["a"]] * 30), "ids is list<.*string>; write a list of integers"),
        (pa.array(DOC_IDS), pa.array([[5, -1]] * 30), "holds the token id -1, but the vocabulary has 400 entries"),
        (pa.array(DOC_IDS), pa.array([[400]] * 30), "holds the token id 400, but the vocabulary has 400 entries"),
        (
            pa.array(DOC_IDS),
            pa.array([[np.uint64(2**64 - 1)]] * 30, pa.list_(pa.uint64())),
            "holds the token id 18446744073709551615, but the vocabulary has 400 entries",
        ),
    ],
)
def test_other_columns_are_refused(tmp_path: Path, vocabulary: Path, doc_ids: Any, ids: Any, message: str) -> None:
    path = written(tmp_path / "x.parquet", doc_ids, ids)
    with pytest.raises(TokenShardError, match=rf"x\.parquet:? {message}"):
        imported(tmp_path / "second", vocabulary, [path], "parquet")


def test_no_two_documents_have_the_same_id(tmp_path: Path, vocabulary: Path) -> None:
    """Neither in one file nor in two."""
    lists = pa.array(IDS, LISTS)
    first = written(tmp_path / "x.parquet", pa.array(DOC_IDS), lists)
    other = written(tmp_path / "y.parquet", pa.array([f"{number:032x}" for number in range(29, 59)]), lists)
    with pytest.raises(
        TokenShardError, match=r"document 29 of \S*x.parquet and document 0 of \S*y.parquet have the same"
    ):
        imported(tmp_path / "second", vocabulary, [first, other], "parquet")
    twice = written(tmp_path / "z.parquet", pa.array([*DOC_IDS[:29], DOC_IDS[4]]), lists)
    with pytest.raises(
        TokenShardError, match=r"document 4 of \S*z.parquet and document 29 of \S*z.parquet have the same"
    ):
        imported(tmp_path / "second", vocabulary, [twice], "parquet")
    (tmp_path / "n.bin").write_bytes(np.asarray([[5, 6, 0]] * 30, dtype="<u2").tobytes())
    with pytest.raises(
        TokenShardError, match=r"document 0 of \S*n.bin and document 0 of \S*n.bin .* name each file once"
    ):
        imported(tmp_path / "second", vocabulary, [tmp_path / "n.bin"] * 2, "nanogpt")
