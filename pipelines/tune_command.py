"""The command `tune`: settings of a preset's training, chosen by the loss on the validation documents."""

from __future__ import annotations

import json as json_format
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from assets.language_model.tuning.report import Tuning
    from assets.language_model.tuning.study import Trial


def tune(
    search: Annotated[Path, typer.Argument(help="YAML file with preset, search, trials, steps: see docs/tuning.md.")],
    trials: Annotated[int | None, typer.Option(min=1, help="Trials in all, in place of the file's.")] = None,
    dump: Annotated[list[str] | None, typer.Option(help="A dump; may stand several times. By default all.")] = None,
    json: Annotated[bool, typer.Option(help="Print everything as one JSON object.")] = False,
) -> None:
    """Try settings of a preset's training on the newest token shards; started again it goes on where it was."""
    from assets.language_model.tuning.run import run_study
    from assets.language_model.tuning.settings import TuneSettings
    from pipelines.preset_trainings import newest_training_data, open_preset, orderly_end, read_settings

    settings = read_settings(search, TuneSettings, {"trials": trials})
    preset = open_preset(settings.preset)
    console = Console(emoji=False, highlight=False, stderr=json)
    with orderly_end():
        tuning = run_study(
            settings,
            preset.configuration,
            preset.model,
            newest_training_data(dump or ()),
            tell=lambda trial: console.print(escape(_line(trial)), soft_wrap=True),
        )
    if json:
        print(json_format.dumps(tuning.as_json(), ensure_ascii=False, indent=1))
    else:
        print_tuning(tuning, console)


def print_tuning(tuning: Tuning, console: Console) -> None:
    """Print the trials, the best first, and where the files are."""
    keys = list(tuning.best.values)
    table = Table(title=f"{len(tuning.trials)} trials of {tuning.steps:,} steps", title_justify="left")
    table.add_column("trial", justify="right")
    table.add_column("loss", justify="right")
    table.add_column("state")
    for key in keys:
        table.add_column(key, justify="right")
    ranked = sorted(tuning.trials, key=lambda trial: (trial.loss is None, trial.loss or 0.0, trial.number))
    for trial in ranked:
        state = trial.state if trial.state in ("complete", "failed") else f"{trial.state} at {trial.step}"
        loss = "" if trial.loss is None else f"{trial.loss:.4f}"
        style = "bold" if trial.number == tuning.best.number else None
        values = (escape(shown(trial.values[key])) for key in keys)
        table.add_row(str(trial.number), loss, state, *values, style=style)
    console.print(table)
    for key, share in tuning.importances.items():
        console.print(f"{share:.0%} of the variance of the losses is due to {escape(key)}")
    console.print(f"Best settings, for the launchpad: {escape(str(tuning.folder / 'best.yaml'))}", soft_wrap=True)
    console.print(f"Losses and importance: {escape(str(tuning.folder / 'tuning.png'))}", soft_wrap=True)


def shown(value: Any) -> str:
    """A value in a table."""
    return f"{value:.4g}" if isinstance(value, float) else json_format.dumps(value, ensure_ascii=False).strip('"')


def _line(trial: Trial) -> str:
    values = ", ".join(f"{key} {shown(value)}" for key, value in trial.values.items())
    loss = "" if trial.loss is None else f", loss {trial.loss:.4f}"
    reason = f" ({trial.reason})" if trial.reason else ""
    return f"trial {trial.number}: {values}: {trial.state} at step {trial.step}{loss}{reason}"
