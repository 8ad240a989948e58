"""Compressed streams (gz, bz2, xz, zst): opened by their ending, bounded in what they may unpack to."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from typing import IO, BinaryIO, Protocol, cast

import zstandard

from assets.raw_text.errors import DamagedError, RawTextError

DAMAGED: tuple[type[Exception], ...] = (
    EOFError,
    gzip.BadGzipFile,
    zlib.error,
    lzma.LZMAError,
    zstandard.ZstdError,
    zipfile.BadZipFile,
    tarfile.TarError,
)
"""What is raised on truncated or damaged input, by an archive's member only when it is read.

bz2 raises a plain OSError without errno beside these.
"""

# Below this the ratio says nothing: a page of zeros compresses a thousandfold and harms nobody.
_RATIO_FREE_BYTES = 16 << 20
_READ_BYTES = 1 << 18
_PACKED_BYTES = 1 << 12
# As far back as zstd --long=31 looks, its most.
_LONGEST_WINDOW = 1 << 31


class ByteStream(Protocol):
    """A binary file that is read from beginning to end."""

    def read(self, size: int = -1, /) -> bytes:
        """At most ``size`` bytes; none at the end."""


class Frame(Protocol):
    """A part of a compressed file that is unpacked by itself, as ``bz2``, ``lzma`` and ``zstandard`` have it."""

    @property
    def eof(self) -> bool:
        """Whether its end was reached."""

    @property
    def unused_data(self) -> bytes:
        """What was given behind its end."""

    def decompress(self, data: bytes, /) -> bytes:
        """What these bytes, which follow those given before, unpack to."""


def zstandard_frame() -> Frame:
    """Begin a frame of Zstandard."""
    return cast(Frame, zstandard.ZstdDecompressor(max_window_size=_LONGEST_WINDOW).decompressobj())


class FrameStream(io.RawIOBase):
    """Decompresses frames one after the other, and notices when one is cut off or damaged.

    ``bz2`` and ``lzma`` would take a damaged beginning of a second one, of which parallel packers write thousands, for
    the end of the file.
    """

    def __init__(self, packed: BinaryIO, begin: Callable[[], Frame], *, padded: bool = False) -> None:
        """Wrap an open file.

        Args:
            packed: The file as it lies on disk.
            begin: Begins a frame.
            padded: Zero bytes may stand between frames and behind the last one.
        """
        self._packed = packed
        self._begin = begin
        self._padded = padded
        self._frame = begin()
        self._started = False
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        """True."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Fill the buffer as far as the bytes at hand go.

        Raises:
            EOFError: If the file ends inside a frame.
            OSError, lzma.LZMAError, zstandard.ZstdError: If a frame is damaged.
        """
        while not self._ready:
            packed = self._next_bytes()
            if not packed:
                if self._started:
                    raise EOFError("the file ends inside a compressed frame")
                return 0
            self._started = True
            self._ready = memoryview(self._frame.decompress(packed))
        size = min(len(buffer), len(self._ready))
        memoryview(buffer)[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size

    def _next_bytes(self) -> bytes:
        """Bytes for the frame, which is a new one if the last one's end was reached; none at the end of the file."""
        between = self._frame.eof
        packed = self._frame.unused_data if between else b""
        if between:
            self._frame, self._started = self._begin(), False
        # The decompressor hands out all that its input unpacks to: small input keeps a bomb's first bite small.
        packed = packed or self._packed.read(_PACKED_BYTES)
        if not (between and self._padded):
            return packed
        while packed and not packed.strip(b"\0"):
            packed = self._packed.read(_PACKED_BYTES)
        return packed.lstrip(b"\0")


_OPENERS: dict[str, Callable[[BinaryIO], IO[bytes]]] = {
    ".gz": lambda packed: cast("IO[bytes]", gzip.GzipFile(fileobj=packed, mode="rb")),
    ".bz2": lambda packed: _buffered(FrameStream(packed, bz2.BZ2Decompressor)),
    ".xz": lambda packed: _buffered(FrameStream(packed, lzma.LZMADecompressor, padded=True)),
    ".zst": lambda packed: _buffered(FrameStream(packed, zstandard_frame)),
}


def _buffered(stream: FrameStream) -> IO[bytes]:
    return io.BufferedReader(stream, _READ_BYTES)


def compression(name: str) -> str | None:
    """The ending of a known compression (``.gz``, ``.bz2``, ``.xz``, ``.zst``) that the name has, in lower case."""
    ending = "." + name.rpartition(".")[2].lower()
    return ending if ending in _OPENERS else None


def strip_compression(name: str) -> str:
    """The name without the ending of its compression."""
    ending = compression(name)
    return name[: -len(ending)] if ending else name


class UnpackedStream:
    """What a compressed file unpacks to, with a limit on its size and on its ratio to what was read of the file."""

    def __init__(
        self, packed: BinaryIO, ending: str | None, *, where: str, maximum_bytes: int, maximum_ratio: float
    ) -> None:
        """Wrap an open file.

        Args:
            packed: The file as it lies on disk.
            ending: Its compression, as ``compression`` names it; None: the bytes are taken as they are, without limit.
            where: Names source and file in errors.
            maximum_bytes: Most bytes to unpack.
            maximum_ratio: Most bytes to unpack for each byte of the file, from 16 MiB on.
        """
        self._packed = packed
        self._stream = _OPENERS[ending](packed) if ending else packed
        self._limited = ending is not None
        self._where = where
        self._maximum_bytes = maximum_bytes
        self._maximum_ratio = maximum_ratio
        self.unpacked = 0

    def read(self, size: int = -1, /) -> bytes:
        """At most ``size`` bytes; fewer only at the end.

        Raises:
            DamagedError: If the file is truncated or damaged.
            RawTextError: If it unpacks to more than the limits allow.
        """
        return self._read(self._stream.read, size)

    def read1(self, size: int = -1, /) -> bytes:
        """As ``read``, but what is unpacked at once: so all that lies before a damaged place can be had."""
        return self._read(getattr(self._stream, "read1", self._stream.read), size)

    def _read(self, read: Callable[[int], bytes], size: int) -> bytes:
        try:
            data = read(size if size >= 0 else _READ_BYTES)
        except DAMAGED as error:
            raise damaged(self._where, error) from None
        except OSError as error:
            if error.errno is not None:
                raise
            raise damaged(self._where, error) from None
        self.unpacked += len(data)
        if self._limited:
            check_limits(
                self._where,
                self.unpacked,
                self._packed.tell(),
                maximum_bytes=self._maximum_bytes,
                maximum_ratio=self._maximum_ratio,
            )
        return data


def damaged(where: str, error: Exception) -> DamagedError:
    """The error for a compressed file that cannot be unpacked to its end."""
    return DamagedError(f"{where} is truncated or damaged ({error}); fetch or pack it again")


def check_limits(where: str, unpacked: int, packed: int, *, maximum_bytes: int, maximum_ratio: float) -> None:
    """Refuse a decompression bomb.

    Raises:
        RawTextError: If ``unpacked`` bytes are more than ``maximum_bytes``, or more than 16 MiB and more than
            ``maximum_ratio`` times ``packed`` bytes.
    """
    if unpacked > maximum_bytes:
        raise RawTextError(
            f"{where} unpacks to more than {maximum_bytes:,} bytes; if you trust it, raise maximum_unpacked_bytes"
        )
    if unpacked > _RATIO_FREE_BYTES and unpacked > maximum_ratio * max(packed, 1):
        raise RawTextError(
            f"{where} unpacks to more than {maximum_ratio:g} times its size, as a decompression bomb does; "
            "if you trust it, raise maximum_compression_ratio"
        )
