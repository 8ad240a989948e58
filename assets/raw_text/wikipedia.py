"""MediaWiki's XML dumps (``pages-articles.xml``): one document for each article.

Read by expat from a stream: memory holds one block and one page. Only the main namespace is read, without redirects
and without pages that hold something other than wikitext; of a page with several revisions the last one.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import quote

from assets.raw_text.catalogue import Source
from assets.raw_text.compression import UnpackedStream
from assets.raw_text.errors import DamagedError
from assets.raw_text.metadata import NO_METADATA, metadata_json
from assets.raw_text.records import Record
from assets.raw_text.wikitext import HIDDEN_NAMESPACES, plain_text
from assets.raw_text.xml_events import XmlError, create_parser, parse_block

_BLOCK_BYTES = 1 << 16
_PAGE_END = len(b"</page>")
# Media, files, categories (MediaWiki's namespace constants).
_HIDDEN_KEYS = {"-2", "6", "14"}
# Old dumps have no element for it.
_REDIRECT = re.compile(r"\s*#(?:redirect|重定向|重新導向)\s*:?\s*\[\[", re.IGNORECASE)


@dataclass
class _Page:
    """A page as far as it has been read; its size is that of its wikitext in characters."""

    byte_start: int
    byte_end: int = 0
    fields: dict[str, str] = field(default_factory=dict)
    is_redirect: bool = False
    size: int = 0


class _DumpParser:
    """Collects the pages that are complete, and what the head of the dump says of all."""

    def __init__(self, maximum_characters: int) -> None:
        self.pages: list[_Page] = []
        self.base = ""
        self.hidden_namespaces = set(HIDDEN_NAMESPACES)
        self._maximum_characters = maximum_characters
        self._page: _Page | None = None
        self._path: list[str] = []
        self._text: list[str] = []
        self._namespace = ""
        self._parser = create_parser()
        self._parser.buffer_size = 1 << 16
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters

    def feed(self, data: bytes) -> None:
        """Parse a block; an empty one is the end."""
        parse_block(self._parser, data, final=not data)

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if not self._path and name != "mediawiki":
            raise XmlError(f"its first element is <{name}>, not <mediawiki>")
        self._path.append(name)
        self._text = []
        if name == "page":
            self._page = _Page(self._parser.CurrentByteIndex)
        elif name == "redirect" and self._page:
            self._page.is_redirect = True
        elif name == "namespace":
            self._namespace = attributes.get("key", "")
        elif name == "text" and self._page:
            self._page.size = 0

    def _characters(self, text: str) -> None:
        if self._page and self._path[-1] == "text":
            self._page.size += len(text)
            if self._page.size > self._maximum_characters:
                return
        self._text.append(text)

    def _end(self, name: str) -> None:
        self._path.pop()
        page = self._page
        if name == "page" and page:
            page.byte_end = self._parser.CurrentByteIndex + _PAGE_END
            self.pages.append(page)
            self._page = None
        elif page and self._path[-1] == "page":
            page.fields[name] = "".join(self._text)
        elif page and self._path[-1] == "revision" and name in ("id", "timestamp", "model", "text"):
            page.fields[f"revision {name}"] = "".join(self._text)
        elif name == "base":
            self.base = "".join(self._text).rpartition("/")[0]
        elif name == "namespace" and self._namespace in _HIDDEN_KEYS:
            self.hidden_namespaces.add("".join(self._text).lower())
        self._text = []


def read_wikipedia(stream: UnpackedStream, source: Source, left_out: Counter[str]) -> Iterator[Record]:
    """A document for each article that has text beside its templates, tables and pictures.

    ``byte_start`` and ``byte_end`` are those of the ``<page>`` element; a document's identity is made of the page's id,
    the revision's id and the wikitext. Metadata: id, revision, title, url and date (the revision's time).

    Args:
        stream: The dump, decompressed.
        source: Its language chooses among the variants of a Chinese text; its limits.
        left_out: Counts the pages that are no document: by namespace, as redirect, by content model or as without text.

    Raises:
        DamagedError: If the stream is truncated or damaged and ``on_invalid`` is ``fail``; under ``skip`` the pages
            before that place are kept, and a record says why there are no more.
    """
    parser = _DumpParser(source.maximum_document_bytes)
    position = 0
    while True:
        problem: str | None = None
        data = b""
        try:
            data = stream.read1(_BLOCK_BYTES)
            position += len(data)
            if data or position:
                parser.feed(data)
        except DamagedError as error:
            if source.on_invalid == "fail":
                raise
            problem = str(error)
        except XmlError as error:
            problem = f"is no complete MediaWiki dump: {error}; fetch it again"
        for page in parser.pages:
            record = _record(page, parser, source)
            if isinstance(record, Record):
                yield record
            else:
                left_out[record] += 1
        parser.pages.clear()
        if problem:
            yield Record("", b"", position, position, None, NO_METADATA, problem)
            return
        if not data:
            return


def _record(page: _Page, parser: _DumpParser, source: Source) -> Record | str:
    """The page's document, or the kind of thing it is instead."""
    fields = page.fields
    namespace, model = fields.get("ns", "0"), fields.get("revision model", "wikitext")
    wikitext = fields.get("revision text", "")
    if namespace != "0":
        return f"namespace {namespace}"
    if page.is_redirect or _REDIRECT.match(wikitext):
        return "redirect"
    if model != "wikitext":
        return f"model {model}"
    title = fields.get("title", "")
    if page.size > source.maximum_document_bytes or len(wikitext.encode()) > source.maximum_document_bytes:
        reason = f"the page '{title}' is larger than {source.maximum_document_bytes:,} bytes"
        return Record("", b"", page.byte_start, page.byte_end, None, NO_METADATA, reason)
    text = plain_text(wikitext, language=source.language, hidden_namespaces=frozenset(parser.hidden_namespaces))
    if not text:
        return "no text"
    metadata = {
        "id": fields.get("id"),
        "revision": fields.get("revision id"),
        "title": title,
        "url": f"{parser.base}/{quote(title.replace(' ', '_'), safe='/:,()')}" if parser.base else None,
        "date": fields.get("revision timestamp"),
    }
    raw = "\0".join((fields.get("id", ""), fields.get("revision id", ""), wikitext)).encode()
    return Record(text, raw, page.byte_start, page.byte_end, None, metadata_json(metadata))
