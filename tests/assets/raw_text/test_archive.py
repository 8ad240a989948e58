from __future__ import annotations

import io
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.raw_text.archive import is_archive, read_members, strip_archive
from assets.raw_text.compression import UnpackedStream
from assets.raw_text.errors import RawTextError
from tests.assets.raw_text.samples import ARCHIVES, ENGLISH, compress, entry, pack, pack_tar

MEBIBYTE = 1 << 20
MEMBERS = {"b.txt": b"second\n", "书/a.txt": ENGLISH.encode(), "empty.txt": b""}


def unpacked(
    folder: Path,
    name: str,
    data: bytes,
    *,
    wanted: Callable[[str], bool] = lambda path: True,
    maximum_bytes: int = 1 << 40,
    maximum_ratio: float = 200.0,
) -> list[tuple[str, bytes]]:
    path = folder / "archive"
    path.write_bytes(data)
    found = []
    for member in read_members(
        path,
        name,
        where=f"source 's', file {name}",
        wanted=wanted,
        maximum_bytes=maximum_bytes,
        maximum_ratio=maximum_ratio,
    ):
        stream = UnpackedStream(member.stream, None, where=member.path, maximum_bytes=0, maximum_ratio=1)
        content = b""
        while block := stream.read(1 << 16):
            content += block
        found.append((member.path, content))
    return found


def zipped(information: zipfile.ZipInfo, data: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(information, data)
    return packed.getvalue()


def zip_link(path: str, target: str) -> bytes:
    information = zipfile.ZipInfo(path)
    information.create_system = 3
    information.external_attr = (stat.S_IFLNK | 0o777) << 16
    return zipped(information, target.encode())


@pytest.mark.parametrize(
    ("name", "rest"),
    [("a.zip", "a"), ("b/A.WHL", "b/A"), ("a.tar", "a"), ("a.b.tar.gz", "a.b"), ("a.TGZ", "a"), ("a.tar.zst", "a")],
)
def test_an_archive_is_known_by_its_ending(name: str, rest: str) -> None:
    assert is_archive(name)
    assert strip_archive(name) == rest


@pytest.mark.parametrize("name", ["a.gz", "a.txt", "tar", "a.tar.txt", "a.zip/b", ""])
def test_another_file_is_no_archive(name: str) -> None:
    assert not is_archive(name)
    assert strip_archive(name) == name


@pytest.mark.parametrize("ending", ARCHIVES)
def test_members_come_in_the_archives_own_order(tmp_path: Path, ending: str) -> None:
    data = pack(MEMBERS, ending)
    assert unpacked(tmp_path, "a" + ending, data) == list(MEMBERS.items())
    assert unpacked(tmp_path, "A" + ending.upper(), data, wanted=lambda path: "/" in path) == [
        ("书/a.txt", ENGLISH.encode())
    ]


def zipped_by_name(*names: bytes) -> bytes:
    """A zip of one member for each name, which does not say what its names are in."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for number, name in enumerate(names):
            archive.writestr("n" * (len(name) - 1) + str(number), b"text")
    data = packed.getvalue()
    for number, name in enumerate(names):
        data = data.replace(b"n" * (len(name) - 1) + str(number).encode(), name)
    return data


@pytest.mark.parametrize(
    ("name", "encoding"),
    [
        ("第一章/红楼梦.txt", "gb18030"),
        ("书.txt", "gb18030"),
        ("台灣歷史.txt", "gb18030"),
        ("书/清晨.txt", "utf-8"),
        ("naïve.txt", "utf-8"),
        ("naïve.txt", "cp437"),
        ("Müller/Übung.txt", "cp437"),
    ],
)
def test_names_in_a_zip_that_does_not_say_what_they_are_in(tmp_path: Path, name: str, encoding: str) -> None:
    data = zipped_by_name(name.encode(encoding), b"plain.txt")
    assert unpacked(tmp_path, "a.zip", data) == [(name, b"text"), ("plain.txt", b"text")]
    assert unpacked(tmp_path, "a.zip", data, wanted=lambda path: path == name) == [(name, b"text")]


@pytest.mark.parametrize("ending", [".zip", ".tar"])
def test_folders_are_no_members_and_paths_are_plain(tmp_path: Path, ending: str) -> None:
    asked: list[str] = []

    def wanted(path: str) -> bool:
        asked.append(path)
        return True

    if ending == ".zip":
        data = pack({"./folder/": b"", "./folder//a.txt": b"a", "b\\c.txt": b"b"}, ending)
    else:
        data = pack_tar(
            [(entry("./folder", kind=tarfile.DIRTYPE), b""), (entry("./folder//a.txt", 1), b"a"), (entry("b.txt"), b"")]
        )
    unpacked(tmp_path, "a" + ending, data, wanted=wanted)
    assert asked[0] == "folder/a.txt"
    assert len(asked) == 2


@pytest.mark.parametrize("ending", [".zip", ".tar.gz"])
@pytest.mark.parametrize(
    "path",
    [
        "../a.txt",
        "a/../../b.txt",
        "a/..",
        "..",
        "/etc/a.txt",
        "..\\a.txt",
        "a\\..\\..\\b.txt",
        "C:\\a.txt",
        "c:a.txt",
        "\\\\host\\a.txt",
    ],
)
def test_a_member_that_would_escape_is_refused(tmp_path: Path, ending: str, path: str) -> None:
    data = pack({"good.txt": b"good", path: b"evil"}, ending)
    with pytest.raises(RawTextError) as error:
        unpacked(tmp_path, "a" + ending, data, wanted=lambda path: path == "good.txt")
    assert str(error.value) == (
        f"source 's', file a{ending}: member '{path}' would escape the archive's folder; "
        "do not trust this archive, pack it again"
    )


@pytest.mark.parametrize("path", ["...", "a..b/c.txt", "..a", ":a"])
def test_a_dot_more_is_a_good_name(tmp_path: Path, path: str) -> None:
    for ending in (".zip", ".tar"):
        assert unpacked(tmp_path, "a" + ending, pack({path: b"good"}, ending)) == [(path, b"good")]


@pytest.mark.parametrize("target", ["../../secret", "/etc/passwd", "..\\..\\secret", "C:\\secret", "../.."])
def test_a_link_that_leads_out_is_refused(tmp_path: Path, target: str) -> None:
    link = pack_tar([(entry("folder/link.txt", kind=tarfile.SYMTYPE, link=target), b"")])
    for ending, data in ((".tar", link), (".zip", zip_link("folder/link.txt", target))):
        with pytest.raises(
            RawTextError, match=r"link 'folder/link\.txt' leads out of the archive to '.+'; do not trust"
        ):
            unpacked(tmp_path, "a" + ending, data, wanted=lambda path: False)


@pytest.mark.parametrize("target", ["../secret", "/etc/passwd"])
def test_a_hard_link_that_leads_out_is_refused(tmp_path: Path, target: str) -> None:
    data = pack_tar([(entry("link.txt", kind=tarfile.LNKTYPE, link=target), b"")])
    with pytest.raises(RawTextError, match="would escape"):
        unpacked(tmp_path, "a.tar", data)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_what_is_no_file_can_only_be_left_out(tmp_path: Path, kind: bytes) -> None:
    # A hard link's target is a path in the archive, a symbolic link's a path from where it lies.
    target = "a.txt" if kind == tarfile.LNKTYPE else "../a.txt"
    data = pack_tar([(entry("a.txt", 1), b"a"), (entry("folder/b.txt", kind=kind, link=target), b"")])
    with pytest.raises(
        RawTextError, match=r"member 'folder/b\.txt' is a link, a device or a sparse file; name it under 'exclude'"
    ):
        unpacked(tmp_path, "a.tar", data)
    assert unpacked(tmp_path, "a.tar", data, wanted=lambda path: path == "a.txt") == [("a.txt", b"a")]


def test_a_link_in_a_zip_can_only_be_left_out(tmp_path: Path) -> None:
    data = zip_link("folder/b.txt", "../a.txt")
    with pytest.raises(RawTextError, match=r"member 'folder/b\.txt' is a link, a device"):
        unpacked(tmp_path, "a.zip", data)
    assert unpacked(tmp_path, "a.zip", data, wanted=lambda path: False) == []


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name_are_refused(tmp_path: Path) -> None:
    twice = pack_tar([(entry("a.txt", 1), b"a"), (entry("./a.txt", 1), b"b")])
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.txt", "a")
        archive.writestr("a.txt", "b")
    for ending, data in ((".tar", twice), (".zip", packed.getvalue())):
        with pytest.raises(RawTextError, match=r"holds two members named 'a\.txt'; pack it again, or name it under"):
            unpacked(tmp_path, "a" + ending, data)
        assert unpacked(tmp_path, "a" + ending, data, wanted=lambda path: False) == []


@pytest.mark.parametrize("ending", ARCHIVES)
def test_a_cut_archive_is_refused(tmp_path: Path, ending: str) -> None:
    data = pack({"a.txt": bytes(range(256)) * 40, "b.txt": b"b" * 3000}, ending)
    # Behind the end mark of a plain tar there is nothing but padding.
    end = 512 + 10_240 + 512 + 3072 if ending == ".tar" else len(data)
    for length in [*range(0, end, max(1, end // 40)), end - 1]:
        with pytest.raises(RawTextError, match=r"truncated or damaged \(.+\); fetch or pack it again"):
            unpacked(tmp_path, "a" + ending, data[:length])


@pytest.mark.parametrize("ending", ARCHIVES)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_damaged_archive_never_gives_another_text(
    tmp_path_factory: pytest.TempPathFactory, ending: str, data: st.DataObject
) -> None:
    packed = bytearray(pack(MEMBERS, ending))
    position = data.draw(st.integers(0, len(packed) - 1))
    packed[position] ^= data.draw(st.integers(1, 255))
    if ending == ".tar" and not position < 512:
        return  # a plain tar has no checksum of its members
    try:
        found = unpacked(tmp_path_factory.mktemp("archive"), "a" + ending, bytes(packed))
    except RawTextError:
        return
    assert [content for _, content in found] == list(MEMBERS.values())


def lengthen_comment(data: bytes) -> bytes:
    """A zip's directory whose first entry has a comment as long as the second entry."""
    first = data.index(b"PK\x01\x02")
    second = data.index(b"PK\x01\x02", first + 4)
    third = data.index(b"PK\x01\x02", second + 4)
    return data[: first + 32] + struct.pack("<H", third - second) + data[first + 34 :]


def rename_entry(data: bytes) -> bytes:
    place = data.rindex(b"b.txt")
    return data[:place] + b"b.jpg" + data[place + 5 :]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lengthen_comment, "it holds a member that is not in its directory"),
        (rename_entry, "the directory calls a member 'b.jpg' that calls itself 'b.txt'"),
    ],
)
def test_a_member_that_vanished_from_a_zips_directory(
    tmp_path: Path, damage: Callable[[bytes], bytes], reason: str
) -> None:
    data = damage(pack({"a.txt": b"a" * 100, "b.txt": b"b" * 100, "c.txt": b"c"}, ".zip"))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.read("a.txt") == b"a" * 100
        assert "b.txt" not in archive.namelist()
    with pytest.raises(RawTextError, match=rf"file a\.zip is truncated or damaged \({reason}\); fetch or pack it"):
        unpacked(tmp_path, "a.zip", data, wanted=lambda path: path.endswith(".txt"))


def test_a_zip_inside_a_zip_and_one_that_was_streamed_are_whole(tmp_path: Path) -> None:
    class Pipe(io.RawIOBase):
        """Cannot seek, so that sizes are written behind the members."""

        def __init__(self) -> None:
            self.data = bytearray()

        def writable(self) -> bool:
            return True

        def write(self, data: bytes) -> int:  # type: ignore[override]
            self.data += data
            return len(data)

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w") as archive:  # type: ignore[arg-type]
        archive.writestr("inner.zip", pack(MEMBERS, ".zip"))
        archive.writestr("书.txt", "好")
    assert unpacked(tmp_path, "a.zip", bytes(pipe.data), wanted=lambda path: path == "书.txt") == [
        ("书.txt", "好".encode())
    ]


@pytest.mark.parametrize("ending", ARCHIVES)
def test_another_kind_of_file_is_refused(tmp_path: Path, ending: str) -> None:
    with pytest.raises(RawTextError, match="truncated or damaged"):
        unpacked(tmp_path, "a" + ending, ENGLISH.encode() * 20)


def test_an_encrypted_member_is_refused(tmp_path: Path) -> None:
    data = bytearray(pack({"a.txt": b"secret"}, ".zip"))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + offset] |= 1
    with pytest.raises(RawTextError, match=r"cannot be unpacked \(.*encrypted.*\); pack it again, not encrypted"):
        unpacked(tmp_path, "a.zip", bytes(data))


def test_an_unknown_compression_is_refused(tmp_path: Path) -> None:
    data = bytearray(pack({"a.txt": b"text"}, ".zip"))
    for signature, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        struct.pack_into("<H", data, data.index(signature) + offset, 97)
    with pytest.raises(RawTextError, match=r"cannot be unpacked \(.*compression.*\); pack it again"):
        unpacked(tmp_path, "a.zip", bytes(data))


@pytest.mark.parametrize("ending", [".zip", ".tar.gz", ".tar.zst"])
def test_a_bomb_is_refused(tmp_path: Path, ending: str) -> None:
    data = pack({"a.txt": bytes(10 * MEBIBYTE), "b.txt": bytes(10 * MEBIBYTE)}, ending)
    with pytest.raises(RawTextError, match=r"file a\..*more than 200 times its size.*raise maximum_compression_ratio"):
        unpacked(tmp_path, "a" + ending, data)
    assert len(unpacked(tmp_path, "a" + ending, data, maximum_ratio=1e6)) == 2


@pytest.mark.parametrize("ending", [".zip", ".tar.gz", ".tar.zst"])
def test_more_than_the_allowed_bytes_are_refused(tmp_path: Path, ending: str) -> None:
    data = pack({"a.txt": bytes(600), "b.txt": bytes(600)}, ending)
    with pytest.raises(RawTextError, match=r"more than 1,000 bytes; if you trust it, raise maximum_unpacked_bytes"):
        unpacked(tmp_path, "a" + ending, data, maximum_bytes=1000)


def test_a_zip_is_no_bomb_by_what_is_left_out(tmp_path: Path) -> None:
    data = pack({"a.txt": bytes(20 * MEBIBYTE), "b.txt": b"b"}, ".zip")
    assert unpacked(tmp_path, "a.zip", data, wanted=lambda path: path == "b.txt") == [("b.txt", b"b")]


def sparse_tar(size: int) -> bytes:
    """An old GNU sparse member: 512 bytes of text, and a hole up to ``size``."""
    header = bytearray(512)

    def put(offset: int, value: bytes) -> None:
        header[offset : offset + len(value)] = value

    put(0, b"a.txt")
    for offset, number in ((124, 512), (386, 0), (398, 512), (410, size), (422, 0), (483, size)):
        put(offset, b"%011o\0" % number)
    put(148, b" " * 8)
    put(156, tarfile.GNUTYPE_SPARSE)
    put(257, b"ustar  \0")
    put(148, b"%06o\0 " % sum(header))
    return bytes(header) + b"t" * 512 + bytes(1024)


def test_a_hole_in_a_sparse_file_is_no_way_around_the_limits(tmp_path: Path) -> None:
    with pytest.raises(
        RawTextError, match=r"member 'a\.txt' is a link, a device or a sparse file; name it under 'exclude'"
    ):
        unpacked(tmp_path, "a.tar", sparse_tar(64 * MEBIBYTE))


@pytest.mark.parametrize("ending", [".tar", ".tar.gz"])
def test_members_behind_the_end_mark_of_a_tar_are_not_left_out(tmp_path: Path, ending: str) -> None:
    one, two = (pack_tar([(entry(path, 1), b"a")]) for path in ("a.txt", "b.txt"))
    overwritten = bytearray(pack_tar([(entry(path, 20_000), b"a" * 20_000) for path in ("a.txt", "b.txt")]))
    overwritten[512 + 20_480 : 1024 + 20_480] = bytes(512)
    for data in (one + two, bytes(overwritten)):
        with pytest.raises(RawTextError, match="bytes follow its end mark, as in archives that were joined"):
            unpacked(tmp_path, "a" + ending, compress(data, ending))
    assert unpacked(tmp_path, "a" + ending, compress(one + bytes(50_000), ending)) == [("a.txt", b"a")]


def test_names_that_are_no_utf8_are_still_printable(tmp_path: Path) -> None:
    information = entry("caf\udce9.txt", 1)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as archive:
        archive.addfile(information, io.BytesIO(b"a"))
    assert unpacked(tmp_path, "a.tar", packed.getvalue()) == [("caf�.txt", b"a")]


def test_chinese_names(tmp_path: Path) -> None:
    for ending in (".zip", ".tar"):
        assert unpacked(tmp_path, "a" + ending, pack({"书/第一章.txt": b"a"}, ending)) == [("书/第一章.txt", b"a")]
