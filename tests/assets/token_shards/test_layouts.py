from __future__ import annotations

import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.token_shards.errors import TokenShardError
from assets.token_shards.layouts import LAYOUTS, import_tokens
from assets.token_shards.layouts.blocks import Ids, cut_at_ends
from assets.token_shards.layouts.parquet import read_parquet
from assets.token_shards.settings import TokenShardSettings
from assets.vocabulary.tokenizer import open_vocabulary
from tests.assets.vocabulary.documents import CHINESE, ENGLISH, train
from training.shards import ShardError, Shards, ShardWriter, Split, open_shards


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("layouts")
    train(folder, {"en": ENGLISH, "zh": CHINESE}, size=400)
    return folder / "vocabulary"


def shards_of(folder: Path, vocabulary: Path, documents: list[list[int]], *, shard_tokens: int = 64) -> Shards:
    opened = open_vocabulary(vocabulary)
    folder.mkdir(parents=True)
    with ShardWriter(
        folder,
        vocabulary_hash=opened.sha256,
        vocabulary_size=opened.size,
        end_of_document=0,
        language="zh",
        source="a house",
        dump="zh",
        shard_tokens=shard_tokens,
    ) as writer:
        for number, ids in enumerate(documents):
            writer.add("train", f"{number:032x}", ids, len(ids))
    return open_shards(folder)


def imported(folder: Path, vocabulary: Path, files: list[Path], layout: str, **changes: Any) -> Shards:
    import_tokens(
        files,
        layout=layout,
        vocabulary=vocabulary,
        dump="zh",
        source="a house",
        language="zh",
        settings=TokenShardSettings.model_validate({"validation_share": 0.3} | changes),
        out=folder,
    )
    return open_shards(folder)


def documents_of(shards: Shards) -> list[tuple[str, list[int]]]:
    return [
        (document.doc_id, document.ids[:-1].tolist())
        for split in (shards.train, shards.validation)
        for document in split.iterate()
    ]


@settings(max_examples=25)
@given(
    documents=st.lists(st.lists(st.integers(1, 399), min_size=1, max_size=70), min_size=20, max_size=40),
    layout=st.sampled_from(sorted(LAYOUTS)),
)
def test_what_is_written_comes_back(vocabulary: Path, documents: list[list[int]], layout: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shards = shards_of(folder / "first", vocabulary, documents)
        files = LAYOUTS[layout].write(shards, shards.train, folder / "zh-train")
        back = imported(folder / "second", vocabulary, files[:1], layout)
        found = documents_of(back)
        assert sorted(ids for _, ids in found) == sorted(documents)
        assert len({doc_id for doc_id, _ in found}) == len(documents)
        if layout == "parquet":
            assert dict(found) == {f"{n:032x}": ids for n, ids in enumerate(documents)}
        again = imported(folder / "third", vocabulary, files[:1], layout)
        assert documents_of(again) == found
        # Whichever split they went to, documents stay in their order.
        order = {tuple(ids): number for number, ids in reversed(list(enumerate(documents)))}
        if len(order) == len(documents):
            for split in (back.train, back.validation):
                numbers = [order[tuple(document.ids[:-1].tolist())] for document in split.iterate()]
                assert numbers == sorted(numbers)


@pytest.mark.parametrize("kind", ["byte_bpe", "unigram", "byte", "character", "word"])
def test_bytes_are_those_of_the_text(tmp_path: Path, kind: str) -> None:
    train(tmp_path, {"en": ENGLISH, "zh": CHINESE}, kind=kind, size=400)
    opened = open_vocabulary(tmp_path / "vocabulary")
    texts = [*ENGLISH, *CHINESE, "A zebra, unheard of: 斑马"] * 3
    shards = shards_of(tmp_path / "first", tmp_path / "vocabulary", opened.encode_batch(texts))
    (path,) = LAYOUTS["nanogpt"].write(shards, shards.train, tmp_path / "x")
    back = imported(tmp_path / "second", tmp_path / "vocabulary", [path], "nanogpt")
    if kind != "word":  # which loses white space and words that are no entry
        assert back.train.byte_count + back.validation.byte_count == sum(len(text.encode()) for text in texts)
    for split in (back.train, back.validation):
        for document in split.iterate():
            assert document.bytes == len(opened.decode(document.ids.tolist()).encode())


DOCUMENTS = [[5, 6], [7], [258, 1, 2]]


def test_the_bytes_of_megatron(tmp_path: Path, vocabulary: Path) -> None:
    shards = shards_of(tmp_path / "first", vocabulary, DOCUMENTS, shard_tokens=5)
    tokens, index = LAYOUTS["megatron"].write(shards, shards.train, tmp_path / "x")
    assert tokens.read_bytes() == struct.pack("<9H", 5, 6, 0, 7, 0, 258, 1, 2, 0)
    assert index.read_bytes() == b"MMIDIDX\x00\x00" + struct.pack("<QBQQ", 1, 8, 3, 4) + struct.pack(
        "<3i", 3, 2, 4
    ) + struct.pack("<3q", 0, 6, 10) + struct.pack("<4q", 0, 1, 2, 3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "x.bin", "x.idx"]


def test_megatrons_documents_are_the_same_whichever_file_is_named(tmp_path: Path, vocabulary: Path) -> None:
    """The index has lengths only, which other documents may have too."""
    found = {}
    for name, first in (("a", 1), ("b", 101)):
        shards = shards_of(tmp_path / name, vocabulary, [[first + number, 2] for number in range(30)])
        for path in LAYOUTS["megatron"].write(shards, shards.train, tmp_path / f"x{name}"):
            back = imported(tmp_path / f"second-{path.name}", vocabulary, [path], "megatron")
            found[path.name] = {doc_id for doc_id, _ in documents_of(back)}
    assert found["xa.bin"] == found["xa.idx"]
    assert found["xa.idx"].isdisjoint(found["xb.idx"])


def test_megatrons_own_reader(tmp_path: Path, vocabulary: Path) -> None:
    datasets = pytest.importorskip("megatron.core.datasets.indexed_dataset", reason="megatron-core is not installed")
    shards = shards_of(tmp_path / "first", vocabulary, DOCUMENTS * 5, shard_tokens=20)
    LAYOUTS["megatron"].write(shards, shards.train, tmp_path / "x")
    dataset = datasets.IndexedDataset(str(tmp_path / "x"))
    assert [dataset[number].tolist() for number in range(len(dataset))] == [[*ids, 0] for ids in DOCUMENTS * 5]
    assert dataset.document_indices.tolist() == list(range(16))


def test_megatrons_own_writer(tmp_path: Path, vocabulary: Path) -> None:
    """A document of two sequences is one document."""
    datasets = pytest.importorskip("megatron.core.datasets.indexed_dataset", reason="megatron-core is not installed")
    torch = pytest.importorskip("torch")
    builder = datasets.IndexedDatasetBuilder(str(tmp_path / "x.bin"), dtype=np.int32)
    expected = []
    for number in range(30):
        builder.add_document(torch.tensor([5 + number, 6, 7]), [1, 2])
        expected.append([5 + number, 6, 7])
    builder.finalize(str(tmp_path / "x.idx"))
    back = imported(tmp_path / "second", vocabulary, [tmp_path / "x.bin"], "megatron")
    assert sorted(ids for _, ids in documents_of(back)) == sorted(expected)


def test_datatroves_own_files(tmp_path: Path, vocabulary: Path) -> None:
    from datatrove.data import Document
    from datatrove.pipeline.tokens import DocumentTokenizer

    step = DocumentTokenizer(
        str(tmp_path / "out"),
        local_working_dir=str(tmp_path / "work"),
        tokenizer_name_or_path=str(vocabulary / "tokenizer.json"),
        eos_token="<|endoftext|>",
        shuffle_documents=False,
    )
    texts = [*ENGLISH, *CHINESE] * 3
    step.run((Document(text=text, id=str(number)) for number, text in enumerate(texts)))
    (path,) = (tmp_path / "out").glob("*.ds")
    back = imported(tmp_path / "second", vocabulary, [path], "datatrove")
    expected = open_vocabulary(vocabulary).encode_batch(texts)
    assert sorted(ids for _, ids in documents_of(back)) == sorted(expected)
    # And what we write is, but for the name of the tokenizer, what it writes.
    shards = shards_of(tmp_path / "ours", vocabulary, expected)
    written = LAYOUTS["datatrove"].write(shards, shards.train, tmp_path / "x")
    assert written[0].read_bytes() == path.read_bytes()
    assert written[1].read_bytes() == path.with_name(path.name + ".index").read_bytes()


def many(count: int = 30) -> list[list[int]]:
    return [[1 + number, 2, 3] for number in range(count)]


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_files_cut_short_and_empty_documents(tmp_path: Path, vocabulary: Path, layout: str) -> None:
    shards = shards_of(tmp_path / "first", vocabulary, many())
    (path, *_) = LAYOUTS[layout].write(shards, shards.train, tmp_path / "x")
    content = path.read_bytes()
    for number, kept in enumerate((len(content) - 1, len(content) - 2, len(content) // 2 - 2)):
        path.write_bytes(content[:kept])
        with pytest.raises(TokenShardError, match=r"x\.(bin|ds|parquet)"):
            imported(tmp_path / f"cut-{number}", vocabulary, [path], layout)
        assert not (tmp_path / f"cut-{number}").exists()


def test_after_an_error_the_folder_is_as_it_was(
    tmp_path: Path, vocabulary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = shards_of(tmp_path / "first", vocabulary, many())
    (path,) = LAYOUTS["nanogpt"].write(shards, shards.train, tmp_path / "x")
    with pytest.raises(TokenShardError, match="no document went to validation; give more documents"):
        imported(tmp_path / "new", vocabulary, [path], "nanogpt", validation_share=1e-9)
    assert not (tmp_path / "new").exists()
    (tmp_path / "empty").mkdir()
    with pytest.raises(TokenShardError, match="there is no file"):
        imported(tmp_path / "empty", vocabulary, [path, tmp_path / "y.bin"], "nanogpt")
    assert list((tmp_path / "empty").iterdir()) == []

    def damaged(split: Split) -> None:
        assert not (tmp_path / "empty" / "shards.json").exists()
        raise ShardError(f"{split.name} is damaged")

    with monkeypatch.context() as patch:
        patch.setattr(Split, "verify", damaged)
        with pytest.raises(ShardError, match="train is damaged"):
            imported(tmp_path / "empty", vocabulary, [path], "nanogpt")
    assert list((tmp_path / "empty").iterdir()) == []
    assert imported(tmp_path / "empty", vocabulary, [path], "nanogpt").train.document_count
    names = {"train", "validation", "shards"}
    assert {name.name.partition("-")[0].partition(".")[0] for name in (tmp_path / "empty").iterdir()} == names


def test_documents_that_are_spread_over_blocks() -> None:
    row = [5, 0, *range(1, 9), 0, 6, 0, 7, 8, 0]
    for size in range(1, len(row) + 1):
        blocks = [np.asarray(row[first : first + size], dtype="<u2") for first in range(0, len(row), size)]
        found = [
            part.tolist()
            for block in cut_at_ends(blocks, 0, "x")
            for part in np.split(block.ids, np.cumsum(block.lengths)[:-1])
        ]
        assert found == [[5], list(range(1, 9)), [6], [7, 8]]


def test_a_file_without_ends_is_not_held_in_memory() -> None:
    taken = 0

    def blocks() -> Iterator[Ids]:
        nonlocal taken
        for _ in range(130):
            taken += 1
            yield np.broadcast_to(np.uint16(7), 1 << 20)

    with pytest.raises(TokenShardError, match=r"x has 135266304 ids after one another without 0, which closes a doc"):
        list(cut_at_ends(blocks(), 0, "x"))
    assert taken == 129


def test_wrong_files(tmp_path: Path, vocabulary: Path) -> None:
    numbers = iter(range(100))

    def refused(path: Path, layout: str, message: str) -> None:
        with pytest.raises(TokenShardError, match=message):
            imported(tmp_path / str(next(numbers)), vocabulary, [path], layout)

    flat = tmp_path / "x.bin"
    np.asarray([5, 0, 0, 6, 0], dtype="<u2").tofile(flat)
    refused(flat, "nanogpt", r"x\.bin: document 1 of a block has no token")
    np.asarray([5, 400, 0], dtype="<u2").tofile(flat)
    refused(flat, "nanogpt", r"holds the token id 400, but the vocabulary has 400 entries")
    np.asarray([5, 6], dtype="<u2").tofile(flat)
    refused(flat, "nanogpt", r"ends within a document: its last id is 6, not 0")
    refused(tmp_path / "nothing.bin", "nanogpt", "there is no file")
    refused(flat, "megatron", r"x\.idx is missing")
    (tmp_path / "y.idx").write_bytes(b"MMIDIDX\x00\x00")
    refused(tmp_path / "y.idx", "megatron", r"there is no file .*y\.bin")
    (tmp_path / "x.idx").write_bytes(b"MMIDIDX\x00\x01" + bytes(60))
    refused(flat, "megatron", r"x\.idx is no Megatron index")
    (tmp_path / "x.idx").write_bytes(b"MMIDIDX\x00\x00" + struct.pack("<QBQQ", 2, 8, 0, 0))
    refused(flat, "megatron", r"x\.idx has version 2 and type 8")
    (tmp_path / "x.idx").write_bytes(b"MMIDIDX\x00\x00" + struct.pack("<QBQQ", 1, 8, 1, 2) + bytes(28))
    refused(flat, "megatron", r"x\.idx does not cover its file")
    (tmp_path / "x.ds").write_bytes(bytes(4))
    refused(tmp_path / "x.ds", "datatrove", r"x\.ds\.index is missing")
    (tmp_path / "x.ds.index").write_bytes(struct.pack("<Q", 3))
    refused(tmp_path / "x.ds", "datatrove", r"has 4 bytes and its index says 3 ids of 2 bytes")
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "x.parquet")
    refused(tmp_path / "x.parquet", "parquet", r"has the columns \['text'\], not doc_id and ids")
    schema = pa.schema(
        [("doc_id", pa.string()), ("ids", pa.list_(pa.uint16()))],
        metadata={b"corpusline.vocabulary_sha256": b"ab" * 32},
    )
    pq.write_table(pa.table({"doc_id": ["a"], "ids": [[1]]}, schema=schema), tmp_path / "y.parquet")
    refused(tmp_path / "y.parquet", "parquet", r"y\.parquet was made with vocabulary abababababab")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    with pytest.raises(TokenShardError, match="full is not empty"):
        imported(tmp_path / "full", vocabulary, [flat], "nanogpt")


@pytest.mark.parametrize("layout", ["datatrove", "parquet"])
def test_files_that_name_another_vocabulary(tmp_path: Path, vocabulary: Path, layout: str) -> None:
    train(tmp_path, {"en": ENGLISH, "zh": CHINESE}, size=420)
    shards = shards_of(tmp_path / "first", vocabulary, many())
    (path, *_) = LAYOUTS[layout].write(shards, shards.train, tmp_path / "x")
    with pytest.raises(TokenShardError, match=rf"{path} was made with vocabulary {shards.vocabulary_hash[:12]}, not"):
        imported(tmp_path / "second", tmp_path / "vocabulary", [path], layout)


def test_a_vocabulary_too_large_for_sixteen_bits(tmp_path: Path, vocabulary: Path) -> None:
    with ShardWriter(
        tmp_path, vocabulary_hash="ab", vocabulary_size=70_000, end_of_document=0, language="", source="", dump=""
    ) as writer:
        writer.add("train", "a" * 32, [69_999], 3)
    shards = open_shards(tmp_path)
    with pytest.raises(TokenShardError, match="70000 entries do not fit nanoGPT's 16 bits"):
        LAYOUTS["nanogpt"].write(shards, shards.train, tmp_path / "x")
    tokens, _ = LAYOUTS["megatron"].write(shards, shards.train, tmp_path / "x")
    assert tokens.read_bytes() == struct.pack("<2i", 69_999, 0)


def test_a_large_parquet_file_is_read_row_group_by_row_group(tmp_path: Path) -> None:
    path, groups = tmp_path / "ids.parquet", 32
    chance = np.random.default_rng(0)
    schema = pa.schema([("doc_id", pa.string()), ("ids", pa.list_(pa.uint16()))])
    with pq.ParquetWriter(path, schema) as writer:
        for group in range(groups):
            ids = [chance.integers(0, 1 << 16, 1 << 17, dtype=np.uint16)]
            writer.write_table(pa.table([[str(group)], pa.array(ids, schema.field("ids").type)], schema=schema))
    before = pa.total_allocated_bytes()
    held = [pa.total_allocated_bytes() - before for _ in read_parquet(path, end_of_document=0, vocabulary_size=1 << 16)]
    assert sum(held) > 0
    assert max(held) < path.stat().st_size / 4
