"""The commands `trace` and `batch`: from a model's step to documents, and from a document or a phrase to steps."""

from __future__ import annotations

import json as json_format
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from training.settings import SettingsError

if TYPE_CHECKING:
    from assets.trace.run import TracedRun

_MODEL = typer.Argument(help="An alias (champion, candidate) or version of the registered model, or a folder.")
_NAME = typer.Option(help="Name of the registered model.")
_JSON = typer.Option(help="Print everything as one JSON object.")
_RANK = typer.Option(min=0, help="Only what this rank read.")


def trace(
    model: Annotated[str, _MODEL] = "champion",
    step: Annotated[int | None, typer.Option(min=0, help="List the documents of this step, counted from 0.")] = None,
    rank: Annotated[int | None, _RANK] = None,
    document: Annotated[
        str | None, typer.Option(help="List the steps that saw this document: its id, or the beginning of it.")
    ] = None,
    text: Annotated[
        str | None,
        typer.Option(help="Find where this occurs in the training data, or its longest parts that do."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Most documents or places that are shown.")] = 20,
    name: Annotated[str, _NAME] = "corpusline",
    html: Annotated[Path | None, typer.Option(help="Write a page that needs nothing else.")] = None,
    json: Annotated[bool, _JSON] = False,
) -> None:
    """Show which documents a step learned from, which steps saw a document, or where a phrase was learned."""
    from assets.trace.report import document_report, step_report, text_report
    from pipelines.trace_tables import print_document, print_step, print_text

    if sum(choice is not None for choice in (step, document, text)) != 1:
        raise SettingsError("name one of --step, --document and --text")
    run = open_model(model, name)
    console = Console(emoji=False, highlight=False)
    if step is not None:
        of_step = step_report(run, step, rank=rank)
        if not _written(of_step, html, json):
            print_step(of_step, console, limit=limit)
    elif document is not None:
        of_document = document_report(run, document)
        if not _written(of_document, html, json):
            print_document(of_document, console, limit=limit)
    elif text is not None:
        of_text = text_report(run, text, limit=limit)
        if not _written(of_text, html, json):
            print_text(of_text, console)


def batch(
    model: Annotated[str, _MODEL] = "champion",
    step: Annotated[int, typer.Option(min=0, help="The step, counted from 0.")] = 0,
    rank: Annotated[int | None, _RANK] = None,
    name: Annotated[str, _NAME] = "corpusline",
    json: Annotated[bool, _JSON] = False,
) -> None:
    """Show exactly what the model saw in a step: every sequence with document boundaries and masks in colour."""
    from assets.trace.batch import step_sequences
    from pipelines.trace_tables import print_sequences

    sequences = step_sequences(open_model(model, name), step, rank=rank)
    if json:
        _print_json([asdict(sequence) for sequence in sequences])
    else:
        print_sequences(sequences, step, Console(emoji=False, highlight=False))


def open_model(model: str, name: str) -> TracedRun:
    """The run of a model.

    Args:
        model: A folder, or an alias or version of the registered model.
        name: The registered model.
    """
    from assets.language_model.registration import version_folder
    from assets.language_model.tracking import open_tracking
    from assets.trace.run import open_run

    return open_run(Path(model) if Path(model).is_dir() else version_folder(open_tracking(), name, model))


def _written(report: Any, html: Path | None, json: bool) -> bool:
    """Write the page and the JSON that are asked for; whether nothing else is to be printed."""
    if html is not None:
        from assets.trace.page import trace_page

        html.parent.mkdir(parents=True, exist_ok=True)
        html.write_text(trace_page(report), encoding="utf-8")
        typer.echo(html, err=json)
    if json:
        _print_json(asdict(report))
    return json or html is not None


def _print_json(value: object) -> None:
    print(json_format.dumps(value, ensure_ascii=False, indent=1))
