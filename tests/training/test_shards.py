from __future__ import annotations

import hashlib
import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.artifact import file_sha256
from training.shards import ShardError, Shards, ShardWriter, SplitName, open_shards, token_dtype

END = 0
Documents = list[tuple[SplitName, list[int]]]


def writer_into(
    folder: Path, *, shard_tokens: int = 1 << 20, vocabulary_size: int = 1000, dump: str = "reviews"
) -> ShardWriter:
    folder.mkdir(parents=True, exist_ok=True)
    return ShardWriter(
        folder,
        vocabulary_hash="ab" * 32,
        vocabulary_size=vocabulary_size,
        end_of_document=END,
        language="zh",
        source="shop",
        dump=dump,
        shard_tokens=shard_tokens,
    )


def write(
    folder: Path,
    documents: Documents,
    *,
    shard_tokens: int = 1 << 20,
    vocabulary_size: int = 1000,
    dump: str = "reviews",
) -> Shards:
    with writer_into(folder, shard_tokens=shard_tokens, vocabulary_size=vocabulary_size, dump=dump) as writer:
        for number, (split, ids) in enumerate(documents):
            writer.add(split, f"{number:032x}", ids, bytes=3 * len(ids))
    return open_shards(folder)


def test_bytes_on_disk_are_the_documented_ones(tmp_path: Path) -> None:
    write(tmp_path, [("train", [258, 3]), ("train", [5]), ("validation", [7])])
    assert (tmp_path / "train-00000.bin").read_bytes() == bytes([2, 1, 3, 0, 0, 0, 5, 0, 0, 0])
    assert (tmp_path / "validation-00000.bin").read_bytes() == bytes([7, 0, 0, 0])
    assert pq.read_table(tmp_path / "train-00000.index.parquet").to_pylist() == [
        {"doc_id": f"{0:032x}", "start": 0, "length": 3, "bytes": 6},
        {"doc_id": f"{1:032x}", "start": 3, "length": 2, "bytes": 3},
    ]
    description = json.loads((tmp_path / "shards.json").read_text())
    assert description["dtype"] == "uint16"
    assert description["splits"]["train"]["files"] == [
        {
            "name": "train-00000.bin",
            "tokens": 5,
            "documents": 2,
            "bytes": 9,
            "sha256": hashlib.sha256(bytes([2, 1, 3, 0, 0, 0, 5, 0, 0, 0])).hexdigest(),
            "index_sha256": file_sha256(tmp_path / "train-00000.index.parquet"),
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
        st.tuples(st.sampled_from(["train", "validation"]), st.lists(st.integers(1, 999), min_size=1, max_size=12)),
        max_size=20,
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
            assert split.gather(np.arange(start, len(flat))[::-2]).tolist() == flat[start:][::-2]
            length = min(7, len(flat) - start)
            files, begins = split.places(np.asarray([start, 0]), length)
            for file, begin, expected_start in zip(files.tolist(), begins.tolist(), (start, 0), strict=True):
                if file >= 0:
                    window = split.windows(file, length)[begin]
                    assert window.tolist() == flat[expected_start : expected_start + length]
                else:
                    assert len({span.document for span in split.spans(expected_start, length)}) > 1
        assert split.gather(np.asarray([[-1, -2]]), fill=7).tolist() == [[7, 7]]
        for document, (doc_id, ids) in zip(split.iterate(), expected, strict=True):
            assert split.find(doc_id) == split.find(document.doc_id)
            place = split.find(doc_id)
            assert place is not None
            assert split.tokens(place.start, place.length).tolist() == ids
        lengths = [(start, each.tolist()) for start, each in split.document_lengths()]
        assert [length for _, each in lengths for length in each] == [len(ids) for _, ids in expected]
        split.verify()


@given(
    documents=st.lists(st.lists(st.integers(1, 999), min_size=1, max_size=12), min_size=1, max_size=20),
    masks=st.lists(st.booleans(), min_size=260, max_size=260),
    shard_tokens=st.integers(1, 30),
    cut=st.integers(0, 20),
)
def test_many_documents_at_once_are_the_same_bytes(
    tmp_path_factory: pytest.TempPathFactory,
    documents: list[list[int]],
    masks: list[bool],
    shard_tokens: int,
    cut: int,
) -> None:
    """Together, one by one, or in two calls; with and without a loss mask."""
    folders = []
    flat = np.asarray([token for ids in documents for token in ids])
    lengths = np.asarray([len(ids) for ids in documents])
    names = pa.array([f"{n:032x}" for n in range(len(documents))], pa.string())
    learned = np.asarray(masks[: flat.size])
    for edges in ([0, len(documents)], list(range(len(documents) + 1)), [0, min(cut, len(documents)), len(documents)]):
        folder = tmp_path_factory.mktemp("shards")
        with writer_into(folder, shard_tokens=shard_tokens) as writer:
            for first, last in pairwise(edges):
                part = slice(int(lengths[:first].sum()), int(lengths[:last].sum()))
                writer.add_documents(
                    "train",
                    names.slice(first, last - first),
                    flat[part],
                    lengths=lengths[first:last],
                    bytes=3 * lengths[first:last],
                    loss_mask=learned[part],
                )
        folders.append(folder)
    contents = [{path.name: path.read_bytes() for path in folder.iterdir()} for folder in folders]
    assert contents[0] == contents[1] == contents[2]
    train = open_shards(folders[0]).train
    train.verify()
    expected: list[bool] = []
    for number, length in enumerate(lengths.tolist()):
        begin = int(lengths[:number].sum())
        expected += [*learned[begin : begin + length].tolist(), bool(learned[begin + length - 1])]
    assert train.has_loss_mask == (not learned.all())
    for start in range(0, train.token_count, 5):
        assert train.loss_mask(start, train.token_count - start).tolist() == expected[start:]
    assert all((folders[0] / file.mask_name).exists() == (file.mask_sha256 is not None) for file in train.files)


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


def test_writer_refuses_an_empty_document(tmp_path: Path) -> None:
    with pytest.raises(ShardError, match=f"document {1:032x} has no token; leave it out"):
        write(tmp_path, [("train", [1]), ("train", [])])


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


@pytest.mark.parametrize("name", ["shards.json", "train-00000.bin"])
def test_a_file_in_place_of_the_folder(folder: Path, name: str) -> None:
    with pytest.raises(ShardError, match=rf"{re.escape(name)} is a file; name the folder that holds shards\.json"):
        open_shards(folder / name)


def test_a_description_that_is_a_folder(folder: Path) -> None:
    (folder / "shards.json").unlink()
    (folder / "shards.json").mkdir()
    with pytest.raises(ShardError, match=r"shards\.json cannot be read \(.*Is a directory"):
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


def without_index_hashes(folder: Path) -> None:
    """As folders were before the hash of an index was kept."""
    path = folder / "shards.json"
    description = json.loads(path.read_text())
    for split in description["splits"].values():
        for file in split["files"]:
            file.pop("index_sha256", None)
    path.write_text(json.dumps(description))


def test_a_flipped_bit_of_an_index_is_found_by_verify(folder: Path) -> None:
    path = folder / "train-00000.index.parquet"
    content = path.read_bytes()
    open_shards(folder).train.verify()
    for place in range(0, len(content), 7):
        path.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        with pytest.raises(ShardError, match=r"train-00000\.index\.parquet is damaged"):
            open_shards(folder).train.verify()


def test_a_folder_from_before_the_hash_of_an_index_was_kept(folder: Path) -> None:
    documents = list(open_shards(folder).train.iterate())
    without_index_hashes(folder)
    shards = open_shards(folder)
    shards.train.verify()
    assert [document.doc_id for document in shards.train.iterate()] == [document.doc_id for document in documents]


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
    without_index_hashes(folder)
    index = folder / "train-00000.index.parquet"
    table = pq.read_table(index)
    pq.write_table(table.replace_schema_metadata({"corpusline.shard_sha256": digest}), index)
    with pytest.raises(ShardError, match="token id 1001"):
        open_shards(folder).train.verify()


def rewrite_index(folder: Path, column: str, values: list[object]) -> None:
    path = folder / "train-00000.index.parquet"
    opened = pq.ParquetFile(path)
    metadata, table = opened.metadata.metadata or {}, opened.read()
    place = table.schema.get_field_index(column)
    table = table.set_column(place, table.schema.field(place), pa.array(values, table.schema.field(place).type))
    pq.write_table(
        table.replace_schema_metadata({b"corpusline.shard_sha256": metadata[b"corpusline.shard_sha256"]}), path
    )
    without_index_hashes(folder)


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("length", [0, 6], f"document {0:032x} has no token"),
        ("length", [3, 2], "does not cover"),
        ("start", [0, 3], "does not cover"),
        ("start", [1, 4], "does not cover"),
    ],
)
def test_index_rows_that_cannot_be(folder: Path, column: str, values: list[object], message: str) -> None:
    rewrite_index(folder, column, values)
    with pytest.raises(ShardError, match=rf"train-00000\.index\.parquet.*{message}"):
        open_shards(folder).train.verify()


def test_a_boundary_at_another_place_is_found_by_verify(folder: Path) -> None:
    rewrite_index(folder, "length", [3, 3])
    rewrite_index(folder, "start", [0, 3])
    with pytest.raises(ShardError, match="not closed by the end-of-document id where its index says"):
        open_shards(folder).train.verify()


def test_a_damaged_loss_mask(tmp_path: Path) -> None:
    with writer_into(tmp_path) as writer:
        writer.add_documents(
            "train",
            pa.array(["a"]),
            np.arange(1, 20),
            lengths=np.asarray([19]),
            bytes=np.asarray([50]),
            loss_mask=np.arange(19) > 9,
        )
    mask = tmp_path / "train-00000.mask.bin"
    assert mask.read_bytes() == bytes([0b00000000, 0b11111100, 0b00001111])
    mask.write_bytes(bytes([1, 252, 15]))
    with pytest.raises(ShardError, match=r"train-00000\.mask\.bin is damaged"):
        open_shards(tmp_path).train.verify()
    mask.write_bytes(bytes([0, 252]))
    with pytest.raises(ShardError, match=r"train-00000\.mask\.bin has 2 bytes instead of 3"):
        open_shards(tmp_path)


def test_documents_by_the_beginning_of_their_id(tmp_path: Path) -> None:
    with ShardWriter(
        tmp_path, vocabulary_hash="ab", vocabulary_size=9, end_of_document=0, language="", source="", dump=""
    ) as writer:
        for doc_id in ("ab1", "ab2", "cd3"):
            writer.add("train", doc_id, [1, 2], bytes=2)
    train = open_shards(tmp_path).train
    assert train.find("cd") == (2, "cd3", 6, 3)
    assert train.find("ef") is None
    with pytest.raises(ShardError, match=r"2 documents of .* begin with ab: ab1, ab2; write more"):
        train.find("ab")


def test_ten_terabytes_are_opened_without_reading_them(tmp_path: Path) -> None:
    """Forty thousand sparse files of 256 MiB, of which one has an index; few are open at any time."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    write(tmp_path, [("train", [1, 2, 3])])
    description = json.loads((tmp_path / "shards.json").read_text())
    (entry,) = description["splits"]["train"]["files"]
    files = [entry]
    for number in range(1, 40_000):
        name = f"train-{number:05d}.bin"
        with (tmp_path / name).open("wb") as file:
            file.truncate(1 << 28)
        (tmp_path / f"train-{number:05d}.index.parquet").touch()
        files.append(entry | {"name": name, "tokens": 1 << 27})
    description["splits"]["train"]["files"] = files
    (tmp_path / "shards.json").write_text(json.dumps(description))
    train = open_shards(tmp_path).train
    assert train.token_count == 4 + 39_999 * (1 << 27)
    files, begins = train.places(np.random.default_rng(0).integers(4, train.token_count - 9, 2000), 9)
    assert not any(
        train.windows(file, 9)[begin].any() for file, begin in zip(files.tolist(), begins.tolist(), strict=True)
    )
    assert len(list(Path("/proc/self/fd").iterdir())) - before < 300


def test_positions_outside(folder: Path) -> None:
    train = open_shards(folder).train
    for wrong in (
        lambda: train.tokens(5, 2),
        lambda: train.tokens(-1, 1),
        lambda: train.spans(6, 1),
        lambda: train.loss_mask(5, 2),
        lambda: train.gather(np.asarray([6])),
    ):
        with pytest.raises(IndexError):
            wrong()
    assert train.places(np.asarray([3, 4, 6, -1]), 3)[0].tolist() == [0, -1, -1, -1]
    with pytest.raises(IndexError, match="document 2"):
        train.document(2)


def test_long_stretches_over_files(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    documents: Documents = [("train", rng.integers(1, 1000, 90_000).tolist()) for _ in range(3)]
    train = write(tmp_path, documents, shard_tokens=100_000).train
    flat = np.asarray([token for _, ids in documents for token in [*ids, END]])
    for start, length in ((0, flat.size), (7, 80_000), (89_990, 70_000), (10, 250_000)):
        assert np.array_equal(train.tokens(start, length), flat[start : start + length])
    (tmp_path / "train-00001.bin").write_bytes(bytes(8))
    with pytest.raises(ShardError, match=r"train-00001\.bin cannot be read .*ends \d+ values too early"):
        train.tokens(0, flat.size)


def test_an_index_of_several_row_groups_is_the_same_however_it_came(tmp_path: Path) -> None:
    count = 150_000
    names = pa.array([f"{n:032x}" for n in range(count)], pa.string())
    lengths = np.arange(count) % 3 + 1
    ids = np.arange(lengths.sum()) % 999 + 1
    ends = np.concatenate([[0], np.cumsum(lengths)])
    for name, step in (("together", count), ("in parts", 7_001)):
        with writer_into(tmp_path / name) as writer:
            for first in range(0, count, step):
                last = min(count, first + step)
                part = ids[ends[first] : ends[last]]
                writer.add_documents("train", names[first:last], part, lengths[first:last], lengths[first:last])
    together, parts = ({path.name: path.read_bytes() for path in folder.iterdir()} for folder in tmp_path.iterdir())
    assert together == parts
    metadata = pq.read_metadata(tmp_path / "together" / "train-00000.index.parquet")
    assert [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)] == [65_536, 65_536, 18_928]
    place = open_shards(tmp_path / "together").train.find(f"{140_000:032x}")
    assert place == (140_000, f"{140_000:032x}", int(ends[140_000]) + 140_000, int(lengths[140_000]) + 1)


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32, np.int32, np.int64])
def test_ids_of_any_integer_type(tmp_path: Path, dtype: type[np.integer[Any]]) -> None:
    with writer_into(tmp_path, vocabulary_size=1 << 16) as writer:
        ids = np.array([65_535, 1, 2], dtype=dtype)
        names = pa.array(["-", "a", "b"], pa.string())[1:]
        writer.add_documents("train", names, ids, np.array([1, 2]), np.array([3, 4]))
    train = open_shards(tmp_path).train
    assert [(document.doc_id, document.ids.tolist(), document.bytes) for document in train.iterate()] == [
        ("a", [65_535, END], 3),
        ("b", [1, 2, END], 4),
    ]


def test_the_wrong_document_of_many_is_named(tmp_path: Path) -> None:
    names = pa.array(["a", "b", "c"], pa.string())
    sizes = np.array([2, 1, 2])
    for ids, message in (
        ([1, 2, 3, 4, 1000], "document c: token id 1000 is outside"),
        ([1, 2, -1, 4, 5], "document b: token id -1 is outside"),
        ([1, END, 3, 4, 5], "document a holds the end-of-document id 0"),
    ):
        with pytest.raises(ShardError, match=message), writer_into(tmp_path / "wrong") as writer:
            writer.add_documents("train", names, np.array(ids), sizes, sizes)
        assert not (tmp_path / "wrong" / "shards.json").exists()


def test_arrays_that_do_not_fit_together(tmp_path: Path) -> None:
    names, ids, two = pa.array(["a", "b"], pa.string()), np.array([1, 2, 3]), np.array([1, 2])
    writer = writer_into(tmp_path)
    with pytest.raises(ShardError, match="do not fit together"):
        writer.add_documents("train", names, ids, np.array([1, 1]), two)
    with pytest.raises(ShardError, match="do not fit together"):
        writer.add_documents("train", names, ids, np.array([1, 1, 1]), two)
    with pytest.raises(ShardError, match="do not fit together"):
        writer.add_documents("train", names, ids, two, np.array([1]))
    with pytest.raises(ShardError, match="loss mask"):
        writer.add_documents("train", names, ids, two, two, np.ones(2, dtype=np.bool_))
    writer.add_documents("train", names[:0], ids[:0], two[:0], two[:0])
    assert writer.close().documents == {"train": 0, "validation": 0}
