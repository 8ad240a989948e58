"""Archives (zip and wheel, tar plain or compressed): their members one after the other, nothing unpacked to disk."""

from __future__ import annotations

import errno
import posixpath
import re
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, cast

from assets.raw_text.compression import DAMAGED, UnpackedStream, check_limits, damaged
from assets.raw_text.errors import RawTextError

_ZIP = re.compile(r"\.(zip|whl)$", re.IGNORECASE)
_TAR = re.compile(r"\.(tar|tgz|tbz2?|txz|tzst|tar\.(gz|bz2|xz|zst))$", re.IGNORECASE)
_TAR_COMPRESSION = {"tgz": ".gz", "tbz": ".bz2", "tbz2": ".bz2", "txz": ".xz", "tzst": ".zst"}
_DRIVE = re.compile(r"[A-Za-z]:")
_LONGEST_LINK = 4096
_LOCAL_MAGIC = b"PK\x03\x04"
_LOCAL_HEADER = struct.Struct("<26xHH")
_UTF8_NAME = 1 << 11
_GAP_BYTES = 1 << 20
# zipfile lets pass that a name is no UTF-8.
_DAMAGED: tuple[type[Exception], ...] = (*DAMAGED, UnicodeDecodeError)


@dataclass(frozen=True)
class Member:
    """A file in an archive; its stream is good until the next member is asked for."""

    path: str
    stream: BinaryIO


def is_archive(name: str) -> bool:
    """Whether the name ends like an archive's."""
    return bool(_ZIP.search(name) or _TAR.search(name))


def strip_archive(name: str) -> str:
    """The name without the archive's ending."""
    return _TAR.sub("", _ZIP.sub("", name))


def printable(name: str) -> str:
    """A file's name in UTF-8, with U+FFFD for bytes of it that are no UTF-8."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def read_members(
    path: Path,
    name: str,
    *,
    where: str,
    wanted: Callable[[str], bool],
    maximum_bytes: int,
    maximum_ratio: float,
) -> Iterator[Member]:
    """The wanted members in the archive's own order.

    Args:
        path: The archive.
        name: Its file name, whose ending says what it is.
        where: Names source and file in errors.
        wanted: Asked once for each member that is a file or a link, with its path.
        maximum_bytes: Most bytes it may unpack to.
        maximum_ratio: Most bytes it may unpack to for each of its own, from 16 MiB on.

    Raises:
        RawTextError: If it is truncated, damaged, encrypted or a bomb, holds a path or a link that leaves it or two
            wanted members of one name, or a wanted member is no file.
    """
    seen: set[str] = set()

    def chosen(member: str, is_file: bool) -> bool:
        if not wanted(member):
            return False
        if not is_file:
            raise RawTextError(
                f"{where}: member '{member}' is a link, a device or a sparse file; name it under 'exclude'"
            )
        if member in seen:
            raise RawTextError(f"{where} holds two members named '{member}'; pack it again, or name it under 'exclude'")
        seen.add(member)
        return True

    with path.open("rb") as file:
        try:
            if _ZIP.search(name):
                yield from _zip_members(file, where, chosen, maximum_bytes, maximum_ratio)
            else:
                ending = "." + name.rpartition(".")[2].lower()
                unpacked = UnpackedStream(
                    file,
                    None if ending == ".tar" else _TAR_COMPRESSION.get(ending[1:], ending),
                    where=where,
                    maximum_bytes=maximum_bytes,
                    maximum_ratio=maximum_ratio,
                )
                yield from _tar_members(unpacked, where, chosen)
        except _DAMAGED as error:
            raise damaged(where, error) from None
        except OSError as error:
            # zipfile seeks to wherever a damaged directory points.
            if error.errno != errno.EINVAL:
                raise
            raise damaged(where, error) from None
        except (NotImplementedError, RuntimeError) as error:
            if isinstance(error, RawTextError):
                raise
            raise RawTextError(f"{where} cannot be unpacked ({error}); pack it again, not encrypted") from None


def _zip_members(
    file: BinaryIO, where: str, chosen: Callable[[str, bool], bool], maximum_bytes: int, maximum_ratio: float
) -> Iterator[Member]:
    with zipfile.ZipFile(file) as archive:
        _check_directory(file, archive)
        members = []
        for info in archive.infolist():
            path = _safe_path(member_name(info), where)
            is_link = stat.S_ISLNK(info.external_attr >> 16)
            if is_link:
                with archive.open(info) as link:
                    _check_link(path, link.read(_LONGEST_LINK).decode("utf-8", "replace"), where)
            if not info.is_dir() and chosen(path, not is_link):
                members.append((path, info))
        # zipfile reads no more of a member than its declared size, so that these sums hold.
        check_limits(
            where,
            sum(info.file_size for _, info in members),
            sum(info.compress_size for _, info in members),
            maximum_bytes=maximum_bytes,
            maximum_ratio=maximum_ratio,
        )
        for path, info in members:
            with archive.open(info) as stream:
                yield Member(path, cast(BinaryIO, stream))


def member_name(info: zipfile.ZipInfo) -> str:
    """The member's name, which some packers write in UTF-8, and Windows in China in GBK, without saying so."""
    if info.flag_bits & _UTF8_NAME or info.filename.isascii():
        return info.filename
    for encoding in ("utf-8", "gb18030"):
        try:
            name = info.filename.encode("cp437").decode(encoding)
        except UnicodeError:
            continue
        # In GB18030 an accent and the letter behind it may be a character; but no name holds frames or other signs.
        if encoding == "utf-8" or not all(character.isascii() or character.isalpha() for character in info.filename):
            return name
    return info.filename


def _check_directory(file: BinaryIO, archive: zipfile.ZipFile) -> None:
    """Compare a zip's directory with what lies in the file: its own check sees only the members that are opened.

    Raises:
        zipfile.BadZipFile: If a member has another name where it lies, is not in the directory or lies inside another.
    """
    reached = 0
    for info in sorted(archive.infolist(), key=lambda info: info.header_offset):
        if info.header_offset < reached:
            raise zipfile.BadZipFile(f"the member '{info.filename}' lies inside another, as in a decompression bomb")
        _check_gap(file, reached, info.header_offset)
        file.seek(info.header_offset)
        header = file.read(_LOCAL_HEADER.size)
        if len(header) < _LOCAL_HEADER.size or not header.startswith(_LOCAL_MAGIC):
            raise zipfile.BadZipFile(f"the directory names a member '{info.filename}' where none begins")
        name_size, extra_size = _LOCAL_HEADER.unpack(header)
        name = file.read(name_size).decode("utf-8" if info.flag_bits & _UTF8_NAME else "cp437", "replace")
        if name != info.orig_filename:
            raise zipfile.BadZipFile(f"the directory calls a member '{info.orig_filename}' that calls itself '{name}'")
        reached = info.header_offset + _LOCAL_HEADER.size + name_size + extra_size + info.compress_size
    _check_gap(file, reached, archive.start_dir)


def _check_gap(file: BinaryIO, start: int, end: int) -> None:
    """Look for members where the directory names none; some bytes are between members that were streamed."""
    file.seek(start)
    block = b""
    while end - start >= _LOCAL_HEADER.size and (data := file.read(min(_GAP_BYTES, end - start))):
        block = block[-len(_LOCAL_MAGIC) + 1 :] + data
        start += len(data)
        if _LOCAL_MAGIC in block:
            raise zipfile.BadZipFile("it holds a member that is not in its directory")


class _StrictTarInfo(tarfile.TarInfo):
    """Refuses what ``tarfile`` silently takes for the end of the archive: a damaged header, or no end mark."""

    @classmethod
    def fromtarfile(cls, tarfile: tarfile.TarFile) -> _StrictTarInfo:
        """Read the next header.

        Raises:
            tarfile.ReadError: If there is neither a header nor the end mark.
        """
        return _read_header(super().fromtarfile, tarfile)  # type: ignore[return-value]


def _read_header(read: Callable[[tarfile.TarFile], tarfile.TarInfo], archive: tarfile.TarFile) -> tarfile.TarInfo:
    try:
        return read(archive)
    except tarfile.HeaderError as error:
        if type(error).__name__ == "EOFHeaderError":
            raise
        raise tarfile.ReadError(f"no end mark: {error}") from None


def _tar_members(unpacked: UnpackedStream, where: str, chosen: Callable[[str, bool], bool]) -> Iterator[Member]:
    with tarfile.open(fileobj=cast("IO[bytes]", unpacked), mode="r|", tarinfo=_StrictTarInfo) as archive:
        for info in archive:
            archive.members.clear()  # type: ignore[attr-defined]  # else a million members stay in memory
            path = _safe_path(info.name, where)
            if info.issym():
                _check_link(path, info.linkname, where)
            elif info.islnk():
                _safe_path(info.linkname, where)
            # A hole in a sparse file unpacks to any size, and neither limit would count it.
            if not info.isdir() and chosen(path, info.isfile() and not info.issparse()):
                stream = archive.extractfile(info)
                assert stream is not None
                yield Member(path, cast(BinaryIO, stream))
        # Zeros follow the end mark, and the compression's checksum. A header of zeros looks like the mark.
        while rest := archive.fileobj.read(1 << 16):
            if rest.strip(b"\0"):
                raise tarfile.ReadError("bytes follow its end mark, as in archives that were joined or are damaged")


def _safe_path(name: str, where: str) -> str:
    """The member's path, printable in UTF-8 and without ``./``; refused if it leads out of the archive."""
    readable = printable(name)
    parts = readable.replace("\\", "/").split("/")
    if readable.startswith(("/", "\\")) or ".." in parts or _DRIVE.match(readable):
        raise RawTextError(
            f"{where}: member '{readable}' would escape the archive's folder; do not trust this archive, pack it again"
        )
    return posixpath.normpath(readable)


def _check_link(path: str, target: str, where: str) -> None:
    joined = posixpath.normpath(posixpath.join(posixpath.dirname(path), target.replace("\\", "/")))
    if joined.startswith(("/", "../")) or joined == ".." or _DRIVE.match(target):
        raise RawTextError(
            f"{where}: link '{path}' leads out of the archive to '{target}'; do not trust this archive, pack it again"
        )
