from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from tests.training.test_shards import END, write
from training.run_settings import RunSettings
from training.settings import SettingsError
from training.shards import RemoteFolder, ShardError, open_shards

DOCUMENTS = [("train", list(range(10 * n + 1, 10 * n + 10))) for n in range(20)] + [("validation", [5, 6])]


@pytest.fixture
def uri(tmp_path: Path) -> str:
    write(tmp_path / "bucket" / "zh", DOCUMENTS, shard_tokens=10)  # type: ignore[arg-type]
    return (tmp_path / "bucket" / "zh").as_uri()


def cached(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*/*"))


def test_it_reads_the_same_within_the_limit(uri: str, tmp_path: Path) -> None:
    here = open_shards(tmp_path / "bucket" / "zh")
    description = (tmp_path / "bucket" / "zh" / "shards.json").stat().st_size
    limit = description + 5 * 20 + 3000
    there = open_shards(RemoteFolder(uri, tmp_path / "cache", limit_bytes=limit))
    assert cached(tmp_path / "cache") == description
    assert there.train.token_count == 200
    for seed in range(20):
        starts = np.random.default_rng(seed).integers(0, 195, 6)
        ours, theirs = np.zeros((6, 5), dtype=np.int32), np.zeros((6, 5), dtype=np.int32)
        here.train.read_windows(starts, 5, ours)
        there.train.read_windows(starts, 5, theirs)
        assert ours.tolist() == theirs.tolist()
        assert cached(tmp_path / "cache") <= limit
    assert list(there.train.iterate())[7].ids.tolist() == [*range(71, 80), END]
    assert there.train.find(f"{7:032x}") == here.train.find(f"{7:032x}")
    there.train.verify()
    assert cached(tmp_path / "cache") <= limit


def test_what_was_not_used_for_longest_goes_first(uri: str, tmp_path: Path) -> None:
    folder = RemoteFolder(uri, tmp_path / "cache", limit_bytes=3 * 20)
    for age, number in enumerate((3, 1, 2)):
        path = folder.fetch(f"train-{number:05d}.bin")
        os.utime(path, ns=(age, age))
    folder.fetch("train-00003.bin")  # used again
    folder.fetch("train-00009.bin")
    names = sorted(path.name for path in folder.local.iterdir())
    assert names == ["train-00002.bin", "train-00003.bin", "train-00009.bin"]


def test_damage_there_is_noticed(uri: str, tmp_path: Path) -> None:
    bucket = tmp_path / "bucket" / "zh"
    there = open_shards(RemoteFolder(uri, tmp_path / "cache", limit_bytes=1 << 20))
    content = bytearray((bucket / "train-00004.bin").read_bytes())
    content[3] ^= 1
    (bucket / "train-00004.bin").write_bytes(bytes(content))
    with pytest.raises(ShardError, match=r"zh/train-00004\.bin is damaged: its bytes do not match its hash"):
        there.train.tokens(45, 3)
    assert not list((tmp_path / "cache").glob("*/*partial*"))
    (bucket / "train-00005.bin").unlink()
    with pytest.raises(ShardError, match=r"zh/train-00005\.bin is missing"):
        there.train.tokens(55, 3)
    with pytest.raises(ShardError, match=r"zh/train-00005\.bin is missing"):
        open_shards(RemoteFolder(uri, tmp_path / "other", limit_bytes=1 << 20))
    (bucket / "shards.json").unlink()
    with pytest.raises(ShardError, match=r"zh/shards\.json is missing"):
        open_shards(RemoteFolder(uri, tmp_path / "cache", limit_bytes=1 << 20))


def test_a_shard_larger_than_the_cache(uri: str, tmp_path: Path) -> None:
    with pytest.raises(ShardError, match=r"'cache_gigabytes' allows 10; raise it, or write smaller shards"):
        RemoteFolder(uri, tmp_path / "cache", limit_bytes=10).fetch("train-00000.bin")


def test_an_unknown_kind_of_storage(tmp_path: Path) -> None:
    with pytest.raises(ShardError, match=r"nowhere://x cannot be opened"):
        RemoteFolder("nowhere://x", tmp_path, limit_bytes=1)


def test_a_global_shuffle_over_object_storage_is_refused() -> None:
    run = {"data": [{"folder": "s3://bucket/zh"}], "vocabulary": "v", "output": "o"}
    with pytest.raises(SettingsError, match=r"'training\.samples\.shuffle_chunk_tokens' = 0 would fetch"):
        RunSettings.parse(run, origin="run")
    RunSettings.parse(run | {"training": {"samples": {"shuffle_chunk_tokens": 1 << 27}}}, origin="run")
