from __future__ import annotations

import errno
import hashlib
import os
import socket
from pathlib import Path

import pytest

from assets.raw_text.downloads import disk_errors, partial_folder, recall, remember, store, stored
from assets.raw_text.errors import RawTextError


def put(folder: Path, data: bytes, *, name: str = "a.txt", expected: str | None = None) -> Path:
    with partial_folder(folder) as partial:
        (partial / name).write_bytes(data)
        return store(folder, partial / name, expected=expected, where="source 's'")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_lies_under_its_hash(tmp_path: Path) -> None:
    sha256 = hashlib.sha256(b"text").hexdigest()
    path = put(tmp_path / "downloads", b"text", expected=sha256)
    assert path == tmp_path / "downloads" / sha256 / "a.txt"
    assert path.read_bytes() == b"text"
    assert names(tmp_path / "downloads") == [sha256]
    assert stored(tmp_path / "downloads", sha256) == path
    assert stored(tmp_path / "downloads", "0" * 64) is None


def test_another_hash_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RawTextError) as error:
        put(tmp_path, b"text", expected="0" * 64)
    assert str(error.value) == (
        f"source 's' has the wrong sha256: expected {'0' * 64}, found {hashlib.sha256(b'text').hexdigest()}; nothing "
        "of it was opened. If the new file is the one you want, write its sha256 in the catalogue"
    )
    assert names(tmp_path) == []


def test_whoever_stores_the_same_bytes_second_gets_the_first_file(tmp_path: Path) -> None:
    first = put(tmp_path, b"text", name="a.txt")
    assert put(tmp_path, b"text", name="b.txt") == first
    assert names(tmp_path) == [first.parent.name]
    assert names(first.parent) == ["a.txt"]


@pytest.mark.parametrize("damage", [b"texz", b"tex", b""])
def test_a_file_that_was_changed_is_not_trusted_for_its_name(tmp_path: Path, damage: bytes) -> None:
    path = put(tmp_path, b"text")
    remember(tmp_path, "https://example.org/a", path.parent.name)
    path.write_bytes(damage)
    assert recall(tmp_path, "https://example.org/a") is None
    assert names(tmp_path) == ["addresses"]
    assert put(tmp_path, b"text") == path
    assert recall(tmp_path, "https://example.org/a") == path


def test_a_failed_download_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), partial_folder(tmp_path / "downloads") as partial:
        (partial / "a.txt").write_bytes(b"half")
        raise KeyboardInterrupt
    assert names(tmp_path / "downloads") == []


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)
    for process in (child, os.getpid()):
        (tmp_path / f".download.partial-{socket.gethostname()}-{process}-0123abcd").mkdir()
    put(tmp_path, b"text")
    left = [name for name in names(tmp_path) if name.startswith(".")]
    assert left == [f".download.partial-{socket.gethostname()}-{os.getpid()}-0123abcd"]


def test_an_address_is_remembered_with_its_version(tmp_path: Path) -> None:
    path = put(tmp_path, b"text")
    remember(tmp_path, "https://example.org/a\n1", path.parent.name)
    assert recall(tmp_path, "https://example.org/a\n1") == path
    assert recall(tmp_path, "https://example.org/a\n2") is None
    path.unlink()
    assert recall(tmp_path, "https://example.org/a\n1") is None


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_named_with_its_remedy(tmp_path: Path, code: int) -> None:
    with (
        pytest.raises(
            RawTextError,
            match=rf"^source 's': no space left on the disk of {tmp_path} \([\d.,]+ GB free.*CORPUSLINE_HOME",
        ),
        disk_errors(tmp_path, "source 's'"),
    ):
        raise OSError(code, os.strerror(code))


def test_another_error_of_the_disk_stays_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), disk_errors(tmp_path, "source 's'"):
        raise PermissionError(errno.EACCES, "no", "a.txt")
