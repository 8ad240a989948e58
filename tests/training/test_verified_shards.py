from __future__ import annotations

import os
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.training.test_shards import Documents, write
from training.shards import ShardError, Split, open_shards, verify_once

DOCUMENTS: Documents = [("train", [n + 1] * 4) for n in range(6)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "shards", [*DOCUMENTS, ("validation", [5])], shard_tokens=5)
    return tmp_path / "shards"


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each file was verified."""
    counts: Counter[str] = Counter()
    verify = Split.verify_file

    def counted(split: Split, number: int) -> None:
        counts[split.files[number].name] += 1
        time.sleep(0.01)
        verify(split, number)

    monkeypatch.setattr(Split, "verify_file", counted)
    return counts


EACH_ONCE = Counter([*(f"train-{number:05d}.bin" for number in range(6)), "validation-00000.bin"])


def test_a_file_is_read_once_until_it_changes(folder: Path, tmp_path: Path, read: Counter[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    for _ in range(2):
        verify_once(open_shards(folder), tmp_path / "memory")
    assert read == EACH_ONCE
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before, "it may be read-only"
    os.utime(folder / "train-00002.bin", ns=(1, 1))
    os.utime(folder / "train-00004.index.parquet", ns=(1, 1))
    verify_once(open_shards(folder), tmp_path / "memory")
    assert read == EACH_ONCE + Counter(["train-00002.bin", "train-00004.bin"])


def test_other_hashes_are_not_those_that_were_verified(folder: Path, tmp_path: Path, read: Counter[str]) -> None:
    verify_once(open_shards(folder), tmp_path / "memory")
    description = folder / "shards.json"
    expected = open_shards(folder).train.files[3].sha256
    description.write_text(description.read_text().replace(expected, "ab" * 32))
    with pytest.raises(ShardError, match=r"train-00003\.bin is damaged: its bytes do not match the hash"):
        verify_once(open_shards(folder), tmp_path / "memory")


def test_what_is_intact_beside_a_damaged_file_is_remembered(folder: Path, tmp_path: Path, read: Counter[str]) -> None:
    path = folder / "validation-00000.bin"
    content = path.read_bytes()
    path.write_bytes(bytes(len(content)))
    for _ in range(2):
        with pytest.raises(ShardError, match=r"validation-00000\.bin is damaged"):
            verify_once(open_shards(folder), tmp_path / "memory")
    path.write_bytes(content)
    verify_once(open_shards(folder), tmp_path / "memory")
    assert read["validation-00000.bin"] == 3
    assert read["train-00000.bin"] == 1


@pytest.mark.parametrize("content", [b"", b"[", b"7", b"null", b"\xff", b"[[]]"])
def test_a_damaged_memory_counts_as_none(folder: Path, tmp_path: Path, read: Counter[str], content: bytes) -> None:
    verify_once(open_shards(folder), tmp_path / "memory")
    (memory,) = (tmp_path / "memory").iterdir()
    memory.write_bytes(content)
    for _ in range(2):
        verify_once(open_shards(folder), tmp_path / "memory")
    assert read == EACH_ONCE + EACH_ONCE


def test_a_memory_that_cannot_be_written(folder: Path, tmp_path: Path, read: Counter[str]) -> None:
    (tmp_path / "memory").write_text("a file")
    for _ in range(2):
        verify_once(open_shards(folder), tmp_path / "memory")
    assert read == EACH_ONCE + EACH_ONCE


def test_of_many_who_want_it_one_reads(folder: Path, tmp_path: Path, read: Counter[str]) -> None:
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: verify_once(open_shards(folder), tmp_path / "memory"), range(4)))
    assert read == EACH_ONCE


def test_progress_is_told(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("training.shards.verified._TELL_SECONDS", 0.0)
    with caplog.at_level("INFO", "training"):
        verify_once(open_shards(folder), tmp_path / "memory")
    assert caplog.messages[-1] == f"verifying token shards: {folder}, 0 of 0 million tokens"
