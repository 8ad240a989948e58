"""The command ``corpusline``: what one wants to know or do beside Dagster's and MLflow's own commands."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from pipelines.cluster_command import kubernetes_manifest, slurm_script, slurm_text
from pipelines.export_command import export as export_text
from pipelines.ledger_command import ledger, what_if
from pipelines.quality_command import train_perplexity, train_quality
from pipelines.runs_command import export, resume, runs, suspects
from pipelines.scaling_law_command import scaling_law
from pipelines.tokens_command import export_tokens, import_tokens
from pipelines.trace_command import batch, trace
from pipelines.tune_command import tune
from training.settings import SettingsError

app = typer.Typer(
    help="Raw text to a trained, evaluated, versioned language model.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
console = Console(emoji=False)


def _explained(command: Callable[..., None]) -> Callable[..., None]:
    """Print an expected error as one line instead of a stack trace."""

    @wraps(command)
    def run(*arguments: Any, **options: Any) -> None:
        try:
            command(*arguments, **options)
        except (SettingsError, RuntimeError) as error:
            # Every error of ours is one of these two, with a message made to be read.
            if not type(error).__module__.startswith(("assets.", "training.", "pipelines.")):
                raise
            Console(emoji=False, stderr=True, soft_wrap=True).print(f"error: {error}", markup=False, highlight=False)
            raise typer.Exit(2) from None

    return run


@app.command()
@_explained
def home() -> None:
    """Prepare a Dagster instance below CORPUSLINE_HOME and print its folder, for DAGSTER_HOME."""
    from pipelines.instance_home import prepare_dagster_home

    print(prepare_dagster_home())


@app.command()
@_explained
def summary() -> None:
    """Show what the newest model version is made of, how good it is, and what it writes."""
    from pipelines.instance_home import newest_version
    from pipelines.summary import print_summary, read_summary

    newest = newest_version()
    print_summary(read_summary(newest.folder), newest.folder, name=newest.name, version=newest.version, console=console)


@app.command()
@_explained
def plan(
    preset: Annotated[str, typer.Argument(help="A preset's name, or the path of a run configuration.")],
    gpus: Annotated[int | None, typer.Option(min=1, help="Accelerators; by default the preset's processes.")] = None,
    utilisation: Annotated[
        float, typer.Option(min=0.01, max=1, help="Share of the data sheet's operations a second that is reached.")
    ] = 0.4,
) -> None:
    """Show parameters, memory by ZeRO stage, operations, and expected hours of a preset."""
    from pipelines.plan import print_plan

    print_plan(preset, count=gpus, utilisation=utilisation, console=console)


@app.command()
@_explained
def generate(
    prompt: Annotated[str, typer.Argument(help="The text to go on from.")],
    model: Annotated[
        str, typer.Option(help="An alias (champion, candidate) or version of the registered model, or a folder.")
    ] = "champion",
    name: Annotated[str, typer.Option(help="Name of the registered model.")] = "corpusline",
    tokens: Annotated[int, typer.Option(min=1, help="Most tokens to write.")] = 200,
    temperature: Annotated[float, typer.Option(min=0, help="Below 1 bolder, above 1 wilder; 0 is greedy.")] = 0.8,
    top_k: Annotated[int, typer.Option(min=0, help="Choose among this many tokens; 0 is all.")] = 0,
    top_p: Annotated[float, typer.Option(min=0.01, max=1, help="Choose among tokens of this probability.")] = 0.95,
    min_p: Annotated[
        float, typer.Option(min=0, max=1, help="Choose among tokens of this share of the likeliest one's probability.")
    ] = 0.0,
    repetition_penalty: Annotated[
        float, typer.Option(min=0.01, help="Above 1: tokens that are in the text become less likely.")
    ] = 1.0,
    stop: Annotated[list[str] | None, typer.Option(help="The text ends before this string; may be repeated.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed writes the same text.")] = 0,
) -> None:
    """Write text that goes on from a prompt."""
    from assets.language_model.registration import version_folder
    from assets.language_model.tracking import open_tracking
    from assets.vocabulary.tokenizer import open_vocabulary
    from training.export import load_model
    from training.generation import generate as generate_ids
    from training.generation import stream_text
    from training.sampling import SamplingSettings

    chosen = {
        "tokens": tokens,
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "min_p": min_p,
        "repetition_penalty": repetition_penalty,
        "stop": stop or [],
        "seed": seed,
    }
    settings = SamplingSettings.parse(chosen, origin="corpusline generate")
    folder = Path(model) if Path(model).is_dir() else version_folder(open_tracking(), name, model)
    network, vocabulary = load_model(folder), open_vocabulary(folder)
    ids = generate_ids(
        network, vocabulary.encode_batch([prompt])[0], settings, end_of_document=vocabulary.end_of_document
    )
    sys.stdout.write(prompt)
    for piece in stream_text(ids, vocabulary.decode, stop=settings.stop):
        sys.stdout.write(piece)
        sys.stdout.flush()
    sys.stdout.write("\n")


@app.command()
@_explained
def mlflow(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 5000,
) -> None:
    """Open MLflow's page on the tracking store of this home, or of MLFLOW_TRACKING_URI."""
    from assets.home import tracking_folder
    from assets.language_model.tracking import open_tracking, shown_uri, tracking_uri

    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise SettingsError(
                f"port {port} of {host} is not free ({error.strerror}): choose another --port"
            ) from None
    open_tracking()
    if tracking_uri().startswith(("http://", "https://")):
        raise SettingsError(f"MLflow's page is already served: open {shown_uri()}")
    artifacts = (tracking_folder() / "artifacts").as_uri()
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", tracking_uri()]
    command += ["--default-artifact-root", artifacts, "--host", host, "--port", str(port), "--workers", "1"]
    print(f"MLflow's page: http://{host}:{port}", flush=True)
    os.execv(command[0], command)


app.command(name="trace")(_explained(trace))
app.command(name="batch")(_explained(batch))
app.command(name="ledger")(_explained(ledger))
app.command(name="what-if")(_explained(what_if))
app.command(name="export-text")(_explained(export_text))
app.command(name="export-tokens")(_explained(export_tokens))
app.command(name="import-tokens")(_explained(import_tokens))
app.command(name="runs")(_explained(runs))
app.command(name="resume")(_explained(resume))
app.command(name="export")(_explained(export))
app.command(name="suspects")(_explained(suspects))
app.command(name="tune")(_explained(tune))
app.command(name="scaling-law")(_explained(scaling_law))
app.command(name="slurm-script")(_explained(slurm_script))
app.command(name="slurm-text")(_explained(slurm_text))
app.command(name="kubernetes-manifest")(_explained(kubernetes_manifest))
app.command(name="train-quality")(_explained(train_quality))
app.command(name="train-perplexity")(_explained(train_perplexity))

if __name__ == "__main__":
    app()
