"""Pages in HTML become text: the main content with its paragraphs, by resiliparse, which parses as browsers do.

Pages are damaged in as many ways as there are sites, so nothing about the markup is an error. Refused is only what
would take time or memory out of proportion to its size.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urljoin, urlsplit

from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.encoding import map_encoding_to_html5
from resiliparse.parse.html import HTMLTree

from assets.raw_text.catalogue import HtmlSettings
from assets.raw_text.encoding import byte_order_mark, detect
from assets.raw_text.main_content import keep_lists, protect, without_marks
from assets.raw_text.metadata import add_metadata
from assets.raw_text.records import Record

# Where the WHATWG's standard looks for a declaration.
_DECLARATION_BYTES = 1024
_DECLARATION = re.compile(
    rb"<\?xml[^>]{0,200}?encoding\s*=\s*[\"']([\w.:-]+)|<meta[^>]{0,500}?charset\s*=\s*[\"']?\s*([\w.:-]+)",
    re.IGNORECASE,
)
# As browsers read them, each is a larger one than its name says.
_SUPERSETS = {"gbk": "gb18030", "gb2312": "gb18030", "big5": "big5hkscs", "shift_jis": "cp932", "euc-kr": "cp949"}
_SAMPLE_BYTES = 1 << 20

# A page needs about 300 bytes of memory for each of its tags.
_MAXIMUM_TAGS = 1 << 20
# The time for the main content and the size of indented lists grow with the sum of the sizes of these elements, each
# with all that lies in it: about 40 ns for a character in each. Pages are some 20 deep.
_NESTING = re.compile(r"<(/?)(?:div|article|ul|ol)(?=[\s/>])")
_MAXIMUM_NESTED_CHARACTERS = 1 << 28
_ORDINARY_DEPTH = 64
# The parser's time grows with the square of the options in a row that are not closed: 10,000 take a second.
_OPTION = re.compile(r"<(/?)option(?=[\s/>])")
_MAXIMUM_OPEN_OPTIONS = 10_000

# In XHTML any element may close itself; in HTML these would go on, some to the end of the page.
_SELF_CLOSED = re.compile(r"<(title|script|style|textarea|iframe|noscript|div|span|p|a|b|i|em|td|th|li)\b([^<>]*)/>")
_SPACE = re.compile(r"\s+")
# The reading of a character, set above it, would stand in the middle of the sentence.
_SKIPPED_ELEMENTS = ("rt", "rp")


class PageError(ValueError):
    """A page cannot be read; the message says why."""


@dataclass(frozen=True)
class Page:
    """What a page says.

    Attributes:
        text: Its text; blank if it has none.
        metadata: ``title``, ``url`` (the canonical address, if it is absolute) and ``language``, as far as the page
            says them.
    """

    text: str
    metadata: dict[str, str] = field(default_factory=dict)


def extract(html: str, settings: HtmlSettings) -> Page:
    """A page's text and what it says about itself.

    Args:
        html: The page.
        settings: What of it is text.

    Raises:
        PageError: If it is too large, has too many tags or is nested too deeply.
    """
    if len(html) > settings.maximum_bytes:
        raise PageError(f"the page is larger than {settings.maximum_bytes:,} bytes (html.maximum_bytes)")
    tags = html.count("<")
    if tags > _MAXIMUM_TAGS:
        raise PageError(f"the page has more than {_MAXIMUM_TAGS:,} tags")
    if tags > _MAXIMUM_OPEN_OPTIONS or tags * len(html) > _MAXIMUM_NESTED_CHARACTERS:
        _check_nesting(html)
    if html.startswith("<?xml"):
        html = _SELF_CLOSED.sub(r"<\1\2></\1>", html)
    if settings.main_content:
        html = protect(html)
    # JSON may hold half a surrogate pair; a page as bytes may not, and shows this instead.
    tree = HTMLTree.parse(html if html.isascii() else html.encode("utf-8", "replace").decode())
    if settings.main_content:
        keep_lists(tree)
    text = extract_plain_text(
        tree,
        main_content=settings.main_content,
        links=settings.links,
        alt_texts=settings.alt_texts,
        comments=settings.comments,
        skip_elements=_SKIPPED_ELEMENTS,
    )
    return Page(without_marks(text), _metadata(tree))


def extract_records(records: Iterator[Record], settings: HtmlSettings) -> Iterator[Record]:
    """Records that hold a page, with the page's text; their own metadata goes before what the page says of itself."""
    for record in records:
        yield record if record.invalid else page_record(record, record.text, settings)


def page_record(record: Record, html: str, settings: HtmlSettings) -> Record:
    """A record with a page's text and metadata, or with the reason why it has none."""
    try:
        page = extract(html, settings)
    except PageError as error:
        return record._replace(text="", raw=b"", invalid=str(error))
    if not page.text or page.text.isspace():
        return record._replace(text="", raw=b"", invalid="the page holds no text beside navigation and the like")
    return record._replace(text=page.text, metadata=add_metadata(record.metadata, page.metadata))


def decode(
    data: bytes, *, encoding: str | None = None, declared: str | None = None, language: str | None = None
) -> tuple[str, str]:
    """A page's characters, and the codec that gave them.

    Tried in this order: the byte order mark; ``encoding``; UTF-8, which no other encoding passes for, whatever is
    declared; ``declared``; what the page declares; what ``detect`` says. Without a mark or ``encoding`` the first that
    maps every byte is taken; of a damaged page, which has none, that of the declared and detected ones which leaves the
    fewest U+FFFD for the damage.

    Args:
        data: The page.
        encoding: A codec set by the user.
        declared: What the server said its encoding is.
        language: Code of the language it is thought to be in, by which ``detect`` decides.

    Raises:
        PageError: If nothing is declared and no encoding fits.
    """
    mark = byte_order_mark(data)
    if mark:
        return data[mark[1] :].decode(mark[0], "replace"), mark[0]
    if encoding:
        return data.decode(encoding, "replace"), encoding
    found = _DECLARATION.search(data[:_DECLARATION_BYTES])
    labels = [declared, (found[1] or found[2]).decode() if found else None]
    candidates = [codec for codec in map(_codec, labels) if codec]
    if b"\0" not in data:
        candidates = [codec for codec in candidates if not codec.startswith("utf-16")]
        if not data.isascii():
            candidates.insert(0, "utf-8")
    for codec in candidates:
        if (text := _decode_exactly(data, codec)) is not None:
            return text, codec
    detected = detect(data[:_SAMPLE_BYTES], language) or ("ascii" if data.isascii() and b"\0" not in data else None)
    if detected and (text := _decode_exactly(data, detected)) is not None:
        return text, detected
    named = [codec for codec in map(_codec, labels) if codec in candidates]
    texts = [(data.decode(codec, "replace"), codec) for codec in dict.fromkeys([*named, detected]) if codec]
    if not texts:
        raise PageError("no encoding fits its bytes; name its encoding under 'encoding', or exclude what is no text")
    return min(texts, key=lambda decoded: decoded[0].count("\ufffd"))


def _codec(label: str | None) -> str | None:
    """Python's codec for a declared encoding, None if it is none that pages are in."""
    name = map_encoding_to_html5(label.strip().strip("\"'"), fallback_utf8=False) if label else None
    try:
        return codecs.lookup(_SUPERSETS.get(name, name)).name if name else None
    except LookupError:
        return None


def _decode_exactly(data: bytes, codec: str) -> str | None:
    try:
        return data.decode(codec)
    except UnicodeDecodeError:
        return None


def _check_nesting(html: str) -> None:
    html = html.lower()
    limit = max(_MAXIMUM_NESTED_CHARACTERS, _ORDINARY_DEPTH * len(html))
    depth = nested = last = opened = 0
    for match in _NESTING.finditer(html):
        nested += depth * (match.start() - last)
        last = match.start()
        depth = max(0, depth - 1) if match[1] else depth + 1
    if nested + depth * (len(html) - last) > limit:
        raise PageError("the page's elements are nested too deeply")
    for match in _OPTION.finditer(html):
        opened = max(0, opened - 1) if match[1] else opened + 1
        if opened > _MAXIMUM_OPEN_OPTIONS:
            raise PageError(f"the page has more than {_MAXIMUM_OPEN_OPTIONS:,} options that are not closed")


def _metadata(tree: HTMLTree) -> dict[str, str]:
    found = {}
    title = _SPACE.sub(" ", without_marks(tree.title or "")).strip()
    if title:
        found["title"] = title
    url = _address(tree)
    if url:
        found["url"] = url
    language = _attribute(tree, "html[lang]", "lang")
    if language:
        found["language"] = language
    return found


def _address(tree: HTMLTree) -> str | None:
    """The page's canonical address, or else its base; None if neither is an absolute address."""
    base = _attribute(tree, "base[href]", "href")
    try:
        address = urlsplit(urljoin(base, _attribute(tree, 'link[rel~="canonical"][href]', "href")))
    except ValueError:
        return None
    return address.geturl() if address.scheme in ("http", "https") and address.netloc else None


def _attribute(tree: HTMLTree, selector: str, name: str) -> str:
    node = tree.document.query_selector(selector) if tree.document else None
    return (node.getattr(name) or "").strip() if node else ""
