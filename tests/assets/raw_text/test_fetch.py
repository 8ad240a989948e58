from __future__ import annotations

import errno
import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.raw_text.errors import RawTextError
from assets.raw_text.fetch import is_wanted, locate, source_identity
from tests.assets.raw_text.samples import pack

MakeSource = Callable[..., Any]
TEXT_SHA256 = hashlib.sha256(b"text").hexdigest()


def write(folder: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def names(source: Any, folder: Path) -> list[str]:
    return [file.name for file in locate(source, folder=folder, downloads=folder / "downloads")]


def identity(source: Any, folder: Path) -> Any:
    return source_identity(source, folder=folder, downloads=folder / "downloads")


def age(path: Path, seconds: float = 100) -> None:
    """Make a file older than the resolution of its time stamp."""
    os.utime(path, (time.time() - seconds, time.time() - seconds))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(
        tmp_path,
        {
            "texts/b.txt": b"b",
            "texts/a.TXT": b"a",
            "texts/x/c.text.gz": b"",
            "texts/x/d.md": b"d",
            "texts/e.zip": pack({"e.txt": b"e"}, ".zip"),
            "texts/.f.txt": b"f",
            "texts/.git/g.txt": b"g",
            "texts/__MACOSX/h.txt": b"h",
        },
    )
    return tmp_path


@pytest.mark.parametrize(
    ("uri", "more", "expected"),
    [
        ("texts", {}, ["a.TXT", "b.txt", "e.zip", "x/c.text.gz"]),
        ("texts/", {"format": "markdown"}, ["e.zip", "x/d.md"]),
        ("texts", {"include": ["*.md"]}, ["e.zip", "x/d.md"]),
        ("texts", {"include": ["c.text"]}, ["e.zip", "x/c.text.gz"]),
        ("texts", {"exclude": ["x/**", "*.zip"]}, ["a.TXT", "b.txt"]),
        ("texts/b.txt", {}, ["b.txt"]),
        ("texts/x/d.md", {}, ["d.md"]),
        ("texts/b.txt", {"exclude": ["*"]}, ["b.txt"]),
        ("texts/*.*", {}, [".f.txt", "a.TXT", "b.txt", "e.zip"]),
        ("texts/[b-x]*.txt", {}, ["b.txt"]),
        ("texts/**/*.md", {}, ["x/d.md"]),
        ("te*/b.txt", {}, ["texts/b.txt"]),
    ],
)
def test_files_of_a_uri(source: MakeSource, folder: Path, uri: str, more: dict[str, Any], expected: list[str]) -> None:
    assert names(source(uri=uri, **more), folder) == expected
    assert names(source(uri=str(folder / uri), **more), Path("/nowhere")) == expected
    assert names(source(uri="file://" + str(folder / uri), **more), Path("/nowhere")) == expected


def test_a_file_uri_may_hold_escapes(source: MakeSource, tmp_path: Path) -> None:
    write(tmp_path, {"a b/书.txt": b"a"})
    (file,) = locate(source(uri=(tmp_path / "a b" / "书.txt").as_uri()), folder=tmp_path, downloads=tmp_path)
    assert (file.path, file.name, file.listed) == (tmp_path / "a b" / "书.txt", "书.txt", False)


def test_a_name_with_wildcards_is_a_file_if_there_is_one(source: MakeSource, tmp_path: Path) -> None:
    write(tmp_path, {"a[1].txt": b"a", "a1.txt": b"b"})
    assert names(source(uri="a[1].txt"), tmp_path) == ["a[1].txt"]


@pytest.mark.parametrize("uri", ["texts", "texts/**/*.txt", "texts/**", "texts/*/*.txt"])
def test_a_link_to_a_folder_is_followed_once(source: MakeSource, tmp_path: Path, uri: str) -> None:
    write(tmp_path, {"elsewhere/a.txt": b"a", "texts/x/b.txt": b"b"})
    (tmp_path / "texts" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "texts" / "x" / "up").symlink_to(tmp_path / "texts")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "texts")
    assert names(source(uri=uri), tmp_path) == ["linked/a.txt", "x/b.txt"]


@pytest.mark.parametrize(("uri", "unread"), [("texts", ("closed", ".hidden")), ("texts/**/*.txt", ("closed",))])
def test_a_folder_that_may_not_be_read_is_never_passed_over(
    source: MakeSource, tmp_path: Path, uri: str, unread: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, {"texts/a.txt": b"a", "texts/x/closed/b.txt": b"b", "texts/.hidden/c.md": b"c"})
    scan = os.scandir

    def closed(folder: Path) -> Any:
        if Path(folder).name in unread:
            raise PermissionError(errno.EACCES, "Permission denied", str(folder))
        return scan(folder)

    monkeypatch.setattr(os, "scandir", closed)  # root may read everything
    with pytest.raises(RawTextError) as error:
        names(source(uri=uri), tmp_path)
    assert str(error.value) == (
        f"source 'dump': the folder {tmp_path}/texts/x/closed may not be read; give yourself the right to, or name it "
        "under 'exclude': 'x/closed/**'"
    )
    assert names(source(uri=uri, exclude=["x/closed/**"]), tmp_path) == ["a.txt"]


def test_a_glob_below_a_folder_with_brackets(source: MakeSource, tmp_path: Path) -> None:
    write(tmp_path, {"books [old]/a/1.txt": b"a", "books [old]/a/2.md": b"b"})
    assert names(source(uri="a/*.txt"), tmp_path / "books [old]") == ["1.txt"]
    assert names(source(uri="**/*.md"), tmp_path / "books [old]") == ["a/2.md"]


def test_a_glob_may_go_up_and_begin_anywhere(source: MakeSource, tmp_path: Path) -> None:
    write(tmp_path, {"a/1.txt": b"a", "b/c/2.txt": b"b"})
    assert names(source(uri="../*/1.txt"), tmp_path / "b") == ["a/1.txt"]
    assert names(source(uri="a*/../b/**/*.txt"), tmp_path) == ["a/../b/c/2.txt"]


def test_globs_that_match_nothing_show_what_there_is(source: MakeSource, folder: Path) -> None:
    with pytest.raises(RawTextError) as error:
        names(source(uri="texts/x", include=["*.txt"], exclude=["a"]), folder)
    assert str(error.value) == (
        f"source 'dump': {folder}/texts/x: 'include' ['*.txt'] ('exclude' ['a']) match none of: c.text.gz, d.md; "
        "correct 'include'"
    )
    write(folder, {f"many/{number}.csv": b"" for number in range(10)})
    with pytest.raises(RawTextError, match=r"match none of: 0\.csv, .*, 7\.csv and 2 more; correct 'include'"):
        names(source(uri="many"), folder)


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("a.txt", True),
        ("x/A.TXT.GZ", True),
        ("a.md", False),
        (".a.txt", False),
        ("x/.git/a.txt", False),
        ("__MACOSX/a.txt", False),
    ],
)
def test_without_include_the_ending_decides(source: MakeSource, path: str, wanted: bool) -> None:
    assert is_wanted(path, source(), ending_matters=True) is wanted
    assert is_wanted(path, source(), ending_matters=False)
    assert is_wanted(path, source(include=["**"]), ending_matters=True)
    assert not is_wanted(path, source(include=["**"], exclude=["**"]), ending_matters=False)


def test_the_right_sha256_lets_a_file_through(source: MakeSource, tmp_path: Path) -> None:
    write(tmp_path, {"a.txt": b"text"})
    assert names(source(uri="a.txt", sha256=TEXT_SHA256), tmp_path) == ["a.txt"]
    write(tmp_path, {"a.txt": b"other"})
    with pytest.raises(
        RawTextError, match=rf"a\.txt has the wrong sha256: expected {TEXT_SHA256}, found [0-9a-f]{{64}}"
    ):
        names(source(uri="a.txt", sha256=TEXT_SHA256), tmp_path)


@pytest.mark.parametrize("uri", ["texts", "texts/*.txt", "**/a.txt"])
def test_a_sha256_is_for_a_file_that_is_named(source: MakeSource, tmp_path: Path, uri: str) -> None:
    """A folder's only file may have another name tomorrow, and the identity would not say so."""
    write(tmp_path, {"texts/a.txt": b"text"})
    with pytest.raises(
        RawTextError, match="'uri' names a folder or glob; write the file's own path as 'uri', or remove"
    ):
        names(source(uri=uri, sha256=TEXT_SHA256), tmp_path)


def test_the_identity_is_of_names_and_bytes(source: MakeSource, tmp_path: Path) -> None:
    write(tmp_path, {"one/texts/a.txt": b"text", "one/texts/b.txt": b"b", "two/other/a.txt": b"text"})
    write(tmp_path, {"two/other/b.txt": b"b"})
    first = identity(source(uri="texts"), tmp_path / "one")
    assert first == {"files": [["a.txt", TEXT_SHA256], ["b.txt", hashlib.sha256(b"b").hexdigest()]]}
    assert identity(source(uri="other"), tmp_path / "two") == first
    assert identity(source(uri="*/[ab].txt"), tmp_path / "two") != first
    (tmp_path / "two/other/b.txt").rename(tmp_path / "two/other/c.txt")
    assert identity(source(uri="other"), tmp_path / "two") != first


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.dictionaries(st.sampled_from(["a.txt", "b.txt", "x/a.txt"]), st.sampled_from([b"1", b"22"]), min_size=1),
        min_size=2,
        max_size=4,
    )
)
def test_the_identity_changes_exactly_when_a_file_does(
    source: MakeSource, tmp_path_factory: pytest.TempPathFactory, states: list[dict[str, bytes]]
) -> None:
    folder = tmp_path_factory.mktemp("identity")
    found = []
    for state in states:
        for path in [path for path in (folder / "texts").rglob("*") if path.is_file()]:
            path.unlink()
        write(folder / "texts", state)
        found.append(identity(source(uri="texts"), folder))
    for one, first in zip(states, found, strict=True):
        for other, second in zip(states, found, strict=True):
            assert (one == other) == (first == second)


def test_a_file_is_hashed_again_only_if_it_changed(source: MakeSource, tmp_path: Path) -> None:
    entry = source(uri="texts")
    write(tmp_path, {"texts/a.txt": b"text", "texts/b.txt": b"b"})
    age(tmp_path / "texts/a.txt")
    age(tmp_path / "texts/b.txt")
    first = identity(entry, tmp_path)
    notes = list((tmp_path / "downloads" / "hashes").iterdir())
    assert len(notes) == 1
    # A remembered hash is believed: here it is made a wrong one.
    notes[0].write_text(notes[0].read_text().replace(TEXT_SHA256, "f" * 64))
    assert identity(entry, tmp_path)["files"][0] == ["a.txt", "f" * 64]
    age(tmp_path / "texts/a.txt", 50)
    assert identity(entry, tmp_path) == first
    notes[0].write_text("damaged")
    assert identity(entry, tmp_path) == first


def test_a_file_changed_just_now_is_never_believed(source: MakeSource, tmp_path: Path) -> None:
    write(tmp_path, {"a.txt": b"text"})
    status = (tmp_path / "a.txt").stat()
    first = identity(source(uri="a.txt"), tmp_path)
    write(tmp_path, {"a.txt": b"TEXT"})
    os.utime(tmp_path / "a.txt", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert identity(source(uri="a.txt"), tmp_path) != first


def test_a_hash_in_the_catalogue_is_the_identity_with_the_name(source: MakeSource, tmp_path: Path) -> None:
    write(tmp_path, {"a.txt": b"text", "b.txt": b"text"})
    one = identity(source(uri="a.txt", sha256=TEXT_SHA256), tmp_path)
    assert identity(source(uri="https://example.org/x/a.txt?y", sha256=TEXT_SHA256), tmp_path) == one
    assert identity(source(uri="memory://x/a.txt", sha256=TEXT_SHA256), tmp_path) == one
    assert identity(source(uri="simplecache::https://example.org/a.txt", sha256=TEXT_SHA256), tmp_path) == one
    assert identity(source(uri="zip://x/a.txt::https://example.org/b.zip", sha256=TEXT_SHA256), tmp_path) == one
    # Documents hold their file's name, so that another name makes other documents.
    assert identity(source(uri="b.txt", sha256=TEXT_SHA256), tmp_path) != one
    assert identity(source(uri="a.txt", sha256="0" * 64), tmp_path) != one
    package = source(uri="package://corpus==1.0", sha256=TEXT_SHA256)
    assert identity(package, tmp_path) == identity(source(uri="package://corpus==1.1", sha256=TEXT_SHA256), tmp_path)


def test_a_remote_file_with_a_hash_needs_no_network_again(source: MakeSource, web: Any, tmp_path: Path) -> None:
    uri = web.page("/a.txt", b"text")
    entry = source(uri=uri, sha256=TEXT_SHA256)
    assert names(entry, tmp_path) == ["a.txt"]
    web.pages.clear()
    web.requests.clear()
    assert names(entry, tmp_path) == ["a.txt"]
    assert web.requests == []


def test_the_name_is_the_sources_own_whoever_fetched_the_bytes_first(
    source: MakeSource, web: Any, tmp_path: Path
) -> None:
    one, two = web.page("/a.txt", b"text"), web.page("/b%20c.md", b"text")
    for folder, order in ((tmp_path / "here", (one, two)), (tmp_path / "there", (two, one))):
        found = {uri: names(source(uri=uri, sha256=TEXT_SHA256), folder) for uri in order}
        assert found == {one: ["a.txt"], two: ["b c.md"]}


def test_the_identity_of_a_remote_file_is_its_version(source: MakeSource, web: Any, tmp_path: Path) -> None:
    entry = source(uri=web.page("/a.txt", b"text", ETag='"1"'))
    first = identity(entry, tmp_path)
    assert not any(request.startswith("GET") for request in web.requests)
    assert identity(entry, tmp_path) == first
    web.page("/a.txt", b"text", ETag='"2"')
    assert identity(entry, tmp_path) != first


def test_without_a_version_it_is_the_hash(source: MakeSource, web: Any, tmp_path: Path) -> None:
    entry = source(uri=web.page("/a.txt", b"text"))
    assert identity(entry, tmp_path) == {"files": [["a.txt", TEXT_SHA256]]}
    web.page("/a.txt", b"other")
    assert identity(entry, tmp_path)["files"][0][1] == hashlib.sha256(b"other").hexdigest()


def test_a_remote_folder_is_chosen_from_like_one_on_this_machine(source: MakeSource, tmp_path: Path) -> None:
    filesystem = fsspec.filesystem("memory")
    filesystem.pipe({f"/fetched/{name}": b"a" for name in ("a.txt", "x/b.txt", "c.md", "d.zip", ".e.txt")})
    try:
        assert names(source(uri="memory://fetched"), tmp_path) == ["a.txt", "d.zip", "x/b.txt"]
        assert names(source(uri="memory://fetched/*"), tmp_path) == [".e.txt", "a.txt", "c.md", "d.zip"]
        assert names(source(uri="memory://fetched", exclude=["*.zip"], include=["*.md"]), tmp_path) == ["c.md"]
        with pytest.raises(RawTextError, match=r"match none of: \.e\.txt, a\.txt, c\.md, d\.zip, x/b\.txt; correct"):
            names(source(uri="memory://fetched", format="csv", exclude=["*.zip"]), tmp_path)
        with pytest.raises(
            RawTextError, match="'sha256' is for a single file, and 'uri' names a folder or glob; write"
        ):
            names(source(uri="memory://fetched", sha256=TEXT_SHA256), tmp_path)
    finally:
        filesystem.rm("/fetched", recursive=True)


def test_an_unreachable_address_leaves_nothing(source: MakeSource, web: Any, tmp_path: Path) -> None:
    entry = source(uri=web.address + "/a.txt")
    for ask in (names, identity):
        with pytest.raises(RawTextError, match=r"^source 'dump': there is nothing at http://127.*; correct 'uri'"):
            ask(entry, tmp_path)
    assert not (tmp_path / "downloads").exists() or list((tmp_path / "downloads").iterdir()) == []


def test_a_damaged_download_is_fetched_again(source: MakeSource, web: Any, tmp_path: Path) -> None:
    entry = source(uri=web.page("/a.txt", b"text"), sha256=hashlib.sha256(b"text").hexdigest())
    (file,) = locate(entry, folder=tmp_path, downloads=tmp_path / "downloads")
    file.path.write_bytes(b"texx")
    (again,) = locate(entry, folder=tmp_path, downloads=tmp_path / "downloads")
    assert again == file
    assert again.path.read_bytes() == b"text"
    assert web.requests.count("GET /a.txt") == 2
