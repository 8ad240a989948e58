"""From a document's place back to the bytes of the source's file, to see what was read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assets.raw_text.archive import is_archive, read_members, strip_archive
from assets.raw_text.catalogue import Source
from assets.raw_text.compression import UnpackedStream, compression, strip_compression
from assets.raw_text.errors import RawTextError
from assets.raw_text.fetch import locate

_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class RawBytes:
    """Bytes of a source's file.

    Attributes:
        file: The file on this machine: the source's own, or the archive that holds it.
        content: The bytes from ``byte_start`` to ``byte_end`` of the file, decompressed.
    """

    file: Path
    content: bytes


def raw_bytes(source: Source, *, path: str, byte_start: int, byte_end: int, folder: Path, downloads: Path) -> RawBytes:
    """Read the bytes of a document again.

    Args:
        source: Its entry in the catalogue; a format whose places are bytes (``assets.raw_text.documents``).
        path: The document's ``path``.
        byte_start, byte_end: Its place.
        folder: The catalogue's folder.
        downloads: Folder of fetched files.

    Raises:
        RawTextError: If the source has no such file any more, or the file is shorter.
    """
    limits: dict[str, Any] = {
        "maximum_bytes": source.maximum_unpacked_bytes,
        "maximum_ratio": source.maximum_compression_ratio,
    }
    where = f"source '{source.name}', file {path}"
    for file in locate(source, folder=folder, downloads=downloads):
        if not is_archive(file.name):
            if strip_compression(file.name) == path:
                with file.path.open("rb") as stream:
                    unpacked = UnpackedStream(stream, compression(file.name), where=where, **limits)
                    return RawBytes(file.path, _range(unpacked, byte_start, byte_end, where))
            continue
        prefix = strip_archive(file.name) + "/" if file.listed else ""
        if not path.startswith(prefix):
            continue
        inner = path.removeprefix(prefix)
        for member in read_members(
            file.path,
            file.name,
            where=where,
            wanted=lambda name, inner=inner: strip_compression(name) == inner,  # type: ignore[misc]
            **limits,
        ):
            unpacked = UnpackedStream(member.stream, compression(member.path), where=where, **limits)
            return RawBytes(file.path, _range(unpacked, byte_start, byte_end, where))
    raise RawTextError(f"{where} is not there any more: the source was changed after it was read")


def _range(stream: UnpackedStream, start: int, end: int, where: str) -> bytes:
    skipped = 0
    while skipped < start and (block := stream.read(min(_BLOCK_BYTES, start - skipped))):
        skipped += len(block)
    parts = []
    left = end - start
    while left and (block := stream.read(min(_BLOCK_BYTES, left))):
        parts.append(block)
        left -= len(block)
    if left:
        raise RawTextError(f"{where} ends before byte {end}: the source was changed after it was read")
    return b"".join(parts)
