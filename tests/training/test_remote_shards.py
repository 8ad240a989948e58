from __future__ import annotations

import os
import re
import shutil
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tests.training.test_shards import END, Documents, write, writer_into
from training.artifact import file_sha256
from training.run_settings import RunSettings
from training.settings import SettingsError
from training.shards import RemoteFolder, ShardError, Split, StorageError, open_shards

DOCUMENTS = [("train", list(range(10 * n + 1, 10 * n + 10))) for n in range(20)] + [("validation", [5, 6])]


@pytest.fixture
def uri(tmp_path: Path) -> str:
    write(tmp_path / "bucket" / "zh", DOCUMENTS, shard_tokens=10)  # type: ignore[arg-type]
    return (tmp_path / "bucket" / "zh").as_uri()


def cached(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*/*"))


def test_it_reads_the_same_within_the_limit(uri: str, tmp_path: Path) -> None:
    here = open_shards(tmp_path / "bucket" / "zh")
    limit = 5 * 20 + 3000
    there = open_shards(RemoteFolder(uri, tmp_path / "cache", limit_bytes=limit))
    assert cached(tmp_path / "cache") == 0
    assert there.train.token_count == 200
    for seed in range(20):
        for start in np.random.default_rng(seed).integers(0, 195, 6).tolist():
            assert here.train.tokens(start, 5).tolist() == there.train.tokens(start, 5).tolist()
        assert cached(tmp_path / "cache") <= limit
    assert list(there.train.iterate())[7].ids.tolist() == [*range(71, 80), END]
    assert there.train.find(f"{7:032x}") == here.train.find(f"{7:032x}")
    there.train.verify()
    assert cached(tmp_path / "cache") <= limit


def test_its_description_is_the_one_that_is_there_now(uri: str, tmp_path: Path) -> None:
    description = tmp_path / "bucket" / "zh" / "shards.json"
    before = open_shards(RemoteFolder(uri, tmp_path / "cache", limit_bytes=1 << 20))
    description.write_text(description.read_text().replace('"dump": "reviews"', '"dump": "new"'))
    after = open_shards(RemoteFolder(uri, tmp_path / "cache", limit_bytes=1 << 20))
    assert (before.dump, after.dump) == ("reviews", "new")
    assert before.sha256 != after.sha256 == file_sha256(description)
    assert open_shards(tmp_path / "bucket" / "zh").sha256 == after.sha256


def test_files_of_what_was_there_before_are_not_used(uri: str, tmp_path: Path) -> None:
    bucket, limit = tmp_path / "bucket" / "zh", 40_000

    def there() -> Split:
        return open_shards(RemoteFolder(uri, tmp_path / "cache", limit_bytes=limit)).train

    assert there().tokens(0, 200).max() == 199
    assert there().spans(0, 200)[19].doc_id == f"{19:032x}"
    shutil.rmtree(bucket)
    others: Documents = [("train", [id + 500 for id in ids]) for _, ids in DOCUMENTS[-2::-1]]
    here = write(bucket, [*others, ("validation", [5, 6])], shard_tokens=10).train
    assert there().tokens(0, 200).tolist() == here.tokens(0, 200).tolist()
    assert there().spans(0, 200) == here.spans(0, 200)
    assert cached(tmp_path / "cache") <= limit, "old files leave it as all do"


def test_the_bytes_are_on_the_disk_before_the_name(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named_at_sync: list[bool] = []
    folder = RemoteFolder(uri, tmp_path / "cache", limit_bytes=1 << 20)

    def sync(_: int) -> None:
        named_at_sync.append((folder.local / "train-00000.bin").exists())

    monkeypatch.setattr("os.fsync", sync)
    folder.fetch("train-00000.bin")
    assert named_at_sync == [False]


def test_many_open_it_at_once(uri: str, tmp_path: Path) -> None:
    """Threads with a folder each share the disk alone, as processes do."""

    def opened(_: int) -> int:
        return open_shards(RemoteFolder(uri, tmp_path / "cache", limit_bytes=1 << 20)).train.token_count

    with ThreadPoolExecutor(4) as threads:
        assert set(threads.map(opened, range(100))) == {200}


def test_what_was_not_used_for_longest_goes_first(uri: str, tmp_path: Path) -> None:
    folder = RemoteFolder(uri, tmp_path / "cache", limit_bytes=3 * 20)
    for age, number in enumerate((3, 1, 2)):
        path = folder.fetch(f"train-{number:05d}.bin")
        os.utime(path, ns=(age, age))
    folder.fetch("train-00003.bin")  # used again
    folder.fetch("train-00009.bin")
    names = sorted(path.name for path in folder.local.iterdir())
    assert names == ["train-00002.bin", "train-00003.bin", "train-00009.bin"]


def test_different_files_at_once_stay_within_the_limit(uri: str, tmp_path: Path) -> None:
    def fetch(number: int) -> None:
        RemoteFolder(uri, tmp_path / "cache", limit_bytes=8 * 20).fetch(f"train-{number % 20:05d}.bin")

    with ThreadPoolExecutor(4) as threads:
        for first in range(0, 100, 4):
            list(threads.map(fetch, range(first, first + 4)))
            assert cached(tmp_path / "cache") <= 8 * 20


class Evicting(RemoteFolder):
    """As if another process removed every file a few times just after it was fetched."""

    def __init__(self, uri: str, cache: Path, *, times: int) -> None:
        super().__init__(uri, cache, limit_bytes=1 << 20)
        self.removed: Counter[str] = Counter()
        self.times = times

    def fetch(self, name: str, *, sha256: str | None = None) -> Path:
        path = super().fetch(name, sha256=sha256)
        if self.removed[name] < self.times:
            self.removed[name] += 1
            path.unlink()
        return path


def test_what_another_process_removes_is_fetched_again(tmp_path: Path) -> None:
    bucket = tmp_path / "bucket"
    with writer_into(bucket) as writer:
        ids, lengths = np.full(70_000, 7), np.array([70_000])
        writer.add_documents("train", pa.array(["long"]), ids, lengths, lengths, np.arange(70_000) < 1)

    def there(times: int = 2) -> Split:
        return open_shards(Evicting(bucket.as_uri(), tmp_path / "cache", times=times)).train

    here = open_shards(bucket).train
    assert there().tokens(0, 9).tolist() == [7] * 9
    assert np.array_equal(there().tokens(0, 70_001), here.tokens(0, 70_001))
    assert there().loss_mask(0, 3).tolist() == [True, False, False]
    assert there().document(0).doc_id == "long"
    assert there().find("long") == here.find("long")
    there().verify()
    with pytest.raises(ShardError, match=r"train-00000\.bin was removed 10 times before .* raise 'cache_gigabytes'"):
        there(times=100).tokens(0, 9)


def mapped_files(folder: Path) -> set[str]:
    lines = Path("/proc/self/maps").read_text().splitlines()
    return {Path(line.split(maxsplit=5)[5]).name for line in lines if str(folder) in line}


@pytest.mark.skipif(not Path("/proc/self/maps").is_file(), reason="Linux shows what is mapped")
def test_what_another_process_removed_is_let_go(uri: str, tmp_path: Path) -> None:
    folder = RemoteFolder(uri, tmp_path / "cache", limit_bytes=1 << 20)
    train = open_shards(folder).train
    for _ in range(2):
        for number in range(4):
            train.tokens(10 * number, 5)
    assert len(mapped_files(tmp_path / "cache")) == 4
    next((tmp_path / "cache").glob("*/train-00001.bin")).unlink()
    train.tokens(0, 5)
    assert mapped_files(tmp_path / "cache") == {"train-00000.bin"}


def test_an_abandoned_download_is_removed(uri: str, tmp_path: Path) -> None:
    folder = RemoteFolder(uri, tmp_path / "cache", limit_bytes=3 * 20)
    old, new = folder.local / ".partial-old", folder.local / ".partial-new"
    for partial in (old, new):
        partial.write_bytes(bytes(20))
    os.utime(old, (0, 0))
    for number in range(3):
        folder.fetch(f"train-{number:05d}.bin")
    assert sorted(path.name for path in folder.local.iterdir()) == [new.name, "train-00001.bin", "train-00002.bin"]


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
    with pytest.raises(ShardError, match=r"zh/train-00005\.bin is missing") as missing:
        there.train.tokens(55, 3)
    assert not isinstance(missing.value, StorageError), "which is worth another try"
    with pytest.raises(ShardError, match=r"zh/train-00005\.bin is missing"):
        open_shards(RemoteFolder(uri, tmp_path / "other", limit_bytes=1 << 20))
    (bucket / "shards.json").unlink()
    with pytest.raises(ShardError, match=r"zh/shards\.json is missing"):
        open_shards(RemoteFolder(uri, tmp_path / "cache", limit_bytes=1 << 20))


class Storage(ThreadingHTTPServer):
    """As much of S3 as is needed to read a file: of a folder, after so many requests that it refuses."""

    def __init__(self, folder: Path, refused: int = 0) -> None:
        super().__init__(("127.0.0.1", 0), Objects)
        self.folder, self.left, self.refused = folder, refused, 0
        self.read: Counter[str] = Counter()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def uri(self) -> str:
        place = f"endpoint_override=127.0.0.1:{self.server_port}"
        return f"s3://key:secret@bucket/zh?{place}&scheme=http&region=here"


class Objects(BaseHTTPRequestHandler):
    server: Storage

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        if self.server.left:
            self.server.left -= 1
            self.server.refused += 1
            self.send_error(403)
            return
        content = (self.server.folder / Path(self.path).name).read_bytes()
        asked = re.match(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        part = content[int(asked[1]) : int(asked[2]) + 1] if asked else content
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(part)))
        if asked:
            self.send_header("Content-Range", f"bytes {asked[1]}-{asked[2]}/{len(content)}")
        self.end_headers()
        if self.command == "GET":
            self.server.read[Path(self.path).name] += 1
            self.wfile.write(part)

    def log_message(self, *_: object) -> None:
        """Nothing."""


def test_a_storage_that_is_away_is_asked_again(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.shards.remote.PAUSES_SECONDS", (0.1, 0.1))
    name, bucket = "train-00004.bin", tmp_path / "bucket" / "zh"
    with Storage(bucket, refused=2) as storage:
        folder = RemoteFolder(storage.uri, tmp_path / "cache", limit_bytes=1 << 20)
        assert folder.fetch(name).read_bytes() == (bucket / name).read_bytes()
        assert storage.refused == 2
        storage.left = 1000
        assert folder.fetch(name).read_bytes() == (bucket / name).read_bytes(), "it is here"
        with pytest.raises(StorageError, match=r"train-00005\.bin cannot be fetched: .*ACCESS_DENIED"):
            folder.fetch("train-00005.bin")
        assert storage.refused == 5
        with pytest.raises(StorageError, match=r"cannot be listed: .*ACCESS_DENIED"):
            folder.sizes()
        storage.shutdown()


def test_what_many_want_at_once_is_fetched_once(uri: str, tmp_path: Path) -> None:
    with Storage(tmp_path / "bucket" / "zh") as storage:
        folders = [RemoteFolder(storage.uri, tmp_path / "cache", limit_bytes=3 * 20) for _ in range(8)]
        kept = [folders[0].fetch(f"train-{number:05d}.bin") for number in range(2)]
        with ThreadPoolExecutor(8) as threads:
            paths = set(threads.map(lambda folder: folder.fetch("train-00005.bin"), folders))
        storage.shutdown()
    assert storage.read["train-00005.bin"] == storage.read["train-00001.bin"]
    assert paths == {folders[0].local / "train-00005.bin"}
    assert all(path.is_file() for path in kept), "there is room for three files"
    assert not list((tmp_path / "cache").glob("*.lock"))


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
