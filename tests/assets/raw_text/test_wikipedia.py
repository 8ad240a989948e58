from __future__ import annotations

import bz2
import io
import json
from collections import Counter
from collections.abc import Callable
from html import escape
from typing import Any

import pytest

from assets.raw_text.compression import UnpackedStream
from assets.raw_text.errors import RawTextError
from assets.raw_text.records import Record
from assets.raw_text.wikipedia import read_wikipedia

HEAD = """<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" version="0.11" xml:lang="zh">
  <siteinfo>
    <sitename>Wikipedia</sitename>
    <base>https://zh.wikipedia.org/wiki/Wikipedia:%E9%A6%96%E9%A1%B5</base>
    <namespaces><namespace key="0" case="first-letter" /><namespace key="6" case="first-letter">Fichier</namespace>
    </namespaces>
  </siteinfo>
"""


def page(
    title: str, text: str, *, number: int = 1, namespace: int = 0, redirect: str = "", model: str = "wikitext"
) -> str:
    """A page with one revision."""
    target = f'<redirect title="{redirect}" />' if redirect else ""
    return (
        f"  <page><title>{escape(title)}</title><ns>{namespace}</ns><id>{number}</id>{target}<revision>"
        f"<id>{number + 100}</id><parentid>7</parentid><timestamp>2026-01-0{number}T00:00:00Z</timestamp>"
        f"<contributor><username>周</username><id>9</id></contributor><model>{model}</model>"
        f'<text bytes="5" xml:space="preserve">{escape(text)}</text><sha1>x</sha1></revision></page>\n'
    )


def dump(*pages: str) -> bytes:
    return (HEAD + "".join(pages) + "</mediawiki>\n").encode()


def unpacked(data: bytes, ending: str | None = None) -> UnpackedStream:
    return UnpackedStream(io.BytesIO(data), ending, where="file a", maximum_bytes=1 << 30, maximum_ratio=1e6)


@pytest.fixture
def records(source: Callable[..., Any]) -> Callable[..., list[Record]]:
    def read(data: bytes, left_out: Counter[str] | None = None, **fields: Any) -> list[Record]:
        counts = Counter() if left_out is None else left_out
        return list(read_wikipedia(unpacked(data), source(**fields), counts))

    return read


def test_a_page_is_a_document(records: Callable[..., list[Record]]) -> None:
    data = dump(page("上海 (城市)", "'''上海'''是[[城市]]。[[Fichier:a.jpg]]"), page("R&D?", "A & <b>B</b>.", number=2))
    first, second = records(data)
    assert [first.text, second.text] == ["上海是城市。", "A & B."]
    assert json.loads(first.metadata) == {
        "id": "1",
        "revision": "101",
        "title": "上海 (城市)",
        "url": "https://zh.wikipedia.org/wiki/%E4%B8%8A%E6%B5%B7_(%E5%9F%8E%E5%B8%82)",
        "date": "2026-01-01T00:00:00Z",
    }
    assert json.loads(second.metadata)["url"] == "https://zh.wikipedia.org/wiki/R%26D%3F"
    for record in (first, second):
        element = data[record.byte_start : record.byte_end]
        assert element.startswith(b"<page><title>") and element.endswith(b"</revision></page>")
    assert second.raw == b"2\x00102\0A & <b>B</b>."


def test_byte_ranges_across_blocks(records: Callable[..., list[Record]]) -> None:
    data = dump(
        *(page(f"页{number}", f"正文 {number} " * (number * 300 % 7001), number=number % 9) for number in range(1, 30))
    )
    found = records(data)
    assert len(found) == 29
    for record in found:
        element = data[record.byte_start : record.byte_end]
        assert element.startswith(b"<page>") and element.count(b"<page>") == 1 and element.endswith(b"</page>")
        assert json.loads(record.metadata)["title"].encode() in element


def test_only_articles_are_read(records: Callable[..., list[Record]]) -> None:
    data = dump(
        page("Talk:A", "talk", namespace=1),
        page("B", "see there", redirect="A"),
        page("C", "#重定向 [[A]]"),
        page("Module", "return {}", model="Scribunto"),
        page("Empty", "{{Infobox}}"),
        page("A", "text"),
    )
    left_out: Counter[str] = Counter()
    assert [record.text for record in records(data, left_out)] == ["text"]
    assert left_out == {"namespace 1": 1, "redirect": 2, "model Scribunto": 1, "no text": 1}


def test_the_last_of_several_revisions_is_read(records: Callable[..., list[Record]]) -> None:
    older = page("A", "old words")
    newer = older.replace("</page>", "<revision><id>200</id><text>new</text></revision></page>")
    (record,) = records(dump(newer))
    assert record.text == "new" and json.loads(record.metadata)["revision"] == "200"


def test_the_source_chooses_a_variant(records: Callable[..., list[Record]]) -> None:
    data = dump(page("A", "-{zh-hans:计算机;zh-hant:電腦}-"))
    assert records(data, language="zh-Hant")[0].text == "電腦"
    assert records(data, language="zh")[0].text == "计算机"


def test_a_dump_cut_in_the_middle_keeps_what_came_before(records: Callable[..., list[Record]]) -> None:
    data = dump(page("A", "one"), page("B", "two", number=2), page("C", "three", number=3))
    cut = data[: data.index(b"three")]
    first, second, last = records(cut)
    assert [first.text, second.text] == ["one", "two"]
    assert last.invalid is not None and last.invalid.startswith("is no complete MediaWiki dump: no element found: line")
    assert last.byte_start == len(cut)


def test_a_damaged_stream_fails_or_is_skipped_from_there(source: Callable[..., Any]) -> None:
    pages = [page("A", f"word {number} " * 2000, number=number) for number in range(1, 9)]
    packed = bz2.compress(dump(*pages), 1)[:-40]

    def read(**fields: Any) -> list[Record]:
        return list(read_wikipedia(unpacked(packed, ".bz2"), source(**fields), Counter()))

    with pytest.raises(RawTextError, match="file a is truncated or damaged"):
        read()
    *kept, last = read(on_invalid="skip")
    assert kept and all(record.invalid is None for record in kept)
    assert last.invalid is not None and "is truncated or damaged" in last.invalid


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"<html></html>", "its first element is <html>, not <mediawiki>"),
        (b"plain words", "syntax error"),
        (b'<!DOCTYPE m [<!ENTITY a "aaaa">]><mediawiki>&a;</mediawiki>', "declares the entity 'a'"),
        (b'<?xml version="1.0" encoding="gb2312"?><mediawiki/>', "multi-byte encodings are not supported"),
        (b'<?xml version="1.0" encoding="no-such-one"?><mediawiki/>', "unknown encoding"),
    ],
)
def test_what_is_no_dump(records: Callable[..., list[Record]], data: bytes, reason: str) -> None:
    (record,) = records(data)
    assert record.invalid is not None and reason in record.invalid


def test_a_page_that_is_too_large(records: Callable[..., list[Record]]) -> None:
    data = dump(page("Long", "a" * 5000), page("长", "字" * 400, number=2), page("C", "text", number=3))
    long, chinese, last = records(data, maximum_document_bytes=1024)
    assert long.invalid == "the page 'Long' is larger than 1,024 bytes"
    assert chinese.invalid == "the page '长' is larger than 1,024 bytes"
    assert last.text == "text"


def test_an_empty_file_has_no_page(records: Callable[..., list[Record]]) -> None:
    assert records(b"") == []


def test_a_dump_as_a_source(read: Callable[..., Any]) -> None:
    data = dump(page("A", "one"), page("书", "[[二]]", number=2))
    reading = read({"zhwiki-20260101-pages-articles.xml.bz2": bz2.compress(data)}, format="wikipedia", language="zh")
    assert reading.texts == ["one", "二"]
    assert [(row["path"], row["size"], row["documents"]) for row in reading.files] == [
        ("zhwiki-20260101-pages-articles.xml", len(data), 2)
    ]
    parts = {"w-pages-articles1.xml-p1p41.bz2": bz2.compress(data), "w.xml": data[:-100], "index.txt": b"no"}
    several = read(parts, format="wikipedia", on_invalid="skip")
    assert several.texts == ["one", "二", "one"] and len(set(several.ids)) == 3
    assert [row["path"] for row in several.skipped] == ["w.xml"]
    with pytest.raises(RawTextError, match=r"file w\.xml, byte \d+: is no complete MediaWiki dump: "):
        read(parts, format="wikipedia")
