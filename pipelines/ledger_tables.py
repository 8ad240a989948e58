"""The ledger's report, one document's account and a what-if comparison, as tables for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from assets.clean_text.ledger_report import DocumentAccount, Example, Funnel, LedgerReport
from assets.clean_text.ledger_report.numbers import measure, place, reason, share, size
from assets.clean_text.what_if import WhatIf

BAR = 18
EXCERPT_CHARACTERS = 200


def print_report(report: LedgerReport, console: Console) -> None:
    """Print funnels, effects of rules, edits and examples."""
    for funnel in report.funnels:
        console.print(_funnel(funnel))
    whole = report.funnels[0]
    effects = _table("What each rule does", "rule", "first", "would drop", "share", "only this", "bytes of these")
    for effect in report.rules:
        if effect.would:
            effects.add_row(
                escape(effect.rule),
                f"{effect.first:,}",
                f"{effect.would:,}",
                share(effect.would, whole.documents),
                f"{effect.alone:,}",
                size(effect.alone_bytes),
            )
    console.print(effects)
    console.print("only this: no other rule would drop the document; a rule with 0 there changes nothing", style="dim")
    silent = [effect.rule for effect in report.rules if not effect.would]
    if silent:
        console.print(f"never failed: {', '.join(silent)}", style="dim", markup=False)
    if report.edits:
        edits = _table("What was cut or replaced", "rule", "documents", "pieces", "bytes")
        for edit in report.edits:
            edits.add_row(escape(edit.rule), f"{edit.documents:,}", f"{edit.pieces:,}", size(edit.bytes))
        console.print(edits)
    _print_examples("Dropped", report.dropped, console)
    _print_examples("Nearly dropped", report.near, console)
    _print_examples("Suspected, left out of a training", report.suspects, console)
    for note in report.notes:
        console.print(f"note: {note}", markup=False)


def print_account(account: DocumentAccount, console: Console) -> None:
    """Print all about one document."""
    row = account.row
    console.print(f"[bold]{escape(row['doc_id'])}[/bold]")
    facts = Table.grid(padding=(0, 3))
    outcome = "kept" if row["kept"] else f"dropped by {row['rule']}"
    measured = "" if row["value"] is None else f", {measure(row['value'], row['threshold'])}"
    facts.add_row("outcome", escape(outcome + measured))
    for name in ("dump", "source", "language"):
        facts.add_row(name, escape(str(row[name] if row[name] is not None else "?")))
    facts.add_row("place", escape(_row_place(row)))
    if row["detail"]:
        facts.add_row("why", escape(row["detail"]))
    if row["clean_bytes"] is not None:
        facts.add_row("bytes", f"{row['raw_bytes']:,} read, {row['clean_bytes']:,} cleaned")
    if row["duplicate_of"]:
        alike = "" if row["similarity"] is None else f", similarity {row['similarity']:.4g}"
        facts.add_row("copy of", escape(f"{row['duplicate_of']}{alike}"))
        for original in account.originals:
            facts.add_row("", escape(f"{original['doc_id']}: {_row_place(original)}, {_state(original)}"))
        if not account.originals or account.originals[-1]["duplicate_of"]:
            facts.add_row("", "the row of the one that is kept is not in these ledgers")
    if account.copy_count:
        facts.add_row("copies of it", f"{account.copy_count:,} were dropped")
        for copy in account.copies:
            facts.add_row("", escape(f"{copy['doc_id']}: {_row_place(copy)}"))
    console.print(facts)
    if row["failures"]:
        failures = _table("Every rule that fails", "rule", "value", "limit")
        for failure in row["failures"]:
            failures.add_row(escape(failure["rule"]), _number(failure["value"]), _number(failure["threshold"]))
        console.print(failures)
    if row["edits"]:
        edits = _table("What was cut or replaced", "rule", "pieces", "bytes")
        for edit in row["edits"]:
            edits.add_row(escape(edit["rule"]), f"{edit['count']:,}", f"{edit['bytes']:,}")
        console.print(edits)
    if account.signals:
        limits: dict[str, list[str]] = {}
        for rule, signal, side, threshold in account.limits:
            sign = ">=" if side == "at_least" else "<="
            limits.setdefault(signal, []).append(f"{rule} {sign} {threshold:g}")
        signals = _table("Signals", "signal", "value", "rules")
        signals.columns[2].justify = "left"
        for name, value in account.signals.items():
            signals.add_row(name, _number(value), ", ".join(limits.get(name, [])))
        console.print(signals)
    _print_examples("Suspected, left out of a training", account.suspects, console)
    if account.excerpt:
        console.print("[bold]Text as read[/bold]")
        console.print(Padding(escape(account.excerpt), (0, 0, 0, 2), expand=False))


def print_what_if(result: WhatIf, console: Console) -> None:
    """Print what another policy would change."""
    groups = _table(
        escape(f"Under the policy '{result.policy}'"),
        *("", "read", "kept\nnow", "kept\nthen", "newly\nkept", "newly\ndropped", "bytes\nnow", "bytes\nthen"),
    )
    for group in result.groups:
        is_whole = group.source is None and group.language is None
        groups.add_row(
            "all" if is_whole else escape(f"{group.source or '?'}, {group.language or '?'}"),
            f"{group.documents:,}",
            f"{group.kept_now:,}",
            f"{group.kept_then:,}",
            f"{group.newly_kept:,}",
            f"{group.newly_dropped:,}",
            size(group.bytes_now),
            size(group.bytes_then),
            style="bold" if is_whole else None,
        )
    console.print(groups)
    rules = _table(
        "Rule by rule",
        *("rule", "first\nnow", "first\nthen", "would\nnow", "would\nthen", "newly\ndropped", "newly\nkept"),
    )
    for rule in result.rules:
        numbers = (rule.first_now, rule.first_then, rule.would_now, rule.would_then)
        cells = [f"{number:,}" for number in (*numbers, rule.newly_dropped, rule.newly_kept)]
        is_same = rule.first_now == rule.first_then and rule.would_now == rule.would_then
        rules.add_row(escape(rule.rule), *cells, style=None if is_same else "bold")
    console.print(rules)
    _print_examples("Newly dropped, by", result.newly_dropped, console)
    _print_examples("Newly kept, now dropped by", result.newly_kept, console)
    whole = result.groups[0]
    if whole.newly_kept:
        console.print("note: copies among the newly kept are found only when duplicates are searched again")
    if whole.may_return:
        console.print(
            f"note: {result.groups_of_copies:,} of the newly dropped documents have {whole.may_return:,} copies that "
            "pass; one or more of each may return, and are not counted as kept",
            markup=False,
        )
    for warning in result.warnings:
        console.print(f"warning: {warning}", markup=False)


def _funnel(funnel: Funnel) -> Table:
    is_whole = funnel.source is None and funnel.language is None
    title = "All together" if is_whole else escape(f"{funnel.source or '?'}, {funnel.language or '?'}")
    table = _table(title, "", "documents", "share", "bytes read", "left")
    table.columns[4].justify = "left"
    rows = [("read", funnel.documents, funnel.bytes, funnel.documents)]
    rows += [(step.rule, step.documents, step.bytes, step.remaining) for step in funnel.steps]
    rows.append(("kept", funnel.kept, funnel.kept_bytes, funnel.kept))
    for row_number, (name, documents, length, left) in enumerate(rows):
        bar = "█" * round(BAR * left / funnel.documents) if funnel.documents else ""
        style = "bold" if row_number in (0, len(rows) - 1) else None
        table.add_row(
            escape(name), f"{documents:,}", share(documents, funnel.documents), size(length), bar, style=style
        )
    return table


def _print_examples(title: str, examples: Sequence[Example], console: Console) -> None:
    ordered = sorted(examples, key=lambda example: example.rule) if title.startswith("Newly") else examples
    for rule, found in groupby(ordered, key=lambda example: example.rule):
        console.print(f"\n[bold]{title}: {escape(rule)}[/bold]")
        for example in found:
            about = "  ".join(filter(None, (example.doc_id, place(example), reason(example))))
            console.print(Padding(escape(about), (0, 0, 0, 2), expand=False), style="dim")
            text = " ".join(example.excerpt[:EXCERPT_CHARACTERS].split())
            if text:
                console.print(Padding(escape(text), (0, 0, 0, 4), expand=False))


def _state(row: dict[str, Any]) -> str:
    if row["duplicate_of"]:
        return f"itself a copy of {row['duplicate_of']}"
    return "kept" if row["kept"] else f"dropped by {row['rule']}"


def _row_place(row: dict[str, Any]) -> str:
    known = {name: row[name] for name in ("doc_id", "dump", "source", "language", "path", "byte_start", "byte_end")}
    return place(Example(rule="", value=None, threshold=None, **known))


def _number(value: object) -> str:
    if value is None:
        return ""
    return (
        f"{value:.4g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else escape(str(value))
    )


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    for column, heading in enumerate(headings):
        table.add_column(heading, justify="right" if column else "left", overflow="fold")
    return table
