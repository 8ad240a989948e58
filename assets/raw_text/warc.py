"""Web archives (WARC, ISO 28500): responses whose pages are extracted, and conversions (WET), which are text already.

A document for each response with a status of 2xx, each resource and each conversion that is HTML or plain text. What is
no text by its kind (requests, pictures, pages that were not found) is counted. Whatever breaks the sequence of records
ends the file with a row; what lies before it is kept.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, cast

from fastwarc.warc import ArchiveIterator, WarcRecord, WarcRecordType

from assets.raw_text.catalogue import Source
from assets.raw_text.compression import UnpackedStream
from assets.raw_text.errors import DamagedError, RawTextError
from assets.raw_text.html import PageError, decode, page_record
from assets.raw_text.http_response import ResponseError, decoded_body, media_type, parse_response
from assets.raw_text.metadata import metadata_json
from assets.raw_text.records import Record

_HTML = ("text/html", "application/xhtml+xml")
_TEXT = ("text/plain",)
_KINDS = 256
_VERSION_BYTES = 16
_CUT_VERSION = re.compile(rb"\r\n\r\n(?:W|WA|WAR|WARC|WARC/[\d.]*\r?)\Z")
_LOST = "; the rest of the file is left out"


def read_warc(stream: UnpackedStream, source: Source, left_out: Counter[str]) -> Iterator[Record]:
    """A record for each document, and for each place where there should be one.

    The range of bytes is the whole WARC record in the unpacked file, with its header and what ends it.

    Args:
        stream: The file, unpacked.
        source: Says how pages become text.
        left_out: Counts records that are no text: by their type, HTTP status or media type.

    Raises:
        RawTextError: If the file unpacks to more than the limits allow.
    """
    counted = _CountedStream(stream)
    records = iter(ArchiveIterator(cast(Any, counted), parse_http=False, stream_detect=False))
    # A record's end is known only with the next one, which is not there if its length is wrong.
    waiting: Record | None = None
    start = found = 0
    while True:
        broken = None
        try:
            record = next(records, None)
        except OSError as error:
            record, broken = None, str(error)
        counted.raise_limits()
        if record is None:
            break
        if waiting:
            yield waiting._replace(byte_end=record.stream_pos)
            waiting = None
        start, found = record.stream_pos, found + 1
        length = record.headers.get("Content-Length") or ""
        if not (length.isascii() and length.isdigit()):
            yield _invalid(start, _because("is no WARC record, or has no valid Content-Length", counted.damage) + _LOST)
            return
        block = _read_block(record, min(int(length), source.maximum_document_bytes + 1))
        size = len(block) + record.reader.consume()
        counted.raise_limits()
        if size < int(length):
            reason = f"the file ends inside a record, of which {size:,} of {int(length):,} bytes are there"
            yield _invalid(start, _because(reason, counted.damage))
            return
        waiting = _document(record, block, size, source, left_out)
    cut = counted.damage or (found and counted.ends_inside_version())
    if broken and not cut:
        # A record with a wrong length may hold too little or too much: it goes, too.
        reason = "no record follows this one: its Content-Length is wrong, or the file is damaged here"
        yield _invalid(start, _because(reason, broken) + _LOST if found else _because("is no WARC file", broken))
        return
    if waiting:
        yield waiting._replace(byte_end=counted.size)
    if cut:
        yield _invalid(counted.size, f"{counted.damage or 'the file ends inside the header of a record'}{_LOST}")


class _CountedStream:
    """What fastwarc reads: counts bytes, and ends where the file is damaged instead of raising through foreign code."""

    def __init__(self, stream: UnpackedStream) -> None:
        self.size = 0
        self.damage: DamagedError | None = None
        self._limit: RawTextError | None = None
        self._last = b""
        self._stream = stream

    def read(self, size: int = -1) -> bytes:
        if self.damage or self._limit:
            return b""
        try:
            data = self._stream.read1(size)
        except DamagedError as error:
            self.damage = error
            return b""
        except RawTextError as error:
            self._limit = error
            return b""
        self.size += len(data)
        self._last = (self._last + data[-_VERSION_BYTES:])[-_VERSION_BYTES:]
        return data

    def tell(self) -> int:
        return self.size

    def ends_inside_version(self) -> bool:
        """Whether what was read ends in the first line of a record that does not begin the file."""
        return bool(_CUT_VERSION.search(self._last))

    def raise_limits(self) -> None:
        if self._limit:
            raise self._limit


def _read_block(record: WarcRecord, size: int) -> bytes:
    """The first bytes of a record's block; fewer than ``size`` if the file ends there."""
    block = b""
    while len(block) < size and (data := record.reader.read(size - len(block))):
        block += data
    return block


def _document(record: WarcRecord, block: bytes, size: int, source: Source, left_out: Counter[str]) -> Record | None:
    kind = record.record_type
    content_type = media_type(record.headers.get("Content-Type") or "")
    metadata: dict[str, Any] = {}
    charset = None
    if kind not in (WarcRecordType.response, WarcRecordType.resource, WarcRecordType.conversion):
        _count(left_out, str(kind))
        return None
    start = record.stream_pos
    response = None
    if kind == WarcRecordType.response and content_type in ("application/http", ""):
        try:
            response = parse_response(block)
        except ResponseError as error:
            return _invalid(start, str(error))
        if not 200 <= response.status < 300:
            _count(left_out, f"status {response.status}")
            return None
        metadata["http_status"] = response.status
        content_type, charset = response.content_type, response.charset
    if not content_type:
        content_type = _guess_type(record, response.body if response else block)
    if content_type not in _HTML + _TEXT:
        _count(left_out, content_type if "/" in content_type else "unknown content type")
        return None
    if size > source.maximum_document_bytes:
        return _invalid(start, f"the document is larger than {source.maximum_document_bytes:,} bytes")
    try:
        body = decoded_body(response, maximum_bytes=source.maximum_document_bytes) if response else block
        text, _ = decode(body, encoding=source.encoding, declared=charset, language=source.language)
    except (ResponseError, PageError) as error:
        return _invalid(start, str(error))
    url, date = record.headers.get("WARC-Target-URI") or "", record.headers.get("WARC-Date") or ""
    metadata |= {
        "content_type": content_type,
        "date": date,
        "record_id": (record.headers.get("WARC-Record-ID") or "").strip("<>"),
        "truncated": record.headers.get("WARC-Truncated") or "",
        "url": url.strip("<>"),
    }
    raw = f"{url}\0{date}\0".encode("utf-8", "replace") + body
    found = Record(text, raw, start, start, None, metadata_json(metadata))
    if content_type in _HTML:
        return page_record(found, text, source.html)
    return _invalid(start, "holds no text") if not text or text.isspace() else found


def _guess_type(record: WarcRecord, body: bytes) -> str:
    """The media type of what has none: as the crawler identified it, or by its first bytes; WET is plain text."""
    if record.record_type == WarcRecordType.conversion:
        return "text/plain"
    identified = media_type(record.headers.get("WARC-Identified-Payload-Type") or "")
    begins_as_html = body[:1024].lstrip().lower().startswith((b"<!doctype html", b"<html"))
    return identified or ("text/html" if begins_as_html else "")


def _because(reason: str, cause: object) -> str:
    return f"{reason} ({cause})" if cause else reason


def _count(left_out: Counter[str], kind: str) -> None:
    left_out[kind[:80] if kind in left_out or len(left_out) < _KINDS else "other"] += 1


def _invalid(start: int, reason: str) -> Record:
    return Record("", b"", start, start, None, invalid=reason)
