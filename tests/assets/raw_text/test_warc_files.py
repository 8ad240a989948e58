from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterable
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.raw_text.errors import RawTextError
from assets.raw_text.http_response import HttpResponse, ResponseError, decoded_body, parse_response
from tests.assets.raw_text.samples import CHINESE, COMPRESSIONS, pack

Read = Callable[..., Any]
WARC = {"format": "warc"}
SKIP = {"format": "warc", "on_invalid": "skip"}
PAGE = "<html lang=zh><title>码头</title><body><p>清晨的码头还没有醒来。</p></body></html>"


def record(kind: str, block: bytes, *, url: str = "https://example.org/a", **fields: str) -> bytes:
    """One WARC record; further header fields with '_' for '-', None removes one."""
    header = {
        "WARC-Type": kind,
        "WARC-Record-ID": "<urn:uuid:00000000-0000-4000-8000-000000000001>",
        "WARC-Date": "2026-10-05T07:00:00Z",
        "WARC-Target-URI": url,
        "Content-Type": "application/http; msgtype=response" if kind == "response" else "text/plain",
        "Content-Length": str(len(block)),
    } | {name.replace("_", "-"): value for name, value in fields.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in header.items() if value is not None)
    return f"WARC/1.0\r\n{lines}\r\n".encode() + block + b"\r\n\r\n"


def response(body: bytes | str, *, status: str = "200 OK", url: str = "https://example.org/a", **fields: str) -> bytes:
    """A response record; HTTP header fields with '_' for '-'."""
    body = body.encode() if isinstance(body, str) else body
    header = {"Content-Type": "text/html; charset=UTF-8"} | {name.replace("_", "-"): v for name, v in fields.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in header.items() if value)
    return record("response", f"HTTP/1.1 {status}\r\n{lines}\r\n".encode() + body, url=url)


def members(records: Iterable[bytes]) -> bytes:
    """Each record in a gzip member of its own, as crawlers write them."""
    return b"".join(gzip.compress(part, mtime=0) for part in records)


INFO = record("warcinfo", b"software: test\r\n")
FIRST = response("<p>first page</p>", url="https://example.org/1")
SECOND = response("<p>second page</p>", url="https://example.org/2")
THIRD = response("<p>third page</p>", url="https://example.org/3")


def test_a_page_with_all_that_is_known_of_it(read: Read) -> None:
    request = record("request", b"GET / HTTP/1.1\r\n\r\n", Content_Type="application/http; msgtype=request")
    page = response(PAGE)
    data = INFO + request + page + request
    reading = read({"a.warc": data}, **WARC)
    assert reading.texts == ["清晨的码头还没有醒来。"]
    (row,) = reading.documents
    assert data[row["byte_start"] : row["byte_end"]] == page
    assert json.loads(row["metadata"]) == {
        "content_type": "text/html",
        "date": "2026-10-05T07:00:00Z",
        "http_status": 200,
        "language": "zh",
        "record_id": "urn:uuid:00000000-0000-4000-8000-000000000001",
        "title": "码头",
        "url": "https://example.org/a",
    }
    assert reading.files == [
        {
            "path": "a.warc",
            "size": len(data),
            "encoding": None,
            "documents": 1,
            "skipped": 0,
            "left_out": '{"request":2,"warcinfo":1}',
        }
    ]
    assert reading.report.left_out == 3


def test_what_is_no_text_is_counted_by_its_kind(read: Read) -> None:
    parts = [
        FIRST,
        response(b"\x89PNG", Content_Type="image/png"),
        response(b"\x89PNG", Content_Type="IMAGE/PNG; q=1"),
        response(b"{}", Content_Type="application/json"),
        response("<p>gone</p>", status="404 Not Found"),
        response("", status="301 Moved", Location="/b"),
        response(b"\1\2", Content_Type=""),
        record("revisit", b"HTTP/1.1 200 OK\r\n\r\n"),
        record("metadata", b"a: b"),
        record("resource", b"x", Content_Type="text/dns"),
    ]
    reading = read({"a.warc": b"".join(parts)}, **WARC)
    assert reading.texts == ["first page"]
    assert json.loads(reading.files[0]["left_out"]) == {
        "application/json": 1,
        "image/png": 2,
        "metadata": 1,
        "revisit": 1,
        "status 301": 1,
        "status 404": 1,
        "text/dns": 1,
        "unknown content type": 1,
    }
    assert reading.report.left_out == 9


def test_kinds_that_a_server_makes_up_do_not_fill_the_memory(read: Read) -> None:
    made_up = [response(b"x", Content_Type=f"made/up-{number}") for number in range(1000)]
    reading = read({"a.warc": FIRST + b"".join(made_up)}, **WARC)
    kinds = json.loads(reading.files[0]["left_out"])
    assert (len(kinds), sum(kinds.values()), kinds["other"]) == (257, 1000, 744)


def test_conversions_and_plain_text_are_taken_as_they_are(read: Read) -> None:
    wet = record("conversion", CHINESE.encode(), WARC_Identified_Content_Language="zho")
    plain = response("<p>é".encode("cp1252"), Content_Type="text/plain; charset=iso-8859-1")
    resource = record("resource", b"<p>A <b>resource</b></p>", Content_Type="text/html")
    reading = read({"a.warc.wet": wet + plain + resource}, **WARC)
    assert reading.texts == [CHINESE, "<p>é", "A resource"]
    assert [json.loads(row["metadata"])["content_type"] for row in reading.documents] == [
        "text/plain",
        "text/plain",
        "text/html",
    ]


def chunked(body: bytes, size: int = 7) -> bytes:
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x;note=x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\nTrailer: x\r\n\r\n"


BODY = PAGE.encode()
RAW_DEFLATE = zlib.compress(BODY)[2:-4]


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (BODY, {}),
        (chunked(BODY), {"Transfer_Encoding": "chunked"}),
        (gzip.compress(BODY), {"Content_Encoding": "gzip"}),
        (gzip.compress(BODY) + b"\0\0", {"Content_Encoding": "x-gzip"}),
        (gzip.compress(BODY[:20]) + gzip.compress(BODY[20:]), {"Content_Encoding": "gzip"}),
        (zlib.compress(BODY), {"Content_Encoding": "deflate"}),
        (RAW_DEFLATE, {"Content_Encoding": "deflate"}),
        (zstandard.compress(BODY), {"Content_Encoding": "zstd"}),
        (gzip.compress(zlib.compress(BODY)), {"Content_Encoding": "deflate, gzip"}),
        (chunked(gzip.compress(BODY)), {"Content_Encoding": "gzip", "Transfer_Encoding": "chunked"}),
        (BODY, {"Content_Encoding": "gzip"}),
        (BODY, {"Content_Encoding": "br", "Transfer_Encoding": "chunked"}),
        (PAGE.encode("gb18030"), {"Content_Type": "text/html; charset=gbk"}),
        (PAGE.encode("utf-16"), {"Content_Type": "text/html; charset=gbk"}),
        (PAGE.encode("gb18030"), {"Content_Type": 'application/xhtml+xml;charset="GB2312"'}),
        (BODY, {"Content_Type": ""}),
    ],
)
def test_a_body_comes_without_its_encodings(read: Read, body: bytes, fields: dict[str, str]) -> None:
    assert read({"a.warc": response(body, **fields)}, **WARC).texts == ["清晨的码头还没有醒来。"]


BROKEN = {
    "cut gzip": (gzip.compress(BODY)[:-12], {"Content_Encoding": "gzip"}, "its body is no gzip or is cut or damaged"),
    "no deflate": (b"\xffwords", {"Content_Encoding": "deflate"}, "its body is no deflate or is cut or damaged"),
    "no brotli": (b"\xff\xffwords", {"Content_Encoding": "br"}, "its body is no br or is cut or damaged"),
    "cut zstd": (zstandard.compress(BODY)[:-5], {"Content_Encoding": "zstd"}, "its body is no zstd or is cut"),
    "unknown": (b"words", {"Content_Encoding": "lzma"}, "its content encoding 'lzma' is unknown"),
    "cut chunks": (chunked(BODY)[:-40], {"Transfer_Encoding": "chunked"}, "its chunks are cut or damaged at byte"),
    "bomb": (gzip.compress(bytes(20_000_000)), {"Content_Encoding": "gzip"}, "its body unpacks to more than 1,048,576"),
    "too large": (b"x" * (1 << 20), {}, "the document is larger than 1,048,576 bytes"),
    "no text": (b"<p></p>", {}, "the page holds no text"),
    "empty": (b"", {"Content_Type": "text/plain"}, "holds no text"),
    "binary": (bytes(range(256)), {"Content_Type": "text/plain"}, "no encoding fits its bytes"),
    "deep": (b"<div>" * 100_000, {}, "the page's elements are nested too deeply"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_page_that_cannot_be_read_is_a_row_and_the_others_are_read(read: Read, case: str) -> None:
    body, fields, reason = BROKEN[case]
    data = FIRST + response(body, **fields) + SECOND
    limit = {"maximum_document_bytes": 1 << 20}
    with pytest.raises(RawTextError, match=rf"^source 'dump', file a\.warc, byte {len(FIRST)}: {reason}"):
        read({"a.warc": data}, **WARC, **limit)
    reading = read({"a.warc": data}, **SKIP, **limit)
    assert reading.texts == ["first page", "second page"]
    ((start, found),) = [(row["byte_start"], row["reason"]) for row in reading.skipped]
    assert (start, found.startswith(reason)) == (len(FIRST), True)


def test_large_files_that_are_no_text_are_passed_over(read: Read) -> None:
    film = response(b"x" * 5000, Content_Type="video/mp4")
    reading = read({"a.warc": FIRST + film + SECOND}, **WARC, maximum_document_bytes=1024)
    assert reading.texts == ["first page", "second page"]


def wrong_length(part: bytes, length: str) -> bytes:
    (line,) = [line for line in part.split(b"\r\n") if line.startswith(b"Content-Length: ")]
    return part.replace(line, f"Content-Length: {length}".encode())


CUT: dict[str, tuple[bytes, list[str], int, str]] = {
    "in a block": (FIRST + SECOND[:-12], ["first page"], len(FIRST), "the file ends inside a record"),
    "in a header": (FIRST + SECOND[:60], ["first page"], len(FIRST), "is no WARC record, or has no valid Content-"),
    "in a picture": (
        FIRST + response(b"x" * 99, Content_Type="image/png")[:-50],
        ["first page"],
        len(FIRST),
        "the file ends inside a record, of which 97 of 143 bytes are there",
    ),
    "no length": (FIRST + wrong_length(SECOND, "") + THIRD, ["first page"], len(FIRST), "is no WARC record, or has"),
    "no number": (FIRST + wrong_length(SECOND, "-5") + THIRD, ["first page"], len(FIRST), "is no WARC record, or has"),
    "too short": (FIRST + wrong_length(SECOND, "50") + THIRD, ["first page"], len(FIRST), "no record follows this one"),
    "too long": (FIRST + wrong_length(SECOND, "99") + THIRD, ["first page"], len(FIRST), "no record follows this one"),
    "endless": (
        FIRST + wrong_length(SECOND, "9" * 15) + THIRD,
        ["first page"],
        len(FIRST),
        "the file ends inside a record",
    ),
    "huge number": (FIRST + wrong_length(SECOND, "9" * 30) + THIRD, ["first page"], len(FIRST), ""),
    "rubbish": (FIRST + SECOND + b"rubbish\r\n" + THIRD, ["first page"], len(FIRST), "no record follows this one"),
    "zeros": (FIRST + SECOND + bytes(4096), ["first page"], len(FIRST), "no record follows this one"),
    "long header": (FIRST + SECOND + b"WARC/1.0\r\nX: " + b"x" * 100_000, ["first page"], len(FIRST), "no record foll"),
}


@pytest.mark.parametrize("case", CUT)
def test_where_the_sequence_of_records_breaks_the_rest_is_a_row(read: Read, case: str) -> None:
    data, texts, start, reason = CUT[case]
    with pytest.raises(RawTextError, match=rf"^source 'dump', file a\.warc, byte {start}: {reason}"):
        read({"a.warc": data}, **WARC)
    reading = read({"a.warc": data}, **SKIP)
    assert reading.texts == texts
    ((found, why),) = [(row["byte_start"], row["reason"]) for row in reading.skipped]
    assert (found, why.startswith(reason)) == (start, True)


def test_a_file_that_is_none(read: Read) -> None:
    for data in (b"<html>words</html>\n" * 100, bytes(4096), gzip.compress(FIRST)):
        with pytest.raises(RawTextError, match=r"^source 'dump', file a\.warc: is no WARC file"):
            read({"a.warc": data}, **WARC)
    with pytest.raises(RawTextError, match=r"^source 'dump', file a\.warc: is empty"):
        read({"a.warc": b""}, **WARC)
    with pytest.raises(RawTextError, match=r"file a\.warc: is no WARC record, or has no valid Content-Length"):
        read({"a.warc": FIRST.replace(b"\r\n", b"\n")}, **WARC)


@pytest.mark.parametrize("place", ["member", "checksum", "cut"])
def test_a_damaged_gzip_member_keeps_what_lies_before_it(read: Read, place: str) -> None:
    parts = [members([part]) for part in (FIRST, SECOND, THIRD)]
    damaged = bytearray(parts[1])
    if place == "member":
        damaged[30:40] = b"\xff" * 10
    elif place == "checksum":
        damaged[-8:-4] = b"\0\0\0\0"
    data = parts[0] + bytes(damaged) + parts[2] if place != "cut" else parts[0] + parts[1][:-30]
    with pytest.raises(RawTextError, match=r"file a\.warc, byte \d+: .*a\.warc\.gz is truncated or damaged"):
        read({"a.warc.gz": data}, **WARC)
    reading = read({"a.warc.gz": data}, **SKIP)
    assert reading.texts == (["first page", "second page"] if place == "checksum" else ["first page"])
    (row,) = reading.skipped
    assert row["byte_start"] == (len(FIRST + SECOND) if place == "checksum" else len(FIRST))
    assert "is truncated or damaged" in row["reason"]


def test_a_bomb_fails_whatever_may_be_skipped(read: Read) -> None:
    bomb = response(b"x" * (20 << 20), Content_Type="image/png")
    with pytest.raises(RawTextError, match=r"a\.warc\.gz unpacks to more than 200 times its size"):
        read({"a.warc.gz": members([FIRST, bomb, SECOND])}, **SKIP)


def test_identities_do_not_depend_on_the_place(read: Read) -> None:
    parts = [INFO, FIRST, SECOND, THIRD, FIRST]
    whole = read({"a.warc": b"".join(parts)}, **WARC)
    assert len(set(whole.ids)) == 4
    for packed in (
        {"b.warc.gz": members(parts)},
        {"b.warc.gz": gzip.compress(b"".join(parts))},
        {"x.warc.zst": COMPRESSIONS[".zst"](THIRD + FIRST), "y.warc.gz": members([FIRST, SECOND])},
        {"c.zip": pack({"1.warc": SECOND + FIRST, "2.warc.gz": members([INFO, FIRST, THIRD])}, ".zip")},
        {
            "d.warc": INFO
            + response(
                chunked(gzip.compress(b"<p>first page</p>")),
                url="https://example.org/1",
                Transfer_Encoding="chunked",
                Content_Encoding="gzip",
            )
            + SECOND
            + FIRST
            + THIRD
        },
    ):
        assert sorted(read(packed, **WARC).ids) == sorted(whole.ids)
    moved = read({"a.warc": FIRST.replace(b"org/1", b"org/9") + FIRST.replace(b"T07", b"T08")}, **WARC)
    assert not set(moved.ids) & set(whole.ids)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_file_cut_anywhere_keeps_every_whole_record(read: Read, data: st.DataObject) -> None:
    parts = [FIRST, SECOND, THIRD]
    packed = data.draw(st.booleans(), label="packed")
    pieces = [members([part]) for part in parts] if packed else parts
    cut = data.draw(st.integers(1, sum(map(len, pieces)) - 1), label="cut")
    name = "a.warc.gz" if packed else "a.warc"
    whole, end = 0, 0
    # The four bytes behind a block, and gzip's sums, may be lost without harm to the text.
    for piece in pieces:
        end += len(piece)
        whole += cut >= end
    try:
        texts = read({name: b"".join(pieces)[:cut]}, **SKIP).texts
    except RawTextError as error:
        assert "has no document" in str(error)
        texts = []
    expected = ["first page", "second page", "third page"]
    assert texts == expected[: len(texts)]
    assert whole <= len(texts) <= whole + 1


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_damage_anywhere_ends_in_a_row_or_an_error(read: Read, data: st.DataObject) -> None:
    whole = bytearray(FIRST + SECOND + THIRD)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(whole) - 1))
        whole[place : place + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=9))
    try:
        reading = read({"a.warc": bytes(whole)}, **SKIP)
    except RawTextError:
        return
    assert len(reading.documents) + len(reading.skipped) + reading.report.left_out >= 1


@pytest.mark.parametrize(
    "content_type",
    ["text/html charset=utf-8", "text/html,text/html", "text/plain, text/html; charset=utf-8", " TEXT/HTML;"],
)
def test_media_types_as_browsers_read_them(read: Read, content_type: str) -> None:
    found = read({"a.warc": response(PAGE, Content_Type=content_type)}, **WARC)
    assert found.texts == ["清晨的码头还没有醒来。"]
    assert json.loads(found.documents[0]["metadata"])["content_type"] == "text/html"


@pytest.mark.parametrize("body", [b"0 is a number,\nand 1 too\n", b"Add bread\nto it\n", b"2024 in words\n"])
def test_a_text_whose_chunks_the_crawler_joined_is_not_taken_for_chunks(body: bytes) -> None:
    joined = HttpResponse(200, {"transfer-encoding": "chunked"}, body)
    assert decoded_body(joined, maximum_bytes=1000) == body


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200), st.sampled_from(["gzip", "br", "deflate", "zstd", "gzip, br", ""]), st.booleans())
def test_any_body_is_decoded_or_refused(body: bytes, encoding: str, in_chunks: bool) -> None:
    headers = {"content-encoding": encoding} | ({"transfer-encoding": "chunked"} if in_chunks else {})
    try:
        assert len(decoded_body(HttpResponse(200, headers, body), maximum_bytes=1000)) <= 1000
    except ResponseError:
        return


@pytest.mark.parametrize(
    ("block", "reason"),
    [(b"", "no status line"), (b"<html>", "no status line"), (b"HTTP/1.1 200 OK\r\nA: b\r\n", "header has no end")],
)
def test_what_is_no_response(block: bytes, reason: str) -> None:
    with pytest.raises(ResponseError, match=reason):
        parse_response(block)


def test_the_header_of_a_response() -> None:
    found = parse_response(
        b"HTTP/2 206 \r\nCONTENT-Type: Text/HTML; Charset='gbk'\r\nnonsense\r\nx:  y \r\n\r\nbody\r\n\r\n"
    )
    assert (found.status, found.content_type, found.charset, found.headers["x"]) == (206, "text/html", "gbk", "y")
    assert found.body == b"body\r\n\r\n"
    assert parse_response(b"HTTP/1.0 200 OK\nA: b\n\nbody").body == b"body"
