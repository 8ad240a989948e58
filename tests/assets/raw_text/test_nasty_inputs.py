"""Files as nobody wants them: each ends in a named error, or in rows that say why, with the rest read."""

from __future__ import annotations

import codecs
import gzip
import io
import os
import socket
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.raw_text.errors import RawTextError
from assets.raw_text.fetch import locate
from tests.assets.raw_text.samples import CHINESE, compress, pack

Read = Callable[..., Any]
LINES: dict[str, Any] = {"documents": {"by": "line"}}
JSONL: dict[str, Any] = {"format": "jsonl"}
CSV: dict[str, Any] = {"format": "csv"}
HTML: dict[str, Any] = {"format": "html"}
MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class Case:
    """A source and what becomes of it.

    Attributes:
        files: By name.
        fields: Of the catalogue's entry.
        error: The end of the first sentence that on_invalid: fail refuses it with; None if it is read.
        texts: With on_invalid: skip; None if it is refused even then.
        rows: (path, line, byte_start, beginning of the reason) of what is skipped.
    """

    files: Callable[[], Mapping[str, bytes]]
    fields: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None
    texts: list[str] | None = None
    rows: list[tuple[str, int | None, int, str]] = field(default_factory=list)


def page(body: bytes) -> Callable[[], dict[str, bytes]]:
    return lambda: {"a.html": b"<p>good</p>", "b.html": body}


def bad_page(body: bytes, reason: str) -> Case:
    """A page that is refused, beside one that is not."""
    return Case(page(body), HTML, f"file b.html: {reason}", ["good"], [("b.html", None, 0, reason)])


def lines(format: str, *wrong: tuple[bytes, str]) -> Case:
    """A file of records in which some are wrong."""
    head, good = {"jsonl": (b"", b'{"text": "good"}\n'), "csv": (b"text,n\n", b"good,1\n")}[format]
    data, rows = head + good, []
    for number, (line, reason) in enumerate(wrong):
        rows.append((f"a.{format}", 2 + number + (format == "csv"), len(data), reason))
        data += line + b"\n"
    first = f"file a.{format}, line {rows[0][1]}: {rows[0][3]}"
    return Case(
        lambda: {f"a.{format}": data + good}, {"format": format, "encoding": "utf-8"}, first, ["good", "good"], rows
    )


def parquet(column: Any) -> bytes:
    packed = io.BytesIO()
    pq.write_table(pa.table({"text": column}), packed, compression="zstd", dictionary_pagesize_limit=1 << 30)
    return packed.getvalue()


def overlapping_zip() -> bytes:
    """Ten entries of the directory that all name the same member."""
    data = pack({"0.txt": b"x" * MEBIBYTE}, ".zip")
    start, end = data.index(b"PK\x01\x02"), data.rindex(b"PK\x05\x06")
    entry = data[start:end]
    directory = entry * 10
    last = data[end : end + 8] + struct.pack("<HHLLH", 10, 10, len(directory), start, 0)
    return data[:start] + directory + last


def lying_zip() -> bytes:
    """A member that says it unpacks to less than it does."""
    data = bytearray(pack({"a.txt": b"x" * 1000}, ".zip"))
    struct.pack_into("<L", data, data.index(b"PK\x01\x02") + 24, 10)
    return bytes(data)


def warc(block: bytes, *, length: int | None = None) -> bytes:
    header = f"WARC/1.0\r\nWARC-Type: conversion\r\nContent-Length: {len(block) if length is None else length}\r\n\r\n"
    return header.encode() + block + b"\r\n\r\n"


def utf32(*units: int) -> bytes:
    return b"".join(unit.to_bytes(4, "little") for unit in units)


CASES: dict[str, Case] = {
    # Pages.
    "100,000 nested divs": bad_page(b"<div>" * 100_000 + b"x", "the page's elements are nested too deeply"),
    "nested lists whose indentation is gigabytes": bad_page(b"<ol><li>x" * 100_000, "the page's elements are nested"),
    "options without an end": bad_page(b"<select>" + b"<option>x" * 50_000, "the page has more than 10,000 options"),
    "two million tags": bad_page(b"<b>" * 2_000_000, "the page has more than 1,048,576 tags"),
    "a page of 20 MB": bad_page(b"x" * (20 * MEBIBYTE), "the page is larger than 16,777,216 bytes"),
    "a comment without an end": bad_page(b"<!-- <p>words</p> " * 1000, "the page holds no text"),
    "a script without an end": bad_page(b"<script><p>words</p>" * 1000, "the page holds no text"),
    "a title without an end": bad_page(b"<title><p>words</p>" * 1000, "the page holds no text"),
    "a picture named html": bad_page(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 9, "no encoding fits its bytes"),
    "tags that are never closed": Case(
        page(b"<p>one<p>two<b>three<table><tr><td>four"), HTML, None, ["good", "one\n\ntwothree\nfour"]
    ),
    "100,000 nested spans": Case(page(b"<span>" * 100_000 + b"x"), HTML, None, ["good", "x"]),
    "a tag that is cut": Case(page(b"<p>words</p><a href='x"), HTML, None, ["good", "words"]),
    "NUL and surrogates in a page": Case(
        page(b"<p>a\0b&#0;c&#xD800;d&#x110000;e</p>" + b"<!-- -->" * 99),
        HTML,
        None,
        ["good", "ab\ufffdc\ufffdd\ufffde"],
    ),
    # Text.
    "a line of 100 MB": Case(
        lambda: {"a.txt": b"x" * 100_000_000 + b"\ngood"},
        LINES,
        "file a.txt, line 1: the document is larger than 67,108,864 bytes",
        ["good"],
        [("a.txt", 1, 0, "the document is larger than 67,108,864 bytes")],
    ),
    "10 million empty lines": Case(lambda: {"a.txt": b"a" + b"\n" * 10_000_000 + b"b"}, LINES, None, ["a", "b"]),
    "10 million empty lines of Windows": Case(
        lambda: {"a.txt": b"a" + b"\r\n" * 10_000_000 + b"b"}, LINES, None, ["a", "b"]
    ),
    "10 million empty lines between blocks": Case(
        lambda: {"a.txt": b"a" + b"\n" * 10_000_000 + b"b"}, {"documents": {"by": "blank_line"}}, None, ["a", "b"]
    ),
    "nothing but 100 MB of spaces": Case(
        lambda: {"a.txt": b" " * 100_000_000, "b.txt": b"good"},
        LINES,
        "file a.txt: holds no text",
        ["good"],
        [("a.txt", None, 0, "holds no text")],
    ),
    "a few NUL bytes": Case(lambda: {"a.txt": CHINESE.encode() + b"a\0b"}, {}, None, [CHINESE + "a\0b"]),
    "nothing but NUL bytes": Case(
        lambda: {"a.txt": bytes(4096), "b.txt": b"good"},
        {},
        "file a.txt: no encoding fits its bytes from byte 0",
        ["good"],
        [("a.txt", None, 0, "no encoding fits its bytes from byte 0")],
    ),
    "nothing but a byte order mark": Case(
        lambda: {"a.txt": codecs.BOM_UTF8, "b.txt": b"good"},
        {},
        "file a.txt: holds no text",
        ["good"],
        [("a.txt", None, 0, "holds no text")],
    ),
    "UTF-32 out of range": Case(
        lambda: {"a.txt": codecs.BOM_UTF32_LE + utf32(0x597D, 10, 0x61, 0x110000, 10, 0xFFFFFFFF, 10, 0x62)},
        LINES,
        "file a.txt, line 2: byte 16 cannot be decoded as utf-32-le",
        ["好", "b"],
        [
            ("a.txt", 2, 12, "byte 16 cannot be decoded as utf-32-le"),
            ("a.txt", 3, 24, "byte 24 cannot be decoded as utf-32-le"),
        ],
    ),
    "half a surrogate pair in UTF-16": Case(
        lambda: {"a.txt": codecs.BOM_UTF16_LE + "好\n".encode("utf-16-le") + b"\x00\xd8\n\0" + "b".encode("utf-16-le")},
        LINES,
        "file a.txt, line 2: byte 6 cannot be decoded as utf-16-le",
        ["好", "b"],
        [("a.txt", 2, 6, "byte 6 cannot be decoded as utf-16-le")],
    ),
    "lines that end as on old Macintoshes": Case(lambda: {"a.txt": b"one\rtwo"}, LINES, None, ["one\rtwo"]),
    # Records.
    "half a surrogate pair in JSON": lines(
        "jsonl", (b'{"text": "a\\ud800"}', "field 'text' has half a surrogate pair at character 1")
    ),
    "JSON that nests 100,000 deep": lines(
        "jsonl", (b"[" * 100_000, "invalid JSON: "), (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "invalid JSON: ")
    ),
    "a number of 5,000 digits in JSON": lines("jsonl", (b'{"text": "a", "n": ' + b"7" * 5000 + b"}", "invalid JSON: ")),
    "a NUL in JSON": lines("jsonl", (b'{"text": "a\0b"}', "invalid JSON: Invalid control character")),
    "a NUL that is written in JSON": Case(lambda: {"a.jsonl": b'{"text": "a\\u0000b"}'}, JSONL, None, ["a\0b"]),
    "a key that stands twice in JSON": Case(lambda: {"a.jsonl": b'{"text": 1, "text": "b"}'}, JSONL, None, ["b"]),
    "a line of 100 MB of JSON": Case(
        lambda: {"a.jsonl": b'{"text": "' + b"x" * 100_000_000 + b'"}\n{"text": "good"}'},
        JSONL,
        "file a.jsonl, line 1: the document is larger than 67,108,864 bytes",
        ["good"],
        [("a.jsonl", 1, 0, "the document is larger than 67,108,864 bytes")],
    ),
    "a quote without an end in CSV": Case(
        lambda: {"a.csv": b'text,n\ngood,1\n"bad,2\n' + b"x,3\n" * 1000},
        CSV,
        "file a.csv, line 3: invalid CSV: unexpected end of data",
        ["good"],
        [("a.csv", 3, 14, "invalid CSV: unexpected end of data")],
    ),
    "100,000 columns in CSV": lines("csv", (b"x," * 100_000, "has 100001 columns, the header 2")),
    "a NUL in CSV": Case(lambda: {"a.csv": b"text,n\na\0b,1\n"}, {**CSV, "encoding": "utf-8"}, None, ["a\0b"]),
    "a Parquet file that unpacks to 40 GB": Case(
        lambda: {
            "a.parquet": parquet(
                pa.DictionaryArray.from_arrays(pa.array([0] * 40_000, pa.int32()), pa.array(["x" * 1_000_000]))
            )
        },
        {"format": "parquet"},
        "file a.parquet unpacks to more than 200 times its size, as a decompression bomb does",
    ),
    # Packed files.
    "a bomb in gzip": Case(
        lambda: {"a.txt.gz": gzip.compress(bytes(20 * MEBIBYTE))},
        {"encoding": "utf-8"},
        "file a.txt.gz unpacks to more than 200 times its size, as a decompression bomb does",
    ),
    "gzip in gzip": Case(
        lambda: {"a.txt.gz": gzip.compress(gzip.compress(CHINESE.encode(), mtime=0)), "b.txt": b"good"},
        {},
        "file a.txt: no encoding fits its bytes from byte 0",
        ["good"],
        [("a.txt", None, 0, "no encoding fits its bytes from byte 0")],
    ),
    "a zip in a zip": Case(
        lambda: {"a.zip": pack({"b.zip": pack({"a.txt": b"a"}, ".zip")}, ".zip")},
        {"include": ["*.zip"]},
        "file b.zip is an archive inside an archive",
    ),
    "a zip whose entries all name one member": Case(
        lambda: {"a.zip": overlapping_zip()},
        {},
        "file a.zip is truncated or damaged (the member '0.txt' lies inside another, as in a decompression bomb)",
    ),
    "a zip that says too little of its size": Case(
        lambda: {"a.zip": lying_zip()}, {}, "file a.zip, member a.txt is truncated or damaged (Bad CRC-32"
    ),
    "a member called C:\\a.txt": Case(
        lambda: {"a.zip": pack({"C:\\a.txt": b"a"}, ".zip")}, {}, "file a.zip: member 'C:\\a.txt' would escape"
    ),
    "bytes behind a gzip stream": Case(
        lambda: {"a.txt.gz": compress(b"good", ".gz") + b"rubbish"},
        {},
        "file a.txt.gz is truncated or damaged (Not a gzipped file (b'ru'))",
    ),
    "a web archive whose record is petabytes long": Case(
        lambda: {"a.wet": warc(b"good") + warc(b"bad", length=10**15)},
        {"format": "warc"},
        "file a.wet, byte 62: the file ends inside a record, of which 7 of 1,000,000,000,000,000 bytes are there",
        ["good"],
        [("a.wet", None, 62, "the file ends inside a record")],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_nasty_input_ends_as_it_should(read: Read, name: str) -> None:
    case = CASES[name]
    files = case.files()
    if case.error:
        with pytest.raises(RawTextError) as refused:
            read(files, **case.fields)
        assert str(refused.value).startswith(f"source 'dump', {case.error}")
    fields = {**case.fields, "on_invalid": "skip"}
    if case.texts is None:
        with pytest.raises(RawTextError) as refused:
            read(files, **fields)
        assert str(refused.value).startswith(f"source 'dump', {case.error}")
        return
    reading = read(files, **fields)
    assert reading.texts == case.texts
    found = [(row["path"], row["line"], row["byte_start"], row["reason"]) for row in reading.skipped]
    assert [row[:3] for row in found] == [row[:3] for row in case.rows]
    assert all(row[3].startswith(expected[3]) for row, expected in zip(found, case.rows, strict=True))
    if not case.error:
        assert read(files, **case.fields).texts == case.texts


@pytest.mark.parametrize("kind", ["pipe", "socket", "loop"])
def test_what_is_no_file_in_a_folder_is_named_and_not_waited_for(
    source: Callable[..., Any], tmp_path: Path, kind: str
) -> None:
    folder = tmp_path / "input"
    folder.mkdir()
    (folder / "a.txt").write_text("good")
    if kind == "pipe":
        os.mkfifo(folder / "b.txt")
    elif kind == "socket":
        socket.socket(socket.AF_UNIX).bind(str(folder / "b.txt"))
    else:
        (folder / "b.txt").symlink_to(folder / "b.txt")
    with pytest.raises(RawTextError, match=r"b\.txt is a broken link or no file; remove it or name it under 'exclude'"):
        locate(source(), folder=tmp_path, downloads=tmp_path / "downloads")


def test_a_name_that_is_no_utf8_is_printable(read: Read) -> None:
    reading = read({"caf\udce9.txt": b"good", "d.txt": b"better"})
    assert [(row["path"], row["text"]) for row in reading.documents] == [("caf\ufffd.txt", "good"), ("d.txt", "better")]
