"""HTTP responses as a crawler stored them: header, and body without its transfer and content encodings (RFC 9112)."""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import zstandard
from fastwarc.stream_io import BrotliReader

from assets.raw_text.compression import FrameStream, zstandard_frame

_STATUS = re.compile(rb"HTTP/\d(?:\.\d)? +(\d{3})\b")
_HEADER_END = re.compile(rb"\r?\n\r?\n")
_CHARSET = re.compile(r"charset\s*=\s*[\"']?\s*([\w.:-]+)", re.IGNORECASE)
_CHUNK = re.compile(rb"\s*([0-9a-fA-F]{1,15})[ \t]*(?:;[^\n]*)?\r?\n")
# Servers forget the semicolon, or send the field twice, which crawlers join by a comma: browsers take the last.
_MEDIA_TYPE = re.compile(r"(?:^|,)\s*([^;,\s/]+/[^;,\s]+)")
_GZIP_MAGIC = b"\x1f\x8b"


class ResponseError(ValueError):
    """A response cannot be read; the message says why."""


@dataclass(frozen=True)
class HttpResponse:
    """A response.

    Attributes:
        status: Of its first line.
        headers: Fields by name in lower case; of fields that stand there twice, the last.
        body: As it was sent.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def content_type(self) -> str:
        """Media type in lower case, empty if there is none."""
        return media_type(self.headers.get("content-type", ""))

    @property
    def charset(self) -> str | None:
        """The encoding that the server says the body has."""
        found = _CHARSET.search(self.headers.get("content-type", ""))
        return found[1] if found else None


def media_type(content_type: str) -> str:
    """The media type of a Content-Type field, in lower case and without parameters."""
    found = _MEDIA_TYPE.findall(content_type)
    return (found[-1] if found else content_type.partition(";")[0].strip()).lower()


def parse_response(block: bytes) -> HttpResponse:
    """Split a stored response into header and body.

    Raises:
        ResponseError: If it does not begin with a status line, or its header has no end.
    """
    status = _STATUS.match(block)
    end = _HEADER_END.search(block)
    if not status or not end:
        raise ResponseError("is no HTTP response: " + ("its header has no end" if status else "it has no status line"))
    headers = {}
    for line in block[: end.start()].decode("latin-1").split("\n")[1:]:
        name, colon, value = line.partition(":")
        if colon:
            headers[name.strip().lower()] = value.strip()
    return HttpResponse(int(status[1]), headers, block[end.end() :])


def decoded_body(response: HttpResponse, *, maximum_bytes: int) -> bytes:
    """The body as it was before it was packed for the way.

    Crawlers store bodies packed, or unpacked under the header of the packed one: what does not begin as its encodings
    do is taken as it is.

    Args:
        response: A response.
        maximum_bytes: Most bytes to unpack.

    Raises:
        ResponseError: If it is cut, damaged, in an unknown encoding or unpacks to more.
    """
    body = response.body
    if "chunked" in response.headers.get("transfer-encoding", "").lower():
        body = _unchunked(body)
    for coding in reversed(response.headers.get("content-encoding", "").lower().split(",")):
        coding = coding.strip().removeprefix("x-")
        if coding in ("", "identity", "none") or body.lstrip().startswith(b"<"):
            continue
        if coding not in _DECODERS:
            raise ResponseError(f"its content encoding '{coding[:40]}' is unknown")
        try:
            body = _DECODERS[coding](body, maximum_bytes)
        except (zlib.error, zstandard.ZstdError, EOFError, OSError) as error:
            raise ResponseError(f"its body is no {coding} or is cut or damaged ({error})") from None
        if len(body) > maximum_bytes:
            raise ResponseError(f"its body unpacks to more than {maximum_bytes:,} bytes")
    return body


def _unchunked(body: bytes) -> bytes:
    chunks: list[bytes] = []
    position = 0
    while True:
        size = _CHUNK.match(body, position)
        if not size:
            if not chunks and position == 0:
                return body
            raise ResponseError(f"its chunks are cut or damaged at byte {position} of the body")
        start, length = size.end(), int(size[1], 16)
        if not length:
            return b"".join(chunks)
        if start + length > len(body):
            raise ResponseError(f"its chunks are cut or damaged at byte {position} of the body")
        chunks.append(body[start : start + length])
        position = start + length


def _inflate(body: bytes, maximum_bytes: int, *, wbits: int) -> bytes:
    unpacked = bytearray()
    while body:
        member = zlib.decompressobj(wbits)
        unpacked += member.decompress(body, maximum_bytes + 1 - len(unpacked))
        if len(unpacked) > maximum_bytes:
            break
        if not member.eof:
            raise EOFError("the body ends inside a stream")
        # What stands behind a stream and does not begin another is no part of the page.
        body = member.unused_data if member.unused_data.startswith(_GZIP_MAGIC) else b""
    return bytes(unpacked)


def _gunzip(body: bytes, maximum_bytes: int) -> bytes:
    return _inflate(body, maximum_bytes, wbits=31) if body.startswith(_GZIP_MAGIC) else body


def _deflate(body: bytes, maximum_bytes: int) -> bytes:
    # Servers send both a zlib stream, as the standard says, and a bare one.
    try:
        return _inflate(body, maximum_bytes, wbits=15)
    except zlib.error:
        return _inflate(body, maximum_bytes, wbits=-15)


def _unzstd(body: bytes, maximum_bytes: int) -> bytes:
    return io.BufferedReader(FrameStream(io.BytesIO(body), zstandard_frame)).read(maximum_bytes + 1)


def _unbrotli(body: bytes, maximum_bytes: int) -> bytes:
    return BrotliReader(io.BytesIO(body)).read(maximum_bytes + 1)


_DECODERS: dict[str, Callable[[bytes, int], bytes]] = {
    "gzip": _gunzip,
    "deflate": _deflate,
    "zstd": _unzstd,
    "br": _unbrotli,
}
