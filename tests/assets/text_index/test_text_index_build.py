from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.text_index.build import TextIndexReport, build_text_index
from assets.text_index.errors import TextIndexError
from assets.text_index.format import DESCRIPTION, END
from assets.text_index.opened import open_text_index
from assets.text_index.search import count, occurrences
from assets.text_index.settings import TextIndexSettings
from assets.text_index.suffix_array import sort_suffixes
from assets.vocabulary.tokenizer import open_vocabulary
from tests.assets.text_index.indexed_texts import index_texts, write_shards
from tests.assets.vocabulary.documents import CHINESE, ENGLISH, OTHERS
from training.settings import SettingsError
from training.shards import RemoteFolder, ShardError, ShardWriter, SplitName, open_shards

TEXTS = [*ENGLISH, *CHINESE, *OTHERS]
VOCABULARIES = ["byte_bpe", "unigram", "character", "byte", "word", "spaces_before_words"]


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@settings(max_examples=200)
@given(text=st.text("ab天😀é", max_size=40), ends=st.integers(0, 3))
def test_suffixes_are_sorted_as_bytes(text: str, ends: int) -> None:
    data = (text.encode() + bytes([END])) * (ends + 1)
    beginnings = [place for place, byte in enumerate(data) if byte != END and byte & 0xC0 != 0x80]
    expected = sorted(beginnings, key=lambda place: data[place:])
    assert sort_suffixes(np.frombuffer(bytearray(data), np.uint8)).tolist() == expected


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
@pytest.mark.parametrize("part_bytes", [1, 150, 1 << 20])
def test_the_parts_hold_every_decoded_document_once_and_in_order(
    tmp_path: Path, vocabulary: str, part_bytes: int, request: pytest.FixtureRequest
) -> None:
    indexed = index_texts(tmp_path, TEXTS, request.getfixturevalue(vocabulary), part_bytes=part_bytes)
    index = indexed.open()
    found: dict[SplitName, list[str]] = {"train": [], "validation": []}
    for part in index.parts:
        assert part.first_document == len(found[part.split])
        documents = index.open(part).text.tobytes().split(bytes([END]))
        assert documents.pop() == b""
        assert part.documents == len(documents) == 1 or part.bytes <= part_bytes
        assert np.diff(index.documents(part)).tolist() == [len(document) + 1 for document in documents]
        found[part.split] += [document.decode() for document in documents]
    assert found == indexed.texts


def test_a_document_is_never_cut(tmp_path: Path, byte_bpe: Path) -> None:
    long = "a" * 500
    indexed = index_texts(tmp_path, ["b", long, "v", "c", "d"], byte_bpe, part_bytes=4)
    parts = [(part.split, part.documents, part.bytes) for part in indexed.open().parts]
    assert parts == [("train", 1, 2), ("train", 1, 501), ("train", 2, 4), ("validation", 1, 2)]
    assert count([indexed.open()], long).occurrences == 1


def test_bytes_depend_on_neither_processes_nor_files_of_shards(tmp_path: Path, byte_bpe: Path) -> None:
    contents = [
        files(
            index_texts(tmp_path / name, TEXTS, byte_bpe, part_bytes=300, shard_tokens=shard_tokens, workers=w).folder
        )
        for name, shard_tokens, w in (("one", 1 << 20, 1), ("processes", 1 << 20, 2), ("files", 50, 1))
    ]
    assert contents[0] == contents[1]
    for content in contents:
        del content[DESCRIPTION]  # names the shards
    assert contents[0] == contents[2]
    assert len(contents[0]) > 12


def test_shards_behind_a_uri_are_indexed_alike(tmp_path: Path, byte_bpe: Path) -> None:
    here = index_texts(tmp_path / "here", TEXTS, byte_bpe, part_bytes=300)
    remote = RemoteFolder(here.shards.as_uri(), tmp_path / "cache", limit_bytes=1 << 20)
    (tmp_path / "index").mkdir()
    settings = TextIndexSettings(part_bytes=300, workers=2)
    build_text_index(remote, byte_bpe, settings=settings, out=tmp_path / "index")
    assert files(tmp_path / "index") == files(here.folder)
    index = open_text_index(tmp_path / "index", shards=open_shards(remote), vocabulary=open_vocabulary(byte_bpe))
    assert [each.doc_id for each in occurrences([index], "守夜人")] == [
        each.doc_id for each in occurrences([here.open()], "守夜人")
    ]


def test_the_report_counts_what_was_written(tmp_path: Path, byte_bpe: Path) -> None:
    decoded = write_shards(tmp_path / "shards", TEXTS, byte_bpe)
    (tmp_path / "index").mkdir()
    calls: list[tuple[int, int, int]] = []
    report = build_text_index(
        tmp_path / "shards",
        byte_bpe,
        settings=TextIndexSettings(part_bytes=400),
        out=tmp_path / "index",
        progress=lambda *numbers: calls.append(numbers),
    )
    texts = [*decoded["train"], *decoded["validation"]]
    total = sum(len(text.encode()) + 1 for text in texts)
    assert report.counts == {
        "parts": len(list((tmp_path / "index").glob("text-*.bin"))),
        "documents": len(texts),
        "text_bytes": total,
        "suffixes": sum(map(len, texts)),
    }
    assert calls[-1] == (total, total, len(texts))


def test_another_vocabulary_is_refused(tmp_path: Path, byte_bpe: Path, word: Path) -> None:
    write_shards(tmp_path / "shards", ENGLISH, byte_bpe)
    (tmp_path / "index").mkdir()
    with pytest.raises(ShardError, match="was encoded with vocabulary"):
        build_text_index(tmp_path / "shards", word, settings=TextIndexSettings(), out=tmp_path / "index")


@pytest.mark.parametrize("before", [[], ["a"]])  # the second one has no continued word
def test_tokens_that_do_not_decode_one_by_one_are_refused(
    tmp_path: Path, pieces_of_words: Path, before: list[str]
) -> None:
    write_shards(tmp_path / "shards", [*before, *ENGLISH], pieces_of_words)
    (tmp_path / "index").mkdir()
    with pytest.raises(TextIndexError, match="cannot be indexed"):
        build_text_index(tmp_path / "shards", pieces_of_words, settings=TextIndexSettings(), out=tmp_path / "index")


def test_damaged_shards_are_an_error(tmp_path: Path, byte_bpe: Path) -> None:
    write_shards(tmp_path / "shards", ENGLISH, byte_bpe)
    (tmp_path / "index").mkdir()
    path = tmp_path / "shards" / "train-00000.bin"
    whole = path.read_bytes()
    for damaged, reason in ((b"\xff\xff" + whole[2:], "not in their vocabulary"), (whole[:-2] + b"\x05\0", "ends of")):
        path.write_bytes(damaged)
        with pytest.raises(TextIndexError, match=reason):
            build_text_index(tmp_path / "shards", byte_bpe, settings=TextIndexSettings(), out=tmp_path / "index")


@pytest.mark.parametrize("values", [{"part_bytes": 0}, {"part_bytes": 1 << 31}, {"workers": -1}, {"part_size": 1}])
def test_wrong_settings_are_named(values: dict[str, int]) -> None:
    with pytest.raises(SettingsError, match=next(iter(values))):
        TextIndexSettings.parse(values, origin="text_index")


@pytest.mark.slow
def test_memory_is_bounded_by_the_part(tmp_path: Path, byte_bpe: Path) -> None:
    """128 MB of text in parts of 4 MiB: five bytes a byte of a part to sort, and four blocks of 8 MiB to cut."""
    vocabulary = open_vocabulary(byte_bpe)
    generator = np.random.default_rng(0)
    shards, index = tmp_path / "shards", tmp_path / "index"
    shards.mkdir()
    index.mkdir()
    words = vocabulary.encode_batch(ENGLISH + CHINESE)
    with ShardWriter(
        shards,
        vocabulary_hash=vocabulary.sha256,
        vocabulary_size=vocabulary.size,
        end_of_document=vocabulary.end_of_document,
        language="en",
        source="house",
        dump="large",
    ) as writer:
        documents: dict[SplitName, int] = {"train": 11_500, "validation": 500}
        for split, number in documents.items():
            for begin in range(0, number, 500):
                texts = [
                    np.concatenate([words[each] for each in generator.integers(0, len(words), 120)]) for _ in range(500)
                ]
                lengths = np.array([text.size for text in texts])
                doc_ids = pa.array([f"{split}-{begin + row}" for row in range(500)])
                writer.add_documents(split, doc_ids, np.concatenate(texts), lengths, lengths)
    small = TextIndexSettings(part_bytes=4 << 20, workers=1)
    report, peak = measured_build(shards, byte_bpe, small, index)
    assert report.counts["text_bytes"] > 100_000_000
    assert peak < 5 * (4 << 20) + 5 * (8 << 20)

    opened = open_text_index(index, shards=open_shards(shards), vocabulary=vocabulary)
    tracemalloc.start()
    counted = count([opened], "e")
    found = occurrences([opened], "e", limit=3, offset=counted.occurrences - 3)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert counted.occurrences > 4_000_000
    assert len(found) == 3
    assert peak < 16 << 20


def measured_build(
    shards: Path, vocabulary: Path, settings: TextIndexSettings, out: Path
) -> tuple[TextIndexReport, int]:
    tracemalloc.start()
    report = build_text_index(shards, vocabulary, settings=settings, out=out)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return report, peak
