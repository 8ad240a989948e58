"""The report as one HTML file that needs nothing else."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from itertools import groupby
from typing import TYPE_CHECKING

from assets.page_style import STYLE
from assets.vocabulary.report.entries import UNDER_TRAINED
from assets.vocabulary.report.fertility import OURS, FertilityRow
from assets.vocabulary.report.sizes import MODELS, cheapest

if TYPE_CHECKING:
    from assets.vocabulary.report.report import VocabularyDetails

# A byte that is no character: shown as a box where text is read, and as what it is in lists.
_BYTE = re.compile(r"\\x[0-9a-f]{2}")
_OWN = """
.tokens { line-height: 1.9; overflow-wrap: anywhere; white-space: pre-wrap; margin: .3rem 0 1rem; }
.tokens b { font-weight: 400; border-radius: .2rem; padding: .05rem 0; }
.tokens b:nth-child(4n+1) { background: #2f7d5b33; } .tokens b:nth-child(4n+2) { background: #c8553d33; }
.tokens b:nth-child(4n+3) { background: #8a6d1d33; } .tokens b:nth-child(4n) { background: #4a6fa533; }
"""


def report_page(details: VocabularyDetails) -> str:
    """The whole page."""
    entries = details.entries
    cells = [
        ("entries", "词表大小", f"{details.size:,}"),
        ("unused in the sample", "样本中未用", f"{entries.unused:,}"),
        (f"used less than {UNDER_TRAINED} times", "用得太少", f"{entries.under_trained:,}"),
        ("characters never cut", "不被切碎的字符", f"{100 * entries.characters_covered:.1f}%"),
        ("tokens that are bytes", "字节词元", f"{100 * entries.single_bytes:.2f}%"),
        ("unknown", "未登录", f"{100 * entries.unknown:.2f}%"),
    ]
    parts = [
        f"<h1>Vocabulary{_chinese('词表')}</h1>",
        f'<p class="soft">kind {escape(details.kind)}, pattern {escape(details.pattern)}</p>',
        _totals(cells),
        f"<h2>How much text a token holds{_chinese('每个词元承载的文本')}</h2>",
        '<p class="soft">Measured on a sample of each source; more bytes a token is less computing for the same text. '
        "Words are those of a segmenter for Chinese.</p>",
        _fertility(details.fertility),
        _peer_note(details),
        f"<h2>The same text in tokens{_chinese('同一段文字的切分')}</h2>",
        '<p class="soft">▯ is a byte of a character that the vocabulary cuts.</p>',
        *(_example(language, by_name) for language, by_name in details.examples.items()),
        f"<h2>Numbers{_chinese('数字')}</h2>",
        _numbers(details.numbers),
        *_sizes(details),
        f"<h2>Longest entries{_chinese('最长的词元')}</h2>",
        _longest(entries.longest),
        f"<h2>Lengths of entries{_chinese('词元长度')}</h2>",
        _lengths(entries.lengths),
        f"<h2>Hardly learned{_chinese('难以学到的词元')}</h2>",
        f"<p>Unused: {_codes(entries.unused_examples)}</p>",
        f"<p>Used less than {UNDER_TRAINED} times: {_codes(entries.under_trained_examples)}</p>",
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Vocabulary of {details.size:,} entries</title>\n<style>{STYLE}{_OWN}</style>\n</head>\n<body>\n"
        + "\n".join(part for part in parts if part)
        + "\n</body>\n</html>\n"
    )


def _totals(cells: Sequence[tuple[str, str, str]]) -> str:
    items = "".join(f"<div><dt>{name}{_chinese(other)}</dt><dd>{value}</dd></div>" for name, other, value in cells)
    return f'<dl class="totals">{items}</dl>'


def _fertility(rows: Sequence[FertilityRow]) -> str:
    head = ("source", "language", "tokenizer", "bytes a token", "characters a token", "tokens a word", "tokens")
    body = []
    for (_, source, language), group in groupby(rows, key=lambda row: (row.dump, row.source, row.language)):
        for number, row in enumerate(group):
            name = f"<strong>{row.tokenizer}</strong>" if row.tokenizer == OURS else escape(row.tokenizer)
            where = [escape(source), escape(language)] if not number else ["", ""]
            figures = [_two(row.bytes_per_token), _two(row.characters_per_token), _two(row.tokens_per_word)]
            body.append([*where, name, *figures, f"{row.tokens:,}"])
    return _table(head, body, text_columns=3)


def _peer_note(details: VocabularyDetails) -> str:
    if any(row.tokenizer != OURS for row in details.fertility):
        return ""
    return '<p class="soft">To see others beside it, name them under <code>tokenizers</code> in the catalogue.</p>'


def _example(language: str, by_name: dict[str, tuple[str, ...]]) -> str:
    blocks = []
    for name, tokens in by_name.items():
        shown = "".join(f"<b>{escape(_BYTE.sub('▯', token))}</b>" for token in tokens)
        blocks.append(
            f'<p class="soft">{escape(language)}, {escape(name)}: {len(tokens)} tokens</p>'
            f'<div class="tokens" lang="{escape(language)}">{shown}</div>'
        )
    return "".join(blocks)


def _numbers(numbers: dict[str, dict[str, tuple[str, ...]]]) -> str:
    names = list(numbers)
    rows = [
        [escape(number), *(" · ".join(map(escape, numbers[name][number])) for name in names)]
        for number in next(iter(numbers.values()))
    ]
    return _table(["number", *map(escape, names)], rows, text_columns=len(names) + 1)


def _sizes(details: VocabularyDetails) -> list[str]:
    if not details.sizes:
        return []
    head = ["entries", "tokens a byte", *MODELS]
    rows = []
    for cost in details.sizes:
        cells = [f"{cost.size:,}", f"{cost.tokens_per_byte:.4f}"]
        for name in MODELS:
            figure = f"{cost.operations[name] / 1e6:,.3g}"
            cells.append(f"<strong>{figure}</strong>" if cheapest(details.sizes, name) == cost.size else figure)
        rows.append(cells)
    return [
        f"<h2>What other sizes cost{_chinese('不同词表大小的训练代价')}</h2>",
        '<p class="soft">Millions of operations of a training step for each byte of text, with a model of the width '
        "and layers of each preset: 6 for each parameter of a matrix and token. In bold the cheapest size; smaller "
        "ones are the first merges of this vocabulary.</p>",
        _table(head, rows, text_columns=0),
    ]


def _longest(longest: dict[str, tuple[str, ...]]) -> str:
    rows = [[escape(script), _codes(texts)] for script, texts in longest.items()]
    return _table(["script", "entries"], rows, text_columns=2)


def _lengths(lengths: dict[str, dict[int, int]]) -> str:
    columns = sorted({min(length, 12) for found in lengths.values() for length in found})
    rows = []
    for script, found in lengths.items():
        sums = [sum(count for length, count in found.items() if min(length, 12) == column) for column in columns]
        rows.append([escape(script), *(f"{count:,}" if count else "" for count in sums)])
    heads = [
        "script",
        *("part" if column == 0 else f"{column}+" if column == 12 else str(column) for column in columns),
    ]
    return _table(heads, rows, text_columns=1)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], *, text_columns: int) -> str:
    def cell(tag: str, place: int, content: str) -> str:
        return f"<{tag}>{content}</{tag}>" if place < text_columns else f'<{tag} class="number">{content}</{tag}>'

    heads = "".join(cell("th", place, content) for place, content in enumerate(head))
    body = "".join(
        "<tr>" + "".join(cell("td", place, content) for place, content in enumerate(row)) + "</tr>" for row in rows
    )
    return f'<div class="scroll"><table><tr>{heads}</tr>{body}</table></div>'


def _codes(texts: Sequence[str]) -> str:
    return " ".join(f"<code>{escape(repr(text)[1:-1])}</code>" for text in texts) or "none"


def _two(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _chinese(text: str) -> str:
    return f' <span lang="zh">{text}</span>'
