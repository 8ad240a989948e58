from __future__ import annotations

import hashlib
import io
import socket
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from assets.raw_text.errors import RawTextError
from assets.raw_text.fetch import locate
from assets.raw_text.package import fetch_package
from assets.raw_text.reader import read_source

MakeSource = Callable[..., Any]
METADATA = "Metadata-Version: 2.1\nName: tiny-corpus\nVersion: {version}\n"


def wheel(version: str, files: dict[str, str]) -> bytes:
    packed = io.BytesIO()
    information = f"tiny_corpus-{version}.dist-info"
    with zipfile.ZipFile(packed, "w") as archive:
        for path, text in files.items():
            archive.writestr(f"tiny_corpus/{path}", text)
        archive.writestr(f"{information}/METADATA", METADATA.format(version=version))
        archive.writestr(f"{information}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{information}/RECORD", "")
    return packed.getvalue()


def source_archive(version: str, *, mark: Path, unless: str) -> bytes:
    """A source distribution whose build script leaves a mark when it runs, unless for the named purpose."""
    setup = (
        "import pathlib, sys, setuptools\n"
        f"if not ({unless}): pathlib.Path({str(mark)!r}).touch()\n"
        f"setuptools.setup(name='tiny-corpus', version='{version}', packages=[])\n"
    )
    files = {"a.txt": "a", "setup.py": setup, "PKG-INFO": METADATA.format(version=version)}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for path, text in files.items():
            information = tarfile.TarInfo(f"tiny_corpus-{version}/{path}")
            information.size = len(text.encode())
            archive.addfile(information, io.BytesIO(text.encode()))
    return packed.getvalue()


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, bytes], str]:
    """Puts an archive where pip looks for it, in a folder and nowhere else, and returns its hash."""
    folder = tmp_path / "index"
    folder.mkdir()
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CACHE_DIR", str(tmp_path / "cache"))

    def put(name: str, data: bytes) -> str:
        (folder / name).write_bytes(data)
        return hashlib.sha256(data).hexdigest()

    return put


def fetch(folder: Path, sha256: str, version: str = "1.0") -> Path:
    return fetch_package("tiny-corpus", version, sha256, folder=folder / "downloads", where="source 's'")


def test_a_wheel_is_fetched_and_kept_but_not_installed(
    index: Callable[[str, bytes], str], source: MakeSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sha256 = index("tiny_corpus-1.0-py3-none-any.whl", wheel("1.0", {"a.txt": "好\n好的", "b.md": "no"}))
    index("tiny_corpus-2.0-py3-none-any.whl", wheel("2.0", {"a.txt": "newer"}))
    path = fetch(tmp_path, sha256)
    assert path == tmp_path / "downloads" / sha256 / "tiny_corpus-1.0-py3-none-any.whl"
    assert [item.name for item in (tmp_path / "downloads").iterdir()] == [sha256]
    # What was fetched needs neither pip nor an index.
    monkeypatch.setenv("PIP_FIND_LINKS", "/nowhere")
    entry = source(uri="package://tiny-corpus==1.0", sha256=sha256, documents={"by": "line"})
    files = locate(entry, folder=tmp_path, downloads=tmp_path / "downloads")
    assert [(file.path, file.name, file.listed) for file in files] == [(path, path.name, False)]
    (tmp_path / "out").mkdir()
    assert read_source(entry, files, out=tmp_path / "out").documents == 2


def test_a_source_archive_is_not_built(index: Callable[[str, bytes], str], tmp_path: Path) -> None:
    mark = tmp_path / "built"
    sha256 = index(
        "tiny_corpus-1.0.tar.gz", source_archive("1.0", mark=mark, unless="set(sys.argv) & {'egg_info', 'dist_info'}")
    )
    assert fetch(tmp_path, sha256).name == "tiny_corpus-1.0.tar.gz"
    assert not mark.exists()


def test_another_hash_is_refused_before_the_archive_is_opened(
    index: Callable[[str, bytes], str], tmp_path: Path
) -> None:
    mark = tmp_path / "opened"
    found = index("tiny_corpus-1.0.tar.gz", source_archive("1.0", mark=mark, unless="False"))
    with pytest.raises(RawTextError) as error:
        fetch(tmp_path, "0" * 64)
    assert str(error.value) == (
        f"source 's' has the wrong sha256: expected {'0' * 64}, found {found}; nothing of it was opened. "
        "If the new file is the one you want, write its sha256 in the catalogue"
    )
    assert list((tmp_path / "downloads").iterdir()) == []
    assert not mark.exists()
    fetch(tmp_path, found)
    assert mark.exists()


def test_a_version_that_is_not_there(index: Callable[[str, bytes], str], tmp_path: Path) -> None:
    sha256 = index("tiny_corpus-1.0-py3-none-any.whl", wheel("1.0", {"a.txt": "a"}))
    with pytest.raises(
        RawTextError, match=r"^source 's': the configured Python package index has no tiny-corpus==1\.1; "
    ):
        fetch(tmp_path, sha256, "1.1")
    assert list((tmp_path / "downloads").iterdir()) == []


def test_an_index_nobody_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}/simple"
    for name in ("PIP_FIND_LINKS", "PIP_NO_INDEX", "PIP_EXTRA_INDEX_URL", "http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", address)
    monkeypatch.setenv("PIP_RETRIES", "1")
    with pytest.raises(
        RawTextError, match="the Python package index cannot be reached; check the network and `pip config"
    ):
        fetch(tmp_path, "0" * 64)
    assert list((tmp_path / "downloads").iterdir()) == []


def test_an_archive_pip_cannot_read(index: Callable[[str, bytes], str], tmp_path: Path) -> None:
    sha256 = index("tiny_corpus-1.0-py3-none-any.whl", b"no wheel")
    with pytest.raises(RawTextError, match=r"^source 's': pip could not download tiny-corpus==1\.0; it said:\n"):
        fetch(tmp_path, sha256)
    assert list((tmp_path / "downloads").iterdir()) == []
