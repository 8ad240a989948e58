from __future__ import annotations

import gzip
import hashlib
import socket
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from assets.raw_text.errors import RawTextError
from assets.raw_text.remote import RemoteFile, fetch_remote, list_remote

WHERE = "source 's'"


class RememberingFileSystem(MemoryFileSystem):  # type: ignore[misc]
    """Keeps what it listed, as the file systems of object stores do."""

    protocol = "remembering"

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return MemoryFileSystem._strip_protocol(path.replace("remembering://", "memory://"))

    def ls(self, path: str, detail: bool = True, **options: Any) -> Any:
        if path not in self.dircache:
            self.dircache[path] = super().ls(path, detail=True, **options)
        listed = self.dircache[path]
        return listed if detail else [entry["name"] for entry in listed]

    def info(self, path: str, **options: Any) -> Any:
        path = self._strip_protocol(path)
        for entry in self.dircache.get(self._parent(path), []):
            if entry["name"] == path:
                return entry
        return super().info(path, **options)

    def invalidate_cache(self, path: str | None = None) -> None:
        self.dircache.clear()


@pytest.fixture
def memory() -> Any:
    """fsspec's file system in memory, empty."""
    filesystem = fsspec.filesystem("memory")
    filesystem.store.clear()
    filesystem.pseudo_dirs[:] = [""]
    yield filesystem
    filesystem.store.clear()
    filesystem.pseudo_dirs[:] = [""]


def fetch(uri: str, folder: Path, *, sha256: str | None = None) -> Path:
    (file,) = list_remote(uri, where=WHERE)
    return fetch_remote(file, uri=uri, sha256=sha256, folder=folder, where=WHERE)


def names(files: list[RemoteFile]) -> list[tuple[str, bool]]:
    return [(file.name, file.listed) for file in files]


def test_a_page_is_fetched_and_kept(web: Any, tmp_path: Path) -> None:
    uri = web.page("/texts/a%20b.txt", b"text", ETag='"1"')
    path = fetch(uri, tmp_path)
    assert path == tmp_path / hashlib.sha256(b"text").hexdigest() / "a b.txt"
    assert path.read_bytes() == b"text"
    gets = web.requests.count("GET /texts/a%20b.txt")
    assert fetch(uri, tmp_path) == path
    assert web.requests.count("GET /texts/a%20b.txt") == gets


def test_a_page_that_changed_is_fetched_again(web: Any, tmp_path: Path) -> None:
    uri = web.page("/a.txt", b"old", ETag='"1"')
    (old,) = list_remote(uri, where=WHERE)
    fetch(uri, tmp_path)
    web.page("/a.txt", b"new", ETag='"2"')
    (new,) = list_remote(uri, where=WHERE)
    assert old.version != new.version
    assert fetch(uri, tmp_path).read_bytes() == b"new"


def test_a_server_that_names_no_version(web: Any, tmp_path: Path) -> None:
    uri = web.page("/a.txt", b"old")
    (file,) = list_remote(uri, where=WHERE)
    assert (file.version, file.size) == (None, 3)
    assert fetch(uri, tmp_path).read_bytes() == b"old"
    web.page("/a.txt", b"new")
    assert fetch(uri, tmp_path).read_bytes() == b"new"


def test_a_query_is_no_glob(web: Any) -> None:
    uri = web.page("/download?file=a.txt", b"text")
    assert names(list_remote(uri, where=WHERE)) == [("download", False)]
    assert names(list_remote(web.page("/", b"text"), where=WHERE)) == [("index", False)]


def test_a_large_page_comes_whole(web: Any, tmp_path: Path) -> None:
    data = bytes(range(256)) * (12 << 12)
    assert fetch(web.page("/a.bin", data), tmp_path).read_bytes() == data


@pytest.mark.parametrize(("name", "found"), [("a.jsonl.gz", "packed"), ("a.tar.gz", "packed"), ("a.jsonl", "plain")])
def test_a_packed_file_comes_as_it_is_stored_though_the_server_says_it_may_be_unpacked(
    web: Any, tmp_path: Path, name: str, found: str
) -> None:
    data = {"plain": b'{"text": "words"}', "packed": gzip.compress(b'{"text": "words"}')}
    uri = web.page(f"/{name}", data["packed"], Content_Encoding="gzip", ETag='"1"')
    assert fetch(uri, tmp_path).read_bytes() == data[found]


@pytest.mark.parametrize("status", [403, 500, 503])
def test_a_server_that_refuses(web: Any, tmp_path: Path, status: int) -> None:
    uri = web.page("/a.txt", b"sorry", status=status)
    with pytest.raises(RawTextError, match=rf"^source 's': {uri} cannot be reached \(.*{status}.*\); check 'uri'"):
        fetch(uri, tmp_path)


def test_a_page_that_is_not_there(web: Any, tmp_path: Path) -> None:
    with pytest.raises(RawTextError, match=rf"^source 's': there is nothing at {web.address}/a\.txt; correct 'uri'"):
        fetch(f"{web.address}/a.txt", tmp_path)


def test_an_address_nobody_answers(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{closed.getsockname()[1]}/a.txt"
    with pytest.raises(
        RawTextError, match=rf"^source 's': {uri} cannot be reached \(.*\); check 'uri' and the network"
    ):
        fetch(uri, tmp_path)


@pytest.mark.parametrize("uri", ["http://127.0.0.1:99999/a.txt", "nothing://a.txt", "http://[::1/a.txt"])
def test_what_is_no_address(tmp_path: Path, uri: str) -> None:
    with pytest.raises(RawTextError, match=r"^source 's': .*(cannot be reached|needs another package)"):
        fetch(uri, tmp_path)


def test_a_broken_connection_leaves_nothing(web: Any, tmp_path: Path) -> None:
    uri = web.page("/a.txt", b"half of the text", Content_Length="1000")
    with pytest.raises(RawTextError, match=rf"^source 's': {uri} cannot be reached"):
        fetch(uri, tmp_path / "downloads")
    assert list((tmp_path / "downloads").iterdir()) == []


def test_the_wrong_hash_leaves_nothing(web: Any, tmp_path: Path) -> None:
    uri = web.page("/a.txt", b"text", ETag='"1"')
    with pytest.raises(
        RawTextError, match=r"^source 's': a\.txt has the wrong sha256: expected 0{64}, found [0-9a-f]{64}"
    ):
        fetch(uri, tmp_path / "downloads", sha256="0" * 64)
    assert list((tmp_path / "downloads").iterdir()) == []


def test_a_disk_that_is_too_small_for_what_the_server_announces(web: Any, small_disk: Path) -> None:
    uri = web.page("/a.txt", bytes(1 << 20))
    with pytest.raises(
        RawTextError, match=r"^source 's': a\.txt has 1,048,576 bytes, and the disk of .* only [\d,]+ free"
    ):
        fetch(uri, small_disk / "downloads")
    assert list((small_disk / "downloads").iterdir()) == []


def test_a_disk_that_fills_up(memory: Any, small_disk: Path) -> None:
    memory.pipe("/a.txt", bytes(1 << 20))
    (file,) = list_remote("memory://a.txt", where=WHERE)
    unannounced = RemoteFile(file.name, file.version, file.listed, None, file.path, file.filesystem)
    with pytest.raises(RawTextError, match=r"^source 's': no space left on the disk of .*CORPUSLINE_HOME"):
        fetch_remote(unannounced, uri="memory://a.txt", sha256=None, folder=small_disk / "downloads", where=WHERE)
    assert list((small_disk / "downloads").iterdir()) == []


def test_folders_and_globs_of_other_protocols(memory: Any, tmp_path: Path) -> None:
    memory.pipe({"/texts/b.txt": b"b", "/texts/x/a.txt": b"a", "/texts/c.md": b"c"})
    assert names(list_remote("memory://texts", where=WHERE)) == [("b.txt", True), ("c.md", True), ("x/a.txt", True)]
    assert names(list_remote("memory://texts/*.txt", where=WHERE)) == [("b.txt", True)]
    assert names(list_remote("memory://texts/**/*.txt", where=WHERE)) == [("b.txt", True), ("x/a.txt", True)]
    assert names(list_remote("memory://texts/x/a.txt", where=WHERE)) == [("a.txt", False)]
    assert list_remote("memory://texts/*.csv", where=WHERE) == []
    assert fetch("memory://texts/x/a.txt", tmp_path).read_bytes() == b"a"
    with pytest.raises(RawTextError, match=r"there is nothing at memory://texts/d\.txt; correct 'uri'"):
        list_remote("memory://texts/d.txt", where=WHERE)


def test_a_chain_of_protocols(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"text")
    assert fetch(f"simplecache::file://{tmp_path}/a.txt", tmp_path / "downloads").read_bytes() == b"text"


def test_a_listing_is_never_an_old_one(memory: Any, tmp_path: Path) -> None:
    fsspec.register_implementation("remembering", RememberingFileSystem, clobber=True)
    memory.pipe("/texts/a.txt", b"old")
    assert len(list_remote("remembering://texts", where=WHERE)) == 1
    memory.pipe({"/texts/a.txt": b"newer", "/texts/b.txt": b"b"})
    files = list_remote("remembering://texts", where=WHERE)
    assert [(file.name, file.size) for file in files] == [("a.txt", 5), ("b.txt", 1)]
