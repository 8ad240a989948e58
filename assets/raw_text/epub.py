"""EPUB 2 and 3: the book's text in the order of its spine.

An EPUB is a zip. ``META-INF/container.xml`` names the package document (OPF), which holds the metadata, the manifest of
all files and the spine: the order in which the XHTML files are read (EPUB 3.3, sections 4 and 5).
"""

from __future__ import annotations

import html
import posixpath
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from assets.raw_text.archive import member_name
from assets.raw_text.catalogue import HtmlSettings, Source
from assets.raw_text.compression import DAMAGED, check_limits
from assets.raw_text.errors import RawTextError
from assets.raw_text.html import PageError, decode, extract
from assets.raw_text.http_response import media_type
from assets.raw_text.metadata import NO_METADATA, metadata_json
from assets.raw_text.records import Record
from assets.raw_text.xml_events import Element, XmlError, read_elements

_CONTAINER = "META-INF/container.xml"
_ENCRYPTION = "META-INF/encryption.xml"
_XHTML = ("application/xhtml+xml", "text/html", "application/x-dtbook+xml")
# What old tools write instead: that of EPUB's predecessor, and those of all XML.
_OLD_XHTML = ("text/x-oeb1-document", "application/xml", "text/xml")
_METADATA = ("title", "creator", "language", "identifier", "date", "publisher")
# Package documents of thousands of chapters stay far below this.
_LARGEST_XML = 16 << 20

_CHAPTER = HtmlSettings(main_content=False, maximum_bytes=512 << 20)
# An HTML parser takes <title/> for the beginning of a title that never ends, and does not know CDATA.
_EMPTY_RAW_ELEMENT = re.compile(r"<(title|script|style|textarea|iframe|noscript|noframes|xmp)\b([^<>]*)/>", re.I)
_CDATA = "<![CDATA["
# zipfile lets pass that a name is no UTF-8, and seeks to wherever a damaged directory points.
_UNREADABLE: tuple[type[Exception], ...] = (*DAMAGED, OSError, NotImplementedError, RuntimeError, UnicodeDecodeError)


class _BookError(ValueError):
    """Why a book or a part of it cannot be read."""


@dataclass(frozen=True)
class _Book:
    """Metadata, and the paths of the spine's files in the zip; a path that is None stands for a picture or the like."""

    metadata: dict[str, str]
    spine: list[str | None]


def read_epub(path: Path, source: Source, *, by_chapter: bool = False) -> Iterator[Record]:
    """The book as one document, or a document for each file of its spine that holds text.

    A document's ``byte_start`` and ``byte_end`` count the spine's files from 0; its identity is made of their bytes.
    The chapters of a book are separated by a blank line. Tables of contents (EPUB 3's navigation document) and what is
    no XHTML are left out. Metadata: title, creator, language, identifier, date, publisher and, by chapter, the file.

    Args:
        path: The EPUB.
        source: Its limits.
        by_chapter: A document for each file of the spine.
    """
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            for info in archive.infolist():
                archive.NameToInfo.setdefault(member_name(info), info)
            book = _open_book(archive)
            _check_size(archive, book, source)
            yield from _chapters(archive, book, source) if by_chapter else _whole(archive, book, source)
    except _BookError as error:
        yield _invalid(str(error))
    except _UNREADABLE as error:
        if isinstance(error, OSError) and error.errno is not None and error.filename is not None:
            raise
        yield _invalid(f"is no EPUB or is damaged ({error}); fetch it again")


def _open_book(archive: zipfile.ZipFile) -> _Book:
    rootfiles = [element for element in _xml(archive, _CONTAINER) if element.name == "rootfile"]
    if not rootfiles or "full-path" not in rootfiles[0].attributes:
        raise _BookError(f"is no EPUB: its {_CONTAINER} names no package document")
    opf = rootfiles[0].attributes["full-path"]
    elements = _xml(archive, opf)
    manifest = {
        element.attributes.get("id", ""): element.attributes
        for element in elements
        if element.name == "item" and "href" in element.attributes
    }
    spine: list[str | None] = []
    for element in elements:
        if element.name != "itemref":
            continue
        item = manifest.get(element.attributes.get("idref", ""))
        if item is None:
            raise _BookError(f"its spine names '{element.attributes.get('idref', '')}', which its manifest lacks")
        kind = media_type(item.get("media-type", ""))
        is_text = kind in _XHTML + _OLD_XHTML and "nav" not in item.get("properties", "").split()
        spine.append(_resolve(opf, item["href"]) if is_text else None)
    if not any(spine):
        raise _BookError("its spine holds no XHTML")
    encrypted = _encrypted(archive)
    for path in filter(None, spine):
        if path in encrypted:
            raise _BookError("is encrypted (digital rights management)")
    return _Book(_metadata(elements), spine)


def _metadata(elements: list[Element]) -> dict[str, str]:
    """The first of each; creators, of whom a book may have several, separated by semicolons."""
    found: dict[str, list[str]] = {name: [] for name in _METADATA}
    for element in elements:
        if element.name == "manifest":
            break
        text = " ".join(element.text.split())
        if element.name in found and text:
            found[element.name].append(text)
    return {name: "; ".join(texts) if name == "creator" else texts[0] for name, texts in found.items() if texts}


def _encrypted(archive: zipfile.ZipFile) -> set[str]:
    """Paths of the files that cannot be read; fonts are often obfuscated, and nobody needs them here."""
    if _ENCRYPTION not in archive.namelist():
        return set()
    return {
        _resolve("", element.attributes.get("URI", ""))
        for element in _xml(archive, _ENCRYPTION)
        if element.name == "CipherReference"
    }


def _check_size(archive: zipfile.ZipFile, book: _Book, source: Source) -> None:
    infos = [archive.NameToInfo[path] for path in filter(None, book.spine) if path in archive.NameToInfo]
    try:
        check_limits(
            "the book",
            sum(info.file_size for info in infos),
            sum(info.compress_size for info in infos),
            maximum_bytes=source.maximum_unpacked_bytes,
            maximum_ratio=source.maximum_compression_ratio,
        )
    except RawTextError as error:
        raise _BookError(str(error)) from None


def _whole(archive: zipfile.ZipFile, book: _Book, source: Source) -> Iterator[Record]:
    raw: list[bytes] = []
    texts: list[str] = []
    size = 0
    for path in filter(None, book.spine):
        data = _member(archive, path, source.maximum_document_bytes - size)
        size += len(data)
        raw.append(data)
        texts.append(_text(data, path, source))
    text = "\n\n".join(filter(None, texts))
    if not text:
        raise _BookError("holds no text, only pictures")
    yield Record(text, b"".join(raw), 0, len(book.spine), None, metadata_json(book.metadata))


def _chapters(archive: zipfile.ZipFile, book: _Book, source: Source) -> Iterator[Record]:
    found = False
    for number, path in enumerate(book.spine):
        if path is None:
            continue
        try:
            data = _member(archive, path, source.maximum_document_bytes)
            text = _text(data, path, source)
        except _BookError as error:
            found = True
            yield _invalid(str(error), number)
            continue
        if text:
            found = True
            yield Record(text, data, number, number + 1, None, metadata_json(book.metadata | {"file": path}))
    if not found:
        raise _BookError("holds no text, only pictures")


def _text(data: bytes, path: str, source: Source) -> str:
    try:
        markup, _ = decode(data, language=source.language)
        markup = _EMPTY_RAW_ELEMENT.sub(r"<\1\2></\1>", markup)
        return extract(_without_cdata(markup), _CHAPTER).text.strip()
    except PageError as error:
        raise _BookError(f"its chapter {path} cannot be read: {error}") from None


def _without_cdata(markup: str) -> str:
    first, *rest = markup.split(_CDATA)
    parts = [first]
    for part in rest:
        content, end, after = part.partition("]]>")
        parts += [html.escape(content), after] if end else [_CDATA, part]
    return "".join(parts)


def _xml(archive: zipfile.ZipFile, path: str) -> list[Element]:
    data = _member(archive, path, _LARGEST_XML)
    try:
        return read_elements(data)
    except XmlError as error:
        raise _BookError(f"its {path} is no usable XML: {error}") from None


def _member(archive: zipfile.ZipFile, path: str, maximum_bytes: int) -> bytes:
    try:
        info = archive.getinfo(path)
    except KeyError:
        raise _BookError(f"is no EPUB or is damaged: it lacks {path}") from None
    # zipfile reads no more of a member than its declared size.
    if info.file_size > maximum_bytes:
        raise _BookError(f"{path} makes the document larger than the limit of maximum_document_bytes")
    return archive.read(info)


def _resolve(opf: str, href: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(opf), unquote(href.partition("#")[0])))


def _invalid(reason: str, number: int = 0) -> Record:
    return Record("", b"", number, number + 1, None, NO_METADATA, reason)
