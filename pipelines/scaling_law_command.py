"""The command `scaling-law`: small models are trained, and the loss of a larger one is predicted from theirs."""

from __future__ import annotations

import json as json_format
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from assets.language_model.scaling_law.ladder import Rung
    from assets.language_model.scaling_law.report import ScalingLaw


def scaling_law(
    ladder: Annotated[
        Path, typer.Argument(help="YAML file with preset, shares, tokens_per_parameter, target: see docs/tuning.md.")
    ],
    check: Annotated[bool, typer.Option("--check", help="Train the target too, and compare.")] = False,
    dump: Annotated[list[str] | None, typer.Option(help="A dump; may stand several times. By default all.")] = None,
    json: Annotated[bool, typer.Option(help="Print everything as one JSON object.")] = False,
) -> None:
    """Train a ladder of small models and predict the loss of a larger one; what is trained is not trained again."""
    from assets.language_model.scaling_law.run import run_ladder
    from assets.language_model.scaling_law.settings import ScalingLawSettings
    from pipelines.preset_trainings import newest_training_data, open_preset, orderly_end, read_settings

    settings = read_settings(ladder, ScalingLawSettings, {})
    preset = open_preset(settings.preset)
    console = Console(emoji=False, highlight=False, stderr=json)

    def tell(rung: Rung, loss: float) -> None:
        console.print(
            f"{rung.training.model.layers} layers of {rung.training.model.width}: {rung.parameters:,} parameters, "
            f"{rung.tokens:,} tokens: loss {loss:.4f}"
        )

    with orderly_end():
        result = run_ladder(settings, preset.model, newest_training_data(dump or ()), check=check, tell=tell)
    if json:
        print(json_format.dumps(result.as_json(), ensure_ascii=False, indent=1))
    else:
        print_law(result, console)


def print_law(result: ScalingLaw, console: Console) -> None:
    """Print the ladder, the law, what it predicts and what was measured."""
    table = Table(title="Validation loss, nats a token", title_justify="left")
    for heading in ("parameters", "tokens", "epochs", "measured", "fitted", "residual"):
        table.add_column(heading, justify="right")
    for point in result.points:
        fitted = result.law.loss(point.parameters, point.tokens)
        table.add_row(
            f"{point.parameters:,}",
            f"{point.tokens:,}",
            f"{point.epochs:.2f}",
            f"{point.loss:.4f}",
            f"{fitted:.4f}",
            f"{point.residual:+.2%}",
        )
    console.print(table)
    law, expected = result.law, result.prediction
    of_tokens = f" + {law.B:.4g} / D^{law.beta:.3f}" if law.ratio is None else ""
    where = "" if law.ratio is None else f" along D = {law.ratio:.3g} N"
    console.print(f"L = {law.E:.3f} + {law.A:.4g} / N^{law.alpha:.3f}{of_tokens}{where}")
    interval = "no interval: as many constants as trainings"
    if expected.low is not None and expected.high is not None:
        interval = f"{expected.coverage:.0%} between {expected.low:.4f} and {expected.high:.4f}"
    console.print(
        f"Predicted for {expected.parameters:,} parameters and {expected.tokens:,} tokens: {expected.loss:.4f}, "
        f"{interval}",
        soft_wrap=True,
    )
    if result.check is not None:
        within = {True: ", inside the interval", False: ", outside the interval", None: ""}[result.check.inside]
        console.print(f"Measured: {result.check.loss:.4f}, {result.check.error:+.2%}{within}")
    if result.best_parameters is not None:
        console.print(
            f"By this law the same operations do most with {result.best_parameters:,.0f} parameters and "
            f"{result.best_tokens:,.0f} tokens"
        )
    for warning in result.warnings:
        console.print(f"Beware: {warning}", soft_wrap=True)
    console.print(f"Numbers and picture: {escape(str(result.folder))}", soft_wrap=True)
