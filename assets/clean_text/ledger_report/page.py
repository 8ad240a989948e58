"""The report as one HTML file that needs nothing else: for a browser, a mail, or a folder of past runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from itertools import groupby

from assets.clean_text.ledger_report.examples import Example
from assets.clean_text.ledger_report.funnel import Funnel
from assets.clean_text.ledger_report.numbers import place, reason, share, size
from assets.clean_text.ledger_report.report import LedgerReport
from assets.page_style import STYLE

# Control characters have no glyph and no place in HTML; their pictures have.
_VISIBLE = {code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"} | {127: 0x2421}


def ledger_page(report: LedgerReport) -> str:
    """The whole page."""
    about = [f"dumps: {', '.join(report.dumps)}"]
    about += [f"language: {report.language}"] if report.language else []
    about += [f"rule: {report.rule}"] if report.rule else []
    parts = [
        f"<h1>{_both('Ledger', '清洗账目')}</h1>",
        f'<p class="soft">{_text("; ".join(about))}</p>',
        _totals(report.funnels[0]),
        _notes(report.notes),
        f"<h2>{_both('The way through the rules', '逐条规则的去留')}</h2>",
        '<p class="soft">Green is left, red is what the rule took. Share is of the documents read. '
        '<span lang="zh">绿色为留下的，红色为该规则去掉的；占比以读入的文档为准。</span></p>',
        *(_funnel(funnel) for funnel in report.funnels),
        f"<h2>{_both('What each rule does', '各条规则的作用')}</h2>",
        '<p class="soft">A document counts once under <em>first</em>, and under <em>would drop</em> for every rule it '
        "fails. <em>Only this</em>: no other rule would drop it; a rule with 0 there changes nothing. "
        '<span lang="zh">“首因”每篇只计一次；“会去掉”按每条不合的规则各计一次；“仅此一条”为零的规则，去掉它结果不变。'
        "</span></p>",
        _rules(report),
        _edits(report),
        _examples("What was dropped", "被去掉的例子", report.dropped),
        _examples("What was nearly dropped", "险些被去掉的例子", report.near),
        _examples(
            "What trainings suspect: left out because of a spike", "训练中因损失突增而略过的可疑文档", report.suspects
        ),
    ]
    title = escape(f"Ledger: {', '.join(report.dumps)}")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(part for part in parts if part)
        + "\n</body>\n</html>\n"
    )


def _totals(whole: Funnel) -> str:
    dropped = whole.documents - whole.kept
    cells = [
        ("read", "读入", f"{whole.documents:,}", size(whole.bytes)),
        ("kept", "留下", f"{whole.kept:,}", share(whole.kept, whole.documents)),
        ("dropped", "去掉", f"{dropped:,}", share(dropped, whole.documents)),
        ("clean text", "净文本", size(whole.clean_bytes), ""),
    ]
    items = (
        f"<div><dt>{_both(english, chinese)}</dt><dd>{value} <small>{more}</small></dd></div>"
        for english, chinese, value, more in cells
    )
    return f'<dl class="totals">{"".join(items)}</dl>'


def _notes(notes: Sequence[str]) -> str:
    return f'<ul class="notes">{"".join(f"<li>{_text(note)}</li>" for note in notes)}</ul>' if notes else ""


def _funnel(funnel: Funnel) -> str:
    whole = funnel.source is None and funnel.language is None
    title = _both("all together", "合计") if whole else _text(f"{funnel.source or '?'}, {funnel.language or '?'}")
    rows = [_funnel_row("read", funnel.documents, funnel.bytes, funnel, (funnel.documents, 0), whole=True)]
    for step in funnel.steps:
        bar = (step.remaining, step.documents)
        rows.append(_funnel_row(step.rule, step.documents, step.bytes, funnel, bar))
    rows.append(_funnel_row("kept", funnel.kept, funnel.kept_bytes, funnel, (funnel.kept, 0), whole=True))
    heads = [("rule", "规则", "name"), ("left", "余下", "bar"), ("documents", "文档", "number")]
    heads += [("share", "占比", "number"), ("bytes read", "原文字节", "number")]
    return f"<h3>{title}</h3>" + _table(heads, rows, kind="funnel")


def _funnel_row(
    name: str, documents: int, length: int, funnel: Funnel, bar: tuple[int, int], *, whole: bool = False
) -> str:
    left, gone = (100 * part / funnel.documents if funnel.documents else 0 for part in bar)
    red = f'<i class="gone" style="width:{gone:.3f}%"></i>' if bar[1] else ""
    track = f'<div class="track"><i style="width:{left:.3f}%"></i>{red}</div>'
    label = f"<span>{name}</span>" if whole else f"<code>{_text(name)}</code>"
    numbers = (f"{documents:,}", share(documents, funnel.documents), size(length))
    return (
        f'<tr{" class=whole" if whole else ""}><td class="name">{label}</td><td class="bar">{track}</td>'
        + _numbers(numbers)
        + "</tr>"
    )


def _rules(report: LedgerReport) -> str:
    documents = report.funnels[0].documents
    rows = [
        f'<tr><td class="name"><code>{_text(effect.rule)}</code></td>'
        + _numbers(
            (
                f"{effect.first:,}",
                f"{effect.would:,}",
                share(effect.would, documents),
                f"{effect.alone:,}",
                size(effect.alone_bytes),
            )
        )
        + "</tr>"
        for effect in report.rules
        if effect.would
    ]
    heads = [
        ("rule", "规则", "name"),
        ("first", "首因", "number"),
        ("would drop", "会去掉", "number"),
        ("share", "占比", "number"),
        ("only this", "仅此一条", "number"),
        ("bytes of these", "其字节", "number"),
    ]
    silent = [effect.rule for effect in report.rules if not effect.would]
    never = f'<p class="soft">Never failed 从未触发: {_text(", ".join(silent))}</p>' if silent else ""
    return (_table(heads, rows) if rows else "") + never


def _edits(report: LedgerReport) -> str:
    if not report.edits:
        return ""
    rows = [
        f'<tr><td class="name"><code>{_text(edit.rule)}</code></td>'
        + _numbers((f"{edit.documents:,}", f"{edit.pieces:,}", size(edit.bytes)))
        + "</tr>"
        for edit in report.edits
    ]
    heads = [
        ("rule", "规则", "name"),
        ("documents", "文档", "number"),
        ("pieces", "处", "number"),
        ("bytes", "字节", "number"),
    ]
    return f"<h2>{_both('What was cut or replaced', '被剪去或替换的')}</h2>" + _table(heads, rows)


def _examples(english: str, chinese: str, examples: Sequence[Example]) -> str:
    if not examples:
        return ""
    groups: list[str] = []
    for rule, found in groupby(examples, key=lambda example: example.rule):
        cards = [_example(example) for example in found]
        opened = " open" if len(groups) < 3 else ""
        groups.append(
            f"<details{opened}><summary><code>{_text(rule)}</code> <span>{len(cards)}</span></summary>"
            f"{''.join(cards)}</details>"
        )
    return f"<h2>{_both(english, chinese)}</h2>" + "".join(groups)


def _example(example: Example) -> str:
    language = f' lang="{escape(example.language)}"' if example.language else ""
    text = f'<blockquote dir="auto"{language}>{_text(example.excerpt)}</blockquote>' if example.excerpt else ""
    why = reason(example)
    measured = f'<div class="measure">{_text(why)}</div>' if why else ""
    where = f'<div class="place">{_text(place(example))}<br><code>{_text(example.doc_id)}</code></div>'
    return f"<article>{measured}{where}{text}</article>"


def _table(heads: Iterable[tuple[str, str, str]], rows: Iterable[str], *, kind: str = "plain") -> str:
    head = "".join(f'<th class="{column}">{_both(english, chinese)}</th>' for english, chinese, column in heads)
    table = f'<table class="{kind}"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'
    return f'<div class="scroll">{table}</div>'


def _numbers(values: Iterable[str]) -> str:
    return "".join(f'<td class="number">{value}</td>' for value in values)


def _both(english: str, chinese: str) -> str:
    return f'{english}<span lang="zh">{chinese}</span>'


def _text(value: str) -> str:
    return escape(value.translate(_VISIBLE))
