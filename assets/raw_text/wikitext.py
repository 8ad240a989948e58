"""MediaWiki's markup to readable text: one pass of regular expressions a construct, each linear in the page.

A full parser (mwparserfromhell 0.7) reads about 1 MB/s, which is more than a day for an English Wikipedia; what is
dropped here need not be understood, only delimited. What remains: paragraphs, headings and list items as lines, the
labels of links, and the contents of ``math``, ``code``, ``pre`` and the like as they are.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

# Namespaces whose links show a picture or sort the page, as English and Chinese pages write them.
HIDDEN_NAMESPACES = frozenset(
    ["file", "image", "media", "category", "文件", "檔案", "档案", "图像", "圖像", "媒体", "媒體", "分类", "分類"]
)

# What a language variant falls back to (MediaWiki's ZhConverter).
_FALLBACKS = {
    "zh-hans": ("zh-hans", "zh-cn", "zh-sg", "zh-my"),
    "zh-cn": ("zh-cn", "zh-hans", "zh-sg", "zh-my"),
    "zh-sg": ("zh-sg", "zh-my", "zh-hans", "zh-cn"),
    "zh-my": ("zh-my", "zh-sg", "zh-hans", "zh-cn"),
    "zh-hant": ("zh-hant", "zh-tw", "zh-hk", "zh-mo"),
    "zh-tw": ("zh-tw", "zh-hant", "zh-hk", "zh-mo"),
    "zh-hk": ("zh-hk", "zh-mo", "zh-hant", "zh-tw"),
    "zh-mo": ("zh-mo", "zh-hk", "zh-hant", "zh-tw"),
}

# Templates that show one of their parameters as part of the sentence: its number from 1.
_SHOWN_PARAMETER = {"lang": 2, "nowrap": 1, "nobr": 1, "le": 1, "tsl": 3, "ilh": 1, "small": 1, "big": 1}
_LINK_TEMPLATE = re.compile(r"link-[a-z]+")

_COMMENT_LINE = re.compile(r"\n[ \t]*<!--(?:(?!-->)[^\n])*-->[ \t]*(?=\n)")
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_VERBATIM = ("nowiki", "pre", "math", "chem", "ce", "code", "syntaxhighlight", "source")
_DROPPED = (
    *("ref", "references", "gallery", "timeline", "imagemap", "score", "hiero", "templatestyles", "table", "style"),
    *("mapframe", "maplink", "graph", "includeonly", "categorytree", "inputbox"),
)
_OPEN: dict[tuple[str, ...], re.Pattern[str]] = {
    names: re.compile(rf"<({'|'.join(names)})\b([^<>]*)>", re.IGNORECASE) for names in (_VERBATIM, _DROPPED)
}
_CLOSE = {name: re.compile(rf"</{name}\s*>", re.IGNORECASE) for name in (*_VERBATIM, *_DROPPED)}
# NUL is no character of XML, so that no page holds one.
_STASHED = re.compile("\0(\\d+)\0")

_BRACES = re.compile(r"\{\{|\}\}|^[ \t:]*\{\||^[ \t]*\|\}(?!\})", re.MULTILINE)
_LONGEST_SHOWN = 1000
_PARAMETER_END = re.compile(r"\|(?![^\[\]]*\]\])")
_NAMED = re.compile(r"\s*\w+\s*=")
_VARIANTS = re.compile(r"-\{(?!\{)([^{}]*)\}-")
_FLAGS = re.compile(r"([A-Za-z; -]*)\|")
_RULE_END = re.compile(r";\s*(?=(?:[^;=]*=>)?\s*[a-z]{2,3}(?:-[a-z]+)*\s*:|$)")
_RULE = re.compile(r"(?:[^;=]*=>)?\s*([a-z]{2,3}(?:-[a-z]+)*)\s*:(.*)", re.DOTALL)

_LANGUAGE_LINK = re.compile(r"^[ \t]*\[\[[a-z][a-z-]{1,11}:[^\[\]|\n]+\]\][ \t]*$", re.MULTILINE)
_EXTERNAL_LINK = re.compile(r"\[(?:(?:https?:|ftp:)?//|mailto:)[^\s\[\]<>]+((?:[\s<>][^\[\]\n]*)?)\]")
_LINK = re.compile(r"\[\[((?:[^\[\]]++|\[[^\[\]]*\])*+)\]\]")
_QUOTES = re.compile("'{2,}")
_NOWIKI = re.compile(r"</?nowiki\s*/?>", re.IGNORECASE)
_SWITCH = re.compile(r"__[A-Z]{3,}__")
_BREAK = re.compile(
    r"</?(?:br|p|div|blockquote|center|li|ul|ol|dl|dd|dt|tr|td|th|table|poem|hr|h[1-6])\b[^<>]*>", re.IGNORECASE
)
_TAG = re.compile(
    r"</?(?:span|small|big|sup|sub|u|i|b|s|del|ins|font|abbr|cite|var|kbd|samp|tt|em|strong|strike|q|dfn|mark|bdi|bdo"
    r"|time|data|wbr|ruby|rb|rtc|section|onlyinclude|noinclude|nobr|ref|references|indicator)\b[^<>]*>",
    re.IGNORECASE,
)
_RUBY_READING = re.compile(r"<(rt|rp)\b[^<>]*>[^<>]*</\1\s*>", re.IGNORECASE)
_HEADING = re.compile(r"(={1,6})(.+)\1")
_LIST = re.compile(r"[*#][*#:;]*[ \t]*|[:;][*#:;]*[ \t]*")
_EMPTY_PARENTHESES = re.compile(r"[ \t]?(?:\([\s,;:/、]*\)|（[\s,;:/，；：、]*）)")
_PARENTHESIS_START = re.compile(r"([(（])\s*[,;，；、]\s*")
_SPACES = re.compile(r"(?<=\S)[ \t]{2,}")


def plain_text(wikitext: str, *, language: str = "", hidden_namespaces: frozenset[str] = HIDDEN_NAMESPACES) -> str:
    """The readable text of a page; empty if it is made of templates, tables and pictures alone.

    Templates (but for those that show a word, such as ``lang``), tables, references, files, categories, galleries and
    comments are dropped, and with them headings that have nothing left below them. List items begin with ``- ``.

    Args:
        wikitext: The page as an editor sees it.
        language: Which variant of ``-{zh-hans:...;zh-hant:...}-`` is shown, e.g. ``zh-Hant``; the first if none fits.
        hidden_namespaces: In lower case; links into them show nothing.
    """
    text = wikitext
    if "<!--" in text:
        text = _COMMENT.sub("", _COMMENT_LINE.sub("", text))
    stash: list[str] = []
    text = _cut_elements(text, _VERBATIM, stash)
    text = _cut_elements(text, _DROPPED, None)
    text = _show_variants(text, language)
    text = _show_variants(_cut_braces(text), language)
    text = _show_links(text, hidden_namespaces)
    if "''" in text:
        text = _QUOTES.sub(_apostrophes, text)
    if "__" in text:
        text = _SWITCH.sub("", text)
    if "<" in text:
        text = _TAG.sub("", _BREAK.sub("\n", _RUBY_READING.sub("", text)))
    text = _lines(html.unescape(text) if "&" in text else text)
    return _STASHED.sub(lambda match: stash[int(match[1])], text).strip()


def _cut_elements(text: str, names: tuple[str, ...], stash: list[str] | None) -> str:
    """Without these elements; if there is a stash, their contents go there and a mark stays.

    One that is never closed is left, as MediaWiki shows it; that there is no end tag is found out once a name.
    """
    parts: list[str] = []
    position = 0
    unclosed: set[str] = set()
    for match in _OPEN[names].finditer(text):
        name = match[1].lower()
        if match.start() < position or name in unclosed:
            continue
        if match[2].endswith("/"):
            parts.append(text[position : match.start()])
            position = match.end()
            continue
        end = _CLOSE[name].search(text, match.end())
        if end is None:
            unclosed.add(name)
            continue
        parts.append(text[position : match.start()])
        if stash is not None:
            content = text[match.end() : end.start()].strip("\n")
            if name in ("code", "pre"):
                content = _NOWIKI.sub("", content)
            parts.append(f"\0{len(stash)}\0")
            stash.append(html.unescape(content))
        position = end.end()
    parts.append(text[position:])
    return "".join(parts)


def _cut_braces(text: str) -> str:
    """Without templates and tables, nested to any depth; what is never closed stays as it is."""
    frames: list[tuple[str, list[str]]] = [("", [])]
    position = 0
    for match in _BRACES.finditer(text):
        token = match.group().strip(" \t:")
        frames[-1][1].append(text[position : match.start()])
        position = match.end()
        if token in ("{{", "{|"):
            frames.append((match.group(), []))
            continue
        opener = "{{" if token == "}}" else "{|"
        depth = next((at for at in range(len(frames) - 1, 0, -1) if frames[at][0].endswith(opener)), 0)
        # The end of a table cannot stand outside the template that the table does not stand in.
        if not depth or (opener == "{|" and depth != len(frames) - 1):
            frames[-1][1].append(match.group())
            continue
        content = "".join(frames[depth][1])
        del frames[depth:]
        frames[-1][1].append(_shown(content) if opener == "{{" else "")
    whole = "".join(opener + "".join(parts) for opener, parts in frames)
    return whole + text[position:]


def _shown(template: str) -> str:
    """What a template shows in a sentence, as far as that is known from its name."""
    name, separator, rest = template.partition("|")
    name = name.strip().lower()
    number = 1 if _LINK_TEMPLATE.fullmatch(name) else _SHOWN_PARAMETER.get(name)
    if number is None or not separator or len(rest) > _LONGEST_SHOWN:
        return ""
    parameters = [part for part in _PARAMETER_END.split(rest) if not _NAMED.match(part)]
    return parameters[number - 1].strip() if len(parameters) >= number else ""


def _show_variants(text: str, language: str) -> str:
    if "-{" not in text:
        return text
    preferred = _preferred_variants(language)
    for _ in range(4):  # they are hardly ever nested deeper
        text, count = _VARIANTS.subn(lambda match: _variant(match[1], preferred), text)
        if not count:
            break
    return text


def _preferred_variants(language: str) -> Sequence[str]:
    """The variants by preference: of ``zh-Hant-HK`` those of ``zh-hk``."""
    name, *rest = language.lower().split("-")
    return next((_FALLBACKS[f"{name}-{part}"] for part in reversed(rest) if f"{name}-{part}" in _FALLBACKS), ())


def _variant(markup: str, preferred: Sequence[str]) -> str:
    flags = _FLAGS.match(markup)
    names = {flag.strip() for flag in flags[1].split(";")} if flags else set()
    body = markup[flags.end() :] if flags else markup
    if names & {"H", "T", "-"}:
        return ""
    if "R" in names:
        return body
    rules: dict[str, str] = {}
    for part in _RULE_END.split(body):
        rule = _RULE.fullmatch(part.strip())
        if rule:
            rules.setdefault(rule[1], rule[2].strip())
    if not rules:
        return body
    return next((rules[variant] for variant in preferred if variant in rules), next(iter(rules.values())))


def _show_links(text: str, hidden_namespaces: frozenset[str]) -> str:
    if "[" not in text:
        return text

    def label(match: re.Match[str]) -> str:
        target, bar, shown = match[1].partition("|")
        target = target.strip()
        namespace, colon, _ = target.partition(":")
        if colon and namespace.strip().replace("_", " ").lower() in hidden_namespaces:
            return ""
        return shown.strip() if bar and shown.strip() else target.removeprefix(":")

    text = _LANGUAGE_LINK.sub("", text)
    # From the inside out: the caption of a picture holds links.
    for _ in range(8):
        text = _EXTERNAL_LINK.sub(lambda match: match[1].strip(), text)
        text, count = _LINK.subn(label, text)
        if not count:
            break
    return text


def _apostrophes(match: re.Match[str]) -> str:
    """What two or more of them show: two, three and five are italics and bold; of others those too many are text."""
    count = len(match[0])
    return "'" if count == 4 else "'" * max(0, count - 5)


def _lines(text: str) -> str:
    """Lines without list and heading markup, headings between blank lines, none with nothing below it."""
    result: list[str] = []
    waiting: list[tuple[int, str]] = []
    for raw in text.split("\n"):
        line = raw.strip()
        if line.startswith("="):
            heading = _HEADING.fullmatch(line)
            if heading:
                level = len(heading[1])
                while waiting and waiting[-1][0] >= level:
                    waiting.pop()
                waiting.append((level, heading[2].strip()))
                continue
        # What is left of a table that is never closed.
        if line.startswith(("|", "{|")):
            continue
        item = line[:1] in "*#:;" and _LIST.match(line)
        content = _tidy(line[item.end() :] if item else line)
        if not content or not content.strip("-"):
            if result and result[-1]:
                result.append("")
            continue
        for _, title in waiting:
            result += ["", title] if result and result[-1] else [title]
            result.append("")
        waiting = []
        result.append(f"- {content}" if item and line[0] in "*#" else content)
    return "\n".join(result)


def _tidy(line: str) -> str:
    """Mend what dropped templates leave in a sentence."""
    if "(" in line or "（" in line:
        line = _EMPTY_PARENTHESES.sub("", _PARENTHESIS_START.sub(r"\1", line))
    return _SPACES.sub(" ", line).strip()
