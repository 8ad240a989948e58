"""A trace as one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from assets.page_style import STYLE
from assets.trace.documents import TracedDocument
from assets.trace.report import DocumentReport, StepReport, TextReport, times

_OWN = """
blockquote mark { background: none; color: var(--gone); font-weight: 600; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; margin: .5rem 0; font: inherit; }
"""


def trace_page(report: StepReport | DocumentReport | TextReport) -> str:
    """The whole page of a report."""
    if isinstance(report, StepReport):
        title, parts = f"Step {report.step}", _step(report)
    elif isinstance(report, DocumentReport):
        title, parts = f"Document {report.trace.doc_id}", _document(report)
    else:
        title, parts = report.text, _text_places(report)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}{_OWN}</style>\n</head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body>\n</html>\n"
    )


def _step(report: StepReport) -> list[str]:
    tokens = sum(seen.tokens for seen, _ in report.documents)
    of_rank = "" if report.rank is None else f", rank {report.rank}"
    cells = [
        ("sequences", "序列", f"{len(report.samples):,}"),
        ("documents", "文档", f"{len(report.documents):,}"),
        ("tokens", "词元", f"{tokens:,}"),
    ]
    return [
        f"<h1>Step {report.step:,}{_chinese('训练步')}</h1>",
        f'<p class="soft">of {report.steps:,}{of_rank}; what the model learned from in it</p>',
        _totals(cells),
        *(
            _article(
                f"<code>{seen.doc_id}</code> {seen.tokens:,} tokens, in sequence {_numbers(seen.samples)}",
                document,
                f"<blockquote>{escape(document.text)}</blockquote>",
            )
            for seen, document in report.documents
        ),
    ]


def _document(report: DocumentReport) -> list[str]:
    trace = report.trace
    cells = [
        ("tokens", "词元", f"{trace.length:,}"),
        ("steps that saw it", "见过它的训练步", f"{len(trace.steps):,}"),
        ("tokens learned, in all", "共学习词元", f"{trace.tokens:,}"),
    ]
    rows = "".join(
        f'<tr><td class="number">{step.step:,}</td><td class="number">{_numbers(step.samples)}</td>'
        f'<td class="number">{step.tokens:,}</td></tr>'
        for step in trace.steps
    )
    table = (
        '<div class="scroll"><table><tr><th class="number">step</th><th class="number">sequences</th>'
        f'<th class="number">tokens</th></tr>{rows}</table></div>'
    )
    nobody = "it is in the validation split" if trace.split == "validation" else "no step saw it"
    parts = [
        f"<h1>Document{_chinese('文档')}</h1>",
        f"<p><code>{trace.doc_id}</code></p>",
        f'<p class="soft">{_place(report.document)}</p>',
        _totals(cells),
        f"<h2>Steps{_chinese('训练步')}</h2>",
        table if trace.steps else f'<p class="soft">{nobody}</p>',
        f"<h2>Clean text{_chinese('净文本')}</h2>",
        f"<pre>{escape(report.document.text)}</pre>",
    ]
    if report.raw is not None:
        parts += [
            f"<h2>As read{_chinese('原始内容')}</h2>",
            f'<p class="soft"><code>{escape(report.raw.file)}</code></p>',
            f"<pre>{escape(report.raw.content)}</pre>",
        ]
    return parts


def _text_places(report: TextReport) -> list[str]:
    parts = [f"<h1>{escape(report.text)}</h1>"]
    if report.matches:
        parts.append(f'<p class="soft">Nowhere as a whole; its longest parts{_chinese("最长的片段")}</p>')
        parts += [f"<p><code>{escape(match.text)}</code> {times(match.count)}</p>" for match in report.matches]
    else:
        parts.append(f'<p class="soft">{times(report.count)} in the training data{_chinese("出现次数")}</p>')
    for place in report.places:
        seen = f"seen by step {_numbers(place.steps)}" if place.steps else "seen by no step"
        text = f"{escape(place.left)}<mark>{escape(place.match)}</mark>{escape(place.right)}"
        head = f"<code>{place.doc_id}</code> byte {place.byte_start:,} of its text, {seen}"
        parts.append(_article(head, place.document, f"<blockquote>{text}</blockquote>"))
    return parts


def _article(head: str, document: TracedDocument, content: str) -> str:
    return f'<article><p>{head}</p><p class="place">{_place(document)}</p>{content}</article>'


def _place(document: TracedDocument) -> str:
    where = f"<strong>{escape(document.dump)}</strong>"
    if document.path is not None:
        where += f" {escape(document.path)}, bytes {document.byte_start:,} to {document.byte_end:,}"
    if document.url:
        where += f", {escape(document.url)}"
    return f"{where}, {escape(document.shown_licence)}"


def _totals(cells: Sequence[tuple[str, str, str]]) -> str:
    items = "".join(f"<div><dt>{name}{_chinese(other)}</dt><dd>{value}</dd></div>" for name, other, value in cells)
    return f'<dl class="totals">{items}</dl>'


def _chinese(text: str) -> str:
    return f' <span lang="zh">{text}</span>'


def _numbers(numbers: Sequence[int]) -> str:
    shown = ", ".join(f"{number:,}" for number in numbers[:4])
    return shown + (f" and {len(numbers) - 4} more" if len(numbers) > 4 else "")
