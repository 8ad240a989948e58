from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.shards import ShardError, Shards, ShardWriter, SplitName, open_shards, token_dtype

END = 0
Documents = list[tuple[SplitName, list[int]]]


def write(
    folder: Path,
    documents: Documents,
    *,
    shard_tokens: int = 1 << 20,
    vocabulary_size: int = 1000,
    dump: str = "reviews",
) -> Shards:
    folder.mkdir(parents=True, exist_ok=True)
    with ShardWriter(
        folder,
        vocabulary_hash="ab" * 32,
        vocabulary_size=vocabulary_size,
        end_of_document=END,
        language="zh",
        source="shop",
        dump=dump,
        shard_tokens=shard_tokens,
    ) as writer:
        for number, (split, ids) in enumerate(documents):
            writer.add(split, f"{number:032x}", ids, bytes=3 * len(ids))
    return open_shards(folder)


def test_bytes_on_disk_are_the_documented_ones(tmp_path: Path) -> None:
    write(tmp_path, [("train", [258, 3]), ("train", []), ("validation", [7])])
    assert (tmp_path / "train-00000.bin").read_bytes() == bytes([2, 1, 3, 0, 0, 0, 0, 0])
    assert (tmp_path / "validation-00000.bin").read_bytes() == bytes([7, 0, 0, 0])
    assert pq.read_table(tmp_path / "train-00000.index.parquet").to_pylist() == [
        {"doc_id": f"{0:032x}", "start": 0, "length": 3, "bytes": 6},
        {"doc_id": f"{1:032x}", "start": 3, "length": 1, "bytes": 0},
    ]
    description = json.loads((tmp_path / "shards.json").read_text())
    assert description["dtype"] == "uint16"
    assert description["splits"]["train"]["files"] == [
        {
            "name": "train-00000.bin",
            "tokens": 4,
            "documents": 2,
            "bytes": 6,
            "sha256": hashlib.sha256(bytes([2, 1, 3, 0, 0, 0, 0, 0])).hexdigest(),
        }
    ]


def test_large_vocabularies_take_four_bytes(tmp_path: Path) -> None:
    assert [token_dtype(size).itemsize for size in (65_536, 65_537)] == [2, 4]
    shards = write(tmp_path, [("train", [70_000])], vocabulary_size=100_000)
    assert (tmp_path / "train-00000.bin").read_bytes() == (70_000).to_bytes(4, "little") + bytes(4)
    assert shards.train.tokens(0, 2).tolist() == [70_000, END]


def test_description(tmp_path: Path) -> None:
    shards = write(tmp_path, [("train", [1])])
    assert (shards.language, shards.source, shards.dump) == ("zh", "shop", "reviews")
    assert (shards.vocabulary_size, shards.end_of_document) == (1000, END)
    assert shards.split("validation").document_count == 0
    assert shards.split("train") is shards.train


def test_files_roll_at_the_limit_and_a_long_document_stands_alone(tmp_path: Path) -> None:
    shards = write(
        tmp_path,
        [("train", [1, 2]), ("train", [3]), ("train", [4]), ("train", list(range(1, 9))), ("train", [5])],
        shard_tokens=5,
    )
    assert [(file.documents, file.tokens) for file in shards.train.files] == [(2, 5), (1, 2), (1, 9), (1, 2)]
    assert shards.train.tokens(3, 6).tolist() == [3, END, 4, END, 1, 2]


@given(
    documents=st.lists(
        st.tuples(st.sampled_from(["train", "validation"]), st.lists(st.integers(1, 999), max_size=12)), max_size=20
    ),
    shard_tokens=st.integers(1, 30),
)
def test_every_token_maps_back_to_its_document(
    tmp_path_factory: pytest.TempPathFactory, documents: Documents, shard_tokens: int
) -> None:
    shards = write(tmp_path_factory.mktemp("shards"), documents, shard_tokens=shard_tokens)
    for split in (shards.train, shards.validation):
        expected = [(f"{n:032x}", [*ids, END]) for n, (name, ids) in enumerate(documents) if name == split.name]
        flat = [token for _, ids in expected for token in ids]
        assert split.document_count == len(expected)
        assert split.tokens(0, split.token_count).tolist() == flat
        assert [(document.doc_id, document.ids.tolist()) for document in split.iterate()] == expected
        assert split.byte_count == sum(document.bytes for document in split.iterate())
        for start in range(0, len(flat), 3):
            spans = split.spans(start, min(7, len(flat) - start))
            found = [t for span in spans for t in expected[span.document][1][span.offset : span.offset + span.length]]
            assert found == flat[start : start + 7]
            assert [span.doc_id for span in spans] == [expected[span.document][0] for span in spans]
        split.verify()


def test_same_documents_same_bytes(tmp_path: Path) -> None:
    documents: Documents = [("train", [5, 6, 7]), ("validation", [8])]
    write(tmp_path / "a", documents)
    write(tmp_path / "b", documents)
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert len(names) == 5
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in names)


@pytest.mark.parametrize("ids", [[1, 1000], [-1]])
def test_writer_refuses_ids_outside_the_vocabulary(tmp_path: Path, ids: list[int]) -> None:
    with pytest.raises(ShardError, match="outside the vocabulary of 1000"):
        write(tmp_path, [("train", ids)])
    with pytest.raises(ShardError, match=r"no shards\.json"):
        open_shards(tmp_path)


def test_writer_refuses_an_end_within_a_document(tmp_path: Path) -> None:
    with pytest.raises(ShardError, match="end-of-document id"):
        write(tmp_path, [("train", [1, END, 2])])


def test_wrong_writer_arguments(tmp_path: Path) -> None:
    with pytest.raises(ShardError, match="end of document"):
        write(tmp_path, [], vocabulary_size=0)
    with pytest.raises(ShardError, match="shard_tokens"):
        write(tmp_path, [], shard_tokens=0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, [("train", [1, 2, 3]), ("train", [4]), ("validation", [5])])
    return tmp_path


@pytest.mark.parametrize("name", ["train-00000.bin", "validation-00000.index.parquet", "shards.json"])
def test_missing_file(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ShardError, match=name.replace(".", r"\.")):
        open_shards(folder)


def test_truncated_file(folder: Path) -> None:
    path = folder / "train-00000.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ShardError, match=r"train-00000\.bin has 11 bytes instead of 12; remove the folder"):
        open_shards(folder)


def test_flipped_byte_is_found_by_verify(folder: Path) -> None:
    path = folder / "train-00000.bin"
    data = bytearray(path.read_bytes())
    data[2] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(ShardError, match=r"train-00000\.bin is damaged"):
        open_shards(folder).train.verify()


def test_index_of_another_shard(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    write(other, [("train", [9, 9, 9]), ("train", [9])])
    (folder / "train-00000.index.parquet").write_bytes((other / "train-00000.index.parquet").read_bytes())
    with pytest.raises(ShardError, match=r"train-00000\.index\.parquet is the index of another shard"):
        open_shards(folder).train.document(0)


def test_index_that_does_not_cover_its_file(folder: Path) -> None:
    path = folder / "train-00000.index.parquet"
    table = pq.ParquetFile(path).read()
    pq.write_table(table.slice(0, 1), path)
    with pytest.raises(ShardError, match="does not cover"):
        open_shards(folder).train.spans(0, 1)


def test_damaged_index(folder: Path) -> None:
    (folder / "train-00000.index.parquet").write_bytes(b"PAR1")
    with pytest.raises(ShardError, match="cannot be read"):
        open_shards(folder).train.document(0)


def test_another_vocabulary(folder: Path) -> None:
    assert open_shards(folder, vocabulary_hash="ab" * 32).vocabulary_hash == "ab" * 32
    with pytest.raises(ShardError, match="was encoded with vocabulary abababababab, not cdcdcdcdcdcd"):
        open_shards(folder, vocabulary_hash="cd" * 32)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"format": 9}, "format 9"), ({"dtype": "uint32"}, "does not fit"), ({"splits": {}}, "damaged")],
)
def test_damaged_description(folder: Path, change: dict[str, object], message: str) -> None:
    path = folder / "shards.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ShardError, match=message):
        open_shards(folder)


def test_id_over_the_vocabulary_is_found_by_verify(folder: Path) -> None:
    path = folder / "train-00000.bin"
    np.array([1, 2, 3, 0, 1001, 0], dtype="<u2").tofile(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    description = json.loads((folder / "shards.json").read_text())
    old = description["splits"]["train"]["files"][0]["sha256"]
    (folder / "shards.json").write_text((folder / "shards.json").read_text().replace(old, digest))
    index = folder / "train-00000.index.parquet"
    table = pq.read_table(index)
    pq.write_table(table.replace_schema_metadata({"corpusline.shard_sha256": digest}), index)
    with pytest.raises(ShardError, match="token id 1001"):
        open_shards(folder).train.verify()


def test_positions_outside(folder: Path) -> None:
    train = open_shards(folder).train
    for wrong in (lambda: train.tokens(5, 2), lambda: train.tokens(-1, 1), lambda: train.spans(6, 1)):
        with pytest.raises(IndexError):
            wrong()
    with pytest.raises(IndexError, match="document 2"):
        train.document(2)
