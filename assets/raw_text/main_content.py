"""What resiliparse takes for no part of a page's main content although it is.

- An element or text of a single character of three bytes counts there as a glyph of an icon font: so would go each
  Chinese character in bold, and each comma between two links.
- A ``figure`` counts as a picture, but many sites put tables, quotations and all their code into figures.
- A ``time`` counts as the date of publication, also in the middle of a sentence.
- A ``ul`` less than three elements below the body counts as the site's navigation.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

from resiliparse.parse.html import ElementNode, HTMLTree

# A noncharacter, which no text holds.
_MARK = "\ufdd0"
_LONE_CHARACTER = re.compile(r"((?:(?<=>)|\A)\s*)([\u0800-\uffff]|&(?:#\w{2,8}|[A-Za-z]\w{1,30});?)(?=\s*(?:<|\Z))")
_FIGURE = re.compile(r"<(/?)figure(?=[\s/>])", re.IGNORECASE)
_TIME_IN_SENTENCE = re.compile(r"<time\b[^<>]*>([^<>]*)</time\s*>(?=\s*[^\s<])", re.IGNORECASE)
_THREE_BYTES = range(0x800, 0x10000)
_NAVIGATION_DEPTH = 3
_LINK = re.compile(r"<a[\s>][^<]*(?:<(?!/?a[\s>])[^<]*)*</a>")
_NO_TEXT = re.compile(r"<[^>]*>|\s+")


def protect(page: str) -> str:
    """The page as it must be written that all but its lists is kept; it holds marks, see ``without_marks``."""
    page = _FIGURE.sub(r"<\1section", page)
    page = _TIME_IN_SENTENCE.sub(r"\1", page)
    return _LONE_CHARACTER.sub(_marked, page)


def without_marks(text: str) -> str:
    """Text of a protected page as it was."""
    return text.replace(_MARK, "")


def keep_lists(tree: HTMLTree) -> None:
    """Move lists near the body, but for those of links, as deep into the page as the content of most pages lies."""
    if tree.document is None or not tree.document.query_selector("ul"):
        return
    for element in list(_elements_near_body(tree)):
        if element.tag == "ul" and not _is_of_links(element.html):
            _move_down(tree, element)


def _elements_near_body(tree: HTMLTree) -> Iterator[ElementNode]:
    level = [tree.body] if tree.body else []
    for _ in range(_NAVIGATION_DEPTH):
        level = [child for element in level for child in _children(element)]
        yield from level


def _children(element: ElementNode) -> Iterator[ElementNode]:
    child = element.first_element_child
    while child:
        yield child
        child = child.next_element


def _is_of_links(markup: str) -> bool:
    text = _NO_TEXT.sub("", markup)
    return 2 * len(_NO_TEXT.sub("", _LINK.sub("", markup))) < len(text)


def _move_down(tree: HTMLTree, element: ElementNode) -> None:
    for _ in range(_NAVIGATION_DEPTH):
        parent, wrapper = element.parent, tree.create_element("div")
        assert parent is not None
        assert wrapper is not None
        parent.replace_child(wrapper, element)
        wrapper.append_child(element)


def _marked(match: re.Match[str]) -> str:
    character = html.unescape(match[2])
    # An icon is not printable: it lies in the area for private use. Nor are spaces, of which one alone is no text.
    lone = len(character) == 1 and ord(character) in _THREE_BYTES and character.isprintable()
    return match[0] + _MARK if lone else match[0]
