"""The commands `ledger` and `what-if`: what cleaning did to every document, and what another policy would do."""

from __future__ import annotations

import json as json_format
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from training.settings import SettingsError

if TYPE_CHECKING:
    from assets.clean_text.policy import Policy
    from training.suspects import Suspect

_DUMP = typer.Option(help="A dump; may be given again. By default every one that has clean text.")
_JSON = typer.Option(help="Print everything as one JSON object.")
_SEED = typer.Option(min=0, help="Another seed gives other examples.")


def ledger(
    dump: Annotated[list[str] | None, _DUMP] = None,
    rule: Annotated[str | None, typer.Option(help="Effects and examples of this rule only.")] = None,
    language: Annotated[str | None, typer.Option(help="Only documents of this declared language.")] = None,
    examples: Annotated[int, typer.Option(min=0, help="Most examples of a rule, of each kind.")] = 3,
    seed: Annotated[int, _SEED] = 0,
    html: Annotated[Path | None, typer.Option(help="Write the report as an HTML file that needs nothing else.")] = None,
    json: Annotated[bool, _JSON] = False,
    document: Annotated[
        str | None, typer.Option(help="All about one document: its id, or the beginning of it.")
    ] = None,
) -> None:
    """Show what cleaning kept and dropped, by which rule, with examples; or all about one document.

    Documents that trainings suspect, since a step with them was left out, stand there too.
    """
    from assets.clean_text.ledger_report import document_account, ledger_report
    from pipelines.ledger_tables import print_account, print_report
    from pipelines.stored_dumps import stored_dumps

    console = Console(emoji=False, highlight=False)
    if document is not None:
        # In all dumps: the copy that is kept instead may lie in another than the document.
        account = document_account(stored_dumps(()), document, suspects=_suspects())
        if json:
            _print_json(asdict(account))
        else:
            print_account(account, console)
        return
    report = ledger_report(
        stored_dumps(dump or ()), language=language, rule=rule, examples=examples, seed=seed, suspects=_suspects()
    )
    if html is not None:
        from assets.clean_text.ledger_report.page import ledger_page

        html.parent.mkdir(parents=True, exist_ok=True)
        html.write_text(ledger_page(report), encoding="utf-8")
        typer.echo(html, err=json)
    if json:
        _print_json(asdict(report))
    elif html is None:
        print_report(report, console)


def what_if(
    policy: Annotated[
        str | None,
        typer.Argument(help="A preset's name or a YAML file; by default the policy each dump was filtered by."),
    ] = None,
    dump: Annotated[list[str] | None, _DUMP] = None,
    rules: Annotated[
        list[str] | None,
        typer.Option(
            help="A changed threshold, e.g. too_short=50, too_short.zh=20 or too_short=off; may be given again."
        ),
    ] = None,
    examples: Annotated[int, typer.Option(min=0, help="Most examples of each direction.")] = 5,
    seed: Annotated[int, _SEED] = 0,
    json: Annotated[bool, _JSON] = False,
) -> None:
    """Show what another policy would keep and drop, compared with the ledger, without reading text."""
    from assets.clean_text.policy import load_policy
    from assets.clean_text.what_if import what_if as compare
    from pipelines.ledger_tables import print_what_if
    from pipelines.stored_dumps import stored_dumps

    changes = parse_changes(rules or ())
    if policy is None and not changes:
        raise SettingsError("name a policy (a preset or a YAML file), or change a threshold with --rules")
    other = load_policy(policy) if policy is not None else None
    dumps = stored_dumps(dump or ())
    policies: dict[str, Policy] = {}
    for stored in dumps:
        chosen = other or stored.policy
        if chosen is not None:
            policies[stored.name] = _changed(chosen, changes)
    result = compare(dumps, policies, examples=examples, seed=seed)
    if json:
        _print_json(asdict(result))
    else:
        print_what_if(result, Console(emoji=False, highlight=False))


def parse_changes(texts: Sequence[str]) -> dict[str, float | None]:
    """Changed thresholds from texts such as "too_short=50", "too_short.zh=20" and "too_short=off".

    Raises:
        SettingsError: If a text is not of this form.
    """
    changes: dict[str, float | None] = {}
    for text in (part for given in texts for part in given.split(",")):
        name, _, value = text.strip().partition("=")
        try:
            changes[name] = None if value in ("off", "null") else float(value)
        except ValueError:
            raise SettingsError(f"--rules {text}: write e.g. too_short=50, too_short.zh=20 or too_short=off") from None
    return changes


def _suspects() -> dict[str, list[Suspect]]:
    """What the trainings of this home suspect, by training."""
    from assets.home import training_runs_folder
    from training.suspects import SUSPECTS, read_suspects

    paths = sorted(training_runs_folder().glob(f"*/{SUSPECTS}"))
    return {path.parent.name: read_suspects(path.parent) for path in paths}


def _changed(policy: Policy, changes: dict[str, float | None]) -> Policy:
    written = ", ".join(f"{name}={'off' if limit is None else f'{limit:g}'}" for name, limit in changes.items())
    try:
        changed = policy.changed(changes)
    except ValueError as error:
        raise SettingsError(f"--rules: {error} (policy '{policy.name}')") from None
    return changed.model_copy(update={"name": f"{policy.name}, {written}"}) if changes else policy


def _print_json(value: object) -> None:
    print(json_format.dumps(value, ensure_ascii=False, indent=1))
