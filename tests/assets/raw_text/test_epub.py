from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from assets.raw_text.epub import read_epub
from assets.raw_text.errors import RawTextError
from assets.raw_text.records import Record

CONTAINER = """<?xml version="1.0"?>
<container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container">
<rootfiles><rootfile full-path="OEBPS/book.opf" media-type="application/oebps-package+xml"/></rootfiles></container>"""
METADATA = """<metadata xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>渔船
 与海</dc:title><dc:creator>周一</dc:creator><dc:creator>Ann Lee</dc:creator><dc:language>zh</dc:language>
<dc:identifier id="id">urn:isbn:1</dc:identifier><dc:date>2020-01-02</dc:date></metadata>"""
FIRST = """<?xml version="1.0" encoding="utf-8"?><!DOCTYPE html>
<html xmlns="http://www.w3.org/1999/xhtml"><head><title/><script src="a.js"/></head>
<body><h1>第一章</h1><p>清晨的<em>码头</em>还没有
醒来。</p><p>Tea &amp; <ruby>漢<rt><span>か</span>ん</rt></ruby>字<![CDATA[ <3]]></p></body></html>"""
SECOND = "<html><body><p>The boats\nlay side by side.</p><img alt='a boat' src='b.png'/></body></html>"


def opf(
    items: Mapping[str, str], *, metadata: str = METADATA, spine: list[str] | None = None, doctype: str = ""
) -> str:
    """A package document with these files (id to attributes) in its spine."""
    manifest = "".join(f'<item id="{name}" {attributes}/>' for name, attributes in items.items())
    order = "".join(f'<itemref idref="{name}"/>' for name in (list(items) if spine is None else spine))
    return (
        f'<?xml version="1.0"?>{doctype}<package xmlns="http://www.idpf.org/2007/opf" version="3.0">{metadata}'
        f"<manifest>{manifest}</manifest><spine>{order}</spine></package>"
    )


XHTML = 'media-type="application/xhtml+xml"'
ITEMS = {"a": f'href="one%20a.xhtml" {XHTML}', "b": f'href="two.xhtml" {XHTML}'}
BOOK: dict[str, str | bytes] = {
    "mimetype": "application/epub+zip",
    "META-INF/container.xml": CONTAINER,
    "OEBPS/book.opf": opf(ITEMS),
    "OEBPS/one a.xhtml": FIRST,
    "OEBPS/two.xhtml": SECOND,
}


def pack(files: Mapping[str, str | bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in files.items():
            archive.writestr(path, data)
    return packed.getvalue()


@pytest.fixture
def records(tmp_path: Path, source: Callable[..., Any]) -> Callable[..., list[Record]]:
    def read(files: Mapping[str, str | bytes] | bytes, *, by_chapter: bool = False, **fields: Any) -> list[Record]:
        path = tmp_path / "book.epub"
        path.write_bytes(files if isinstance(files, bytes) else pack(files))
        return list(read_epub(path, source(**fields), by_chapter=by_chapter))

    return read


def reason(found: list[Record]) -> str:
    (record,) = found
    assert record.invalid is not None
    return record.invalid


def test_a_book_is_one_document(records: Callable[..., list[Record]]) -> None:
    (book,) = records(BOOK)
    assert book.text == "第一章\n\n清晨的码头还没有 醒来。\n\nTea & 漢字 <3\n\nThe boats lay side by side."
    assert (book.byte_start, book.byte_end, book.line, book.invalid) == (0, 2, None, None)
    assert book.raw == (FIRST + SECOND).encode()
    assert json.loads(book.metadata) == {
        "title": "渔船 与海",
        "creator": "周一; Ann Lee",
        "language": "zh",
        "identifier": "urn:isbn:1",
        "date": "2020-01-02",
    }


def test_a_chapter_may_be_a_document(records: Callable[..., list[Record]]) -> None:
    first, second = records(BOOK, by_chapter=True)
    assert first.text.startswith("第一章\n\n") and second.text == "The boats lay side by side."
    assert [(chapter.byte_start, chapter.byte_end) for chapter in (first, second)] == [(0, 1), (1, 2)]
    assert second.raw == SECOND.encode() and json.loads(second.metadata)["file"] == "OEBPS/two.xhtml"


def test_the_spine_says_the_order_and_contents_and_pictures_are_left_out(
    records: Callable[..., list[Record]],
) -> None:
    picture = 'href="p.svg" media-type="image/svg+xml"'
    items = ITEMS | {"toc": f'href="toc.xhtml" properties="nav" {XHTML}', "p": picture}
    files = BOOK | {
        "OEBPS/book.opf": opf(items, spine=["toc", "p", "b", "a"]),
        "OEBPS/toc.xhtml": "<nav>Contents</nav>",
        "OEBPS/p.svg": "<svg><text>no</text></svg>",
    }
    (book,) = records(files)
    assert book.text.startswith("The boats") and book.text.endswith("漢字 <3")
    assert [record.byte_start for record in records(files, by_chapter=True)] == [2, 3]


@pytest.mark.parametrize(
    ("encoding", "declaration"),
    [
        ("utf-8-sig", ""),
        ("utf-16", ""),
        ("gb18030", '<?xml version="1.0" encoding="GB2312"?>'),
        ("gb18030", ""),
        ("big5", "<?xml version='1.0' encoding='big5'?>"),
    ],
)
def test_encodings(records: Callable[..., list[Record]], encoding: str, declaration: str) -> None:
    text = "他們沒有說話，只聽見的聲音。" if encoding == "big5" else "他们没有说话，只听见发动机的声音和水鸟的叫声。"
    data = f"{declaration}<html><body><p>{text}</p></body></html>".encode(encoding)
    assert records(BOOK | {"OEBPS/one a.xhtml": data})[0].text.startswith(text)


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030"])
def test_a_chapter_whose_name_has_no_declared_encoding_in_the_zip(
    records: Callable[..., list[Record]], encoding: str
) -> None:
    class UndeclaredName(zipfile.ZipInfo):
        def _encodeFilenameFlags(self) -> tuple[bytes, int]:
            return self.filename.encode(encoding), self.flag_bits

    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path, data in (BOOK | {"OEBPS/book.opf": opf({"a": f'href="正文/第一章.xhtml" {XHTML}'})}).items():
            archive.writestr(path, data)
        archive.writestr(UndeclaredName("OEBPS/正文/第一章.xhtml"), SECOND)
    assert records(packed.getvalue())[0].text == "The boats lay side by side."


@pytest.mark.parametrize("kind", ["text/x-oeb1-document", "application/XHTML+xml", "text/xml", "text/html; charset=x"])
def test_media_types_of_chapters_as_old_tools_write_them(records: Callable[..., list[Record]], kind: str) -> None:
    items = ITEMS | {"b": f'href="two.xhtml" media-type="{kind}"'}
    assert records(BOOK | {"OEBPS/book.opf": opf(items)})[0].text.endswith("\n\nThe boats lay side by side.")


@pytest.mark.parametrize("encoding", ["gb2312", "no-such-encoding"])
def test_a_package_document_in_an_encoding_that_is_not_read(
    records: Callable[..., list[Record]], encoding: str
) -> None:
    document = opf(ITEMS).replace("?>", f' encoding="{encoding}"?>', 1)
    found = reason(records(BOOK | {"OEBPS/book.opf": document.encode("gb2312")}))
    assert found.startswith("its OEBPS/book.opf is no usable XML: ") and "encoding" in found


def test_a_chapter_that_cannot_be_read(records: Callable[..., list[Record]]) -> None:
    files = BOOK | {"OEBPS/one a.xhtml": bytes(range(256)) * 8}
    assert reason(records(files)).startswith("its chapter OEBPS/one a.xhtml cannot be read: no encoding fits its bytes")
    first, second = records(files, by_chapter=True)
    assert first.invalid and first.byte_start == 0 and second.text.startswith("The boats")
    deep = BOOK | {"OEBPS/one a.xhtml": "<html><body>" + "<ul><li>" * 200_000}
    assert "nested too deeply" in reason(records(deep, maximum_compression_ratio=1e6))


def test_a_damaged_byte_is_replaced_as_in_a_browser(records: Callable[..., list[Record]]) -> None:
    damaged = "<html><body><p>清晨的码头还没有醒来".encode() + b"\xff</p></body></html>"
    assert records(BOOK | {"OEBPS/one a.xhtml": damaged})[0].text.startswith("清晨的码头还没有醒来\ufffd")


def test_a_missing_chapter(records: Callable[..., list[Record]]) -> None:
    files = {path: data for path, data in BOOK.items() if path != "OEBPS/two.xhtml"}
    assert reason(records(files)) == "is no EPUB or is damaged: it lacks OEBPS/two.xhtml"
    first, second = records(files, by_chapter=True)
    assert first.text.startswith("第一章")
    assert (second.invalid, second.byte_start) == ("is no EPUB or is damaged: it lacks OEBPS/two.xhtml", 1)
    nameless = BOOK | {"OEBPS/book.opf": opf(ITEMS, spine=["a", "z"])}
    assert reason(records(nameless)) == "its spine names 'z', which its manifest lacks"


def test_encrypted_books_and_obfuscated_fonts(records: Callable[..., list[Record]]) -> None:
    encryption = (
        '<encryption xmlns="urn:oasis:names:tc:opendocument:xmlns:container" '
        'xmlns:enc="http://www.w3.org/2001/04/xmlenc#"><enc:EncryptedData><enc:CipherData>'
        '<enc:CipherReference URI="{}"/></enc:CipherData></enc:EncryptedData></encryption>'
    )
    protected = BOOK | {"META-INF/encryption.xml": encryption.format("OEBPS/one%20a.xhtml")}
    assert reason(records(protected)) == "is encrypted (digital rights management)"
    with_font = BOOK | {"META-INF/encryption.xml": encryption.format("OEBPS/font.otf")}
    assert records(with_font)[0].invalid is None


@pytest.mark.parametrize(
    "declaration",
    [
        '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>',
        '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/hostname">]>',
        '<!DOCTYPE x [<!ENTITY % a SYSTEM "http://127.0.0.1:9/a.dtd"> %a;]>',
    ],
)
def test_entities_are_refused(records: Callable[..., list[Record]], declaration: str) -> None:
    files = BOOK | {"OEBPS/book.opf": opf(ITEMS, doctype=declaration)}
    assert reason(records(files)).startswith("its OEBPS/book.opf is no usable XML: declares the entity '")


def test_an_external_dtd_is_named_and_not_fetched(records: Callable[..., list[Record]]) -> None:
    doctype = '<!DOCTYPE package PUBLIC "-//X//EN" "http://127.0.0.1:9/package.dtd">'
    assert records(BOOK | {"OEBPS/book.opf": opf(ITEMS, doctype=doctype)})[0].invalid is None


def test_damaged_files(records: Callable[..., list[Record]]) -> None:
    whole = pack(BOOK)
    assert reason(records(whole[:-30])).startswith("is no EPUB or is damaged (")
    assert reason(records(b"")).startswith("is no EPUB or is damaged (")
    flipped = bytearray(whole)
    at = whole.index(b"two.xhtml") + len(b"two.xhtml") + 20
    flipped[at] ^= 0xFF
    assert reason(records(bytes(flipped))).startswith("is no EPUB or is damaged (")
    assert reason(records({"mimetype": "x"})) == "is no EPUB or is damaged: it lacks META-INF/container.xml"
    assert reason(records(BOOK | {"META-INF/container.xml": "<a>"})).startswith(
        "its META-INF/container.xml is no usable XML: "
    )
    assert "names no package document" in reason(records(BOOK | {"META-INF/container.xml": "<a/>"}))


def test_a_book_of_pictures_holds_no_text(records: Callable[..., list[Record]]) -> None:
    files = BOOK | {path: "<html><body><img src='a.png'/></body></html>" for path in BOOK if path.endswith(".xhtml")}
    assert reason(records(files)) == "holds no text, only pictures"
    assert reason(records(files, by_chapter=True)) == "holds no text, only pictures"


def test_limits(records: Callable[..., list[Record]]) -> None:
    long = BOOK | {"OEBPS/two.xhtml": "<html><body>" + "a word or two, " * 100 + "</body></html>"}
    assert "OEBPS/two.xhtml makes the document larger" in reason(records(long, maximum_document_bytes=1024))
    assert [record.invalid is None for record in records(long, by_chapter=True, maximum_document_bytes=1024)] == [
        True,
        False,
    ]
    bomb = BOOK | {"OEBPS/two.xhtml": b" " * (17 << 20)}
    assert reason(records(bomb)).startswith("the book unpacks to more than 200 times its size")


def test_books_as_a_source(read: Callable[..., Any]) -> None:
    scan = BOOK | {path: "<html><body/></html>" for path in BOOK if path.endswith(".xhtml")}
    files = {"a.epub": pack(BOOK), "more.zip": pack({"b/c.epub": pack(scan), "d.epub": pack(BOOK), "e.txt": "no"})}
    reading = read(files, format="epub", on_invalid="skip")
    assert [row["path"] for row in reading.documents] == ["a.epub", "more/d.epub"]
    assert len(set(reading.texts)) == 1 and len(set(reading.ids)) == 2
    assert [(row["path"], row["reason"]) for row in reading.skipped] == [
        ("more/b/c.epub", "holds no text, only pictures")
    ]
    with pytest.raises(RawTextError, match=r"file more/b/c\.epub: holds no text, only pictures; correct or exclude it"):
        read(files, format="epub")
    chapters = read({"a.epub": pack(BOOK)}, format="epub", documents={"by": "chapter"})
    assert [row["byte_start"] for row in chapters.documents] == [0, 1]
