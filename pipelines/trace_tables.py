"""Traces and batches as tables and coloured text for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from assets.trace.batch import SeenSequence, SeenToken
from assets.trace.documents import TracedDocument
from assets.trace.report import DocumentReport, StepReport, TextReport, times

EXCERPT_CHARACTERS = 160
# Two shades take turns, so that neighbouring tokens can be told apart.
_SHADES = ("on #dcebe3 #1b1d20", "on #f3e6cf #1b1d20")
_UNLEARNED = "#8a8f98"
_MARK = "bold #c8553d"


def print_step(report: StepReport, console: Console, *, limit: int) -> None:
    """Print the documents of a step."""
    tokens = sum(seen.tokens for seen, _ in report.documents)
    of_rank = "" if report.rank is None else f", rank {report.rank}"
    console.print(
        f"[bold]step {report.step}[/bold] of {report.steps:,}{of_rank}: {len(report.samples):,} sequences, "
        f"{tokens:,} tokens of {len(report.documents):,} documents"
    )
    for seen, document in report.documents[:limit]:
        console.print(f"\n[bold]{seen.doc_id}[/bold]  {seen.tokens:,} tokens, in sequence {_numbers(seen.samples)}")
        console.print(escape(place(document)), style="dim")
        console.print(Padding(Text(excerpt(document.text)), (0, 0, 0, 2)))
    _more(len(report.documents), limit, console)


def print_document(report: DocumentReport, console: Console, *, limit: int) -> None:
    """Print the steps that saw a document, and what it was read from."""
    trace, document = report.trace, report.document
    console.print(f"[bold]{trace.doc_id}[/bold]  {trace.length:,} tokens")
    console.print(escape(place(document)), style="dim")
    if trace.split == "validation":
        console.print("in the validation split: no step saw it")
    elif not trace.steps:
        console.print(f"in the training split: none of the {report.steps:,} steps saw it")
    else:
        console.print(f"seen by {len(trace.steps):,} of {report.steps:,} steps, {trace.tokens:,} tokens in all")
        table = Table("step", "sequences", "tokens", box=None, pad_edge=False)
        for column in table.columns:
            column.justify = "right"
        for step in trace.steps[:limit]:
            table.add_row(f"{step.step:,}", _numbers(step.samples), f"{step.tokens:,}")
        console.print(table)
        _more(len(trace.steps), limit, console)
    console.print("\n[bold]clean text[/bold]")
    console.print(Padding(Text(document.text), (0, 0, 0, 2)))
    if report.raw is not None:
        console.print(f"\n[bold]as read from[/bold] {escape(report.raw.file)}", soft_wrap=True)
        console.print(Padding(Text(report.raw.content), (0, 0, 0, 2)))


def print_text(report: TextReport, console: Console) -> None:
    """Print where a phrase occurs."""
    if report.matches:
        console.print("nowhere in the training data as a whole; the longest parts of it that are there:")
        for match in report.matches:
            console.print(f"  {times(match.count)}  [bold]{escape(repr(match.text))}[/bold]")
    else:
        console.print(f"[bold]{times(report.count)}[/bold] in the training data")
    for found in report.places:
        console.print(f"\n[bold]{found.doc_id}[/bold]  byte {found.byte_start:,} of its text, {_steps(found.steps)}")
        console.print(escape(place(found.document)), style="dim")
        shown = Text(found.left).append(found.match, style=_MARK).append(found.right)
        console.print(Padding(shown, (0, 0, 0, 2)))
    if report.count > len(report.places):
        console.print(f"\nand {report.count - len(report.places):,} more; --limit shows more of them", style="dim")


def print_sequences(sequences: Sequence[SeenSequence], step: int, console: Console) -> None:
    """Print every token of a step: a new document after ┃, what is not learned in grey, padding as ·."""
    for sequence in sequences:
        trace = sequence.trace
        learned = sum(token.learned for token in sequence.targets)
        console.print(
            f"\n[bold]step {step}, sequence {trace.number}[/bold]  rank {trace.rank}, {escape(trace.dump)}, "
            f"epoch {trace.epoch}, {learned:,} of {len(sequence.targets):,} tokens learned"
        )
        shown = Text()
        for number, token in enumerate(sequence.targets):
            _append(shown, token, number)
        console.print(Padding(shown, (0, 0, 0, 2)))
        for span in trace.spans:
            console.print(f"  {span.doc_id}  tokens {span.offset:,} to {span.offset + span.length - 1:,}", style="dim")


def place(document: TracedDocument) -> str:
    """Where a document is from, in a line."""
    where = document.dump
    if document.path is not None:
        where += f": {document.path}, bytes {document.byte_start:,} to {document.byte_end:,}"
    if document.url:
        where += f", {document.url}"
    return f"{where}, {document.shown_licence}"


def excerpt(text: str) -> str:
    """The beginning of a text in one line."""
    line = " ".join(text[: 2 * EXCERPT_CHARACTERS].split())
    return line if len(line) <= EXCERPT_CHARACTERS else line[: EXCERPT_CHARACTERS - 1] + "…"


def _append(shown: Text, token: SeenToken, number: int) -> None:
    if token.begins:
        shown.append("┃", style=_MARK)
    if token.kind == "padding":
        shown.append("·", style=_UNLEARNED)
    elif token.kind == "end":
        shown.append("⏹", style=_MARK)
    elif token.kind == "sentinel":
        shown.append(token.text, style=_MARK)
    else:
        text = token.text.replace("\n", "⏎\n")
        shown.append(text, style=_SHADES[number % 2] if token.learned else _UNLEARNED)


def _numbers(numbers: Sequence[int]) -> str:
    shown = ", ".join(f"{number:,}" for number in numbers[:4])
    return shown + (f" and {len(numbers) - 4} more" if len(numbers) > 4 else "")


def _steps(steps: Sequence[int]) -> str:
    return f"seen by step {_numbers(steps)}" if steps else "seen by no step"


def _more(total: int, limit: int, console: Console) -> None:
    if total > limit:
        console.print(f"\nand {total - limit:,} more; --limit shows more of them", style="dim")
