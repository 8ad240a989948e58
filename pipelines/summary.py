"""The end of `make demo`: what went in, what came out, how good it is, and where to look next."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.markup import escape
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table

from assets.language_model.summary import SUMMARY

TOP_RULES = 3
BASELINES = ("bigram", "xz", "gzip")
LANGUAGES = {"en": "English", "zh": "Chinese"}


def read_summary(model: Path) -> dict[str, Any]:
    """What ``model_version`` wrote beside the model."""
    summary: dict[str, Any] = json.loads((model / SUMMARY).read_text(encoding="utf-8"))
    return summary


def print_summary(summary: dict[str, Any], model: Path, *, name: str, version: str, console: Console) -> None:
    """Print the summary of a model folder.

    Args:
        summary: ``read_summary`` of it.
        model: The folder.
        name: Registered name.
        version: Registered version.
        console: Where to.
    """
    console.print(Panel(Group(_numbers(summary), "", _quality(summary)), title="Corpusline", expand=False))
    for language, samples in summary["samples"].items():
        console.print(f"\n[bold]Written by the model, {LANGUAGES.get(language, language)}[/bold] (fixed seeds)")
        for prompt, text in samples:
            written = f"[bold]{escape(prompt)}[/bold]{escape(text)}".rstrip()
            console.print(Padding(written, (1, 0, 0, 2)))
    prompts = [prompt for samples in summary["samples"].values() for prompt, _ in samples]
    begin = shlex.quote(prompts[0].strip().partition("\n")[0]) if prompts else "'...'"
    console.print(
        f"\nThe model: [bold]{escape(str(model))}[/bold]\n"
        f"  registered as version {version} of '{name}'{_opens_with(model)}\n"
        f"Write more:         [bold]corpusline generate --model champion {escape(begin)}[/bold]\n"
        f"Learned from:       [bold]corpusline trace champion --text {escape(begin)}[/bold]\n"
        "Dagster's page:     [bold]make dagster[/bold]   (http://127.0.0.1:3000)\n"
        "MLflow's page:      [bold]make mlflow[/bold]    (http://127.0.0.1:5000)",
        highlight=False,
        soft_wrap=True,
    )


def _opens_with(model: Path) -> str:
    # Of some families transformers has no architecture.
    kind = json.loads((model / "config.json").read_text(encoding="utf-8"))["model_type"]
    return "" if kind == "corpusline" else ", opens with transformers' AutoModelForCausalLM"


def _numbers(summary: dict[str, Any]) -> Table:
    dropped = list(summary["dropped"].items())
    reasons = ", ".join(f"{rule} {count:,}" for rule, count in dropped[:TOP_RULES])
    if len(dropped) > TOP_RULES:
        reasons += f", {len(dropped) - TOP_RULES} more"
    # What could not be read has a row in the ledger, too.
    lost = sum(summary["dropped"].values())
    table = Table.grid(padding=(0, 3))
    rows = {
        "documents": f"{summary['kept'] + lost:,} read, {summary['kept']:,} kept, {lost:,} dropped",
        "dropped by": reasons or "nothing",
        "tokens": f"{summary['train_tokens']:,} to learn from, {summary['trained_tokens']:,} seen in "
        f"{summary['steps']:,} steps",
        "parameters": f"{summary['parameters']:,}",
        "speed": f"{summary['tokens_per_second']:,.0f} tokens a second",
    }
    for what, value in rows.items():
        table.add_row(what, value)
    return table


def _quality(summary: dict[str, Any]) -> Table:
    table = Table(title="bits for each byte of validation text; lower is better", title_justify="left")
    table.add_column("")
    for heading in ("this model", *BASELINES):
        table.add_column(heading, justify="right")
    for language, measured in summary["languages"].items():
        baselines = summary["baselines"][language]
        table.add_row(
            LANGUAGES.get(language, language),
            f"[bold]{measured['bits_per_byte']:.3f}[/bold]",
            *(f"{baselines[baseline]:.3f}" for baseline in BASELINES),
        )
    return table
