"""The commands `runs`, `resume`, `export` and `suspects`: trainings on this machine, by hand."""

from __future__ import annotations

import json as json_format
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from training.settings import SettingsError

if TYPE_CHECKING:
    from assets.language_model.training_run import TrainingRun

_RUN = typer.Argument(help="The run's folder, or the beginning of its name in `corpusline runs`.")
_JSON = typer.Option(help="Print everything as JSON.")
_SHOWN = 120
_NAME = 12
_WIDE = 110


def runs() -> None:
    """Show the trainings of this home: how far they are, and the last thing that happened."""
    from training.events import read_events
    from training.watchdog import read_heartbeat

    found = _runs()
    if not found:
        print("no training was started in this home")
        return
    console = Console(emoji=False, highlight=False)
    headings = ["run", "state", "step", "checkpoint", "restarts", "sign of life", "last event"]
    # The last event is a sentence, for which a narrow terminal has no room beside the others.
    is_narrow = console.width < _WIDE
    table, sentences = Table(*headings[:-1] if is_narrow else headings), []
    for run in found:
        events, records = read_events(run.folder), run.records()
        state = "finished" if run.finished else "not finished"
        beat = read_heartbeat(run.folder)
        row = [
            escape(run.folder.name[:_NAME]),
            state,
            str(records[-1]["step"]) if records else "-",
            str(run.newest_step() or "-"),
            str(sum(event.kind == "restart" for event in events)),
            f"{_duration(time.time() - beat.time)} ago" if beat else "-",
        ]
        last = escape(events[-1].message[:_SHOWN]) if events else ""
        table.add_row(*row, *([] if is_narrow else [last]))
        sentences += [f"{row[0]}: {last}"] if is_narrow and last else []
    console.print(table)
    for sentence in sentences:
        console.print(sentence)


def resume(
    run: Annotated[str, _RUN],
    processes: Annotated[int | None, typer.Option(min=1, help="Another number of ranks than before.")] = None,
) -> None:
    """Go on with a training from its newest checkpoint, without Dagster; the next job takes up what it has made.

    Ends with 75 where it was told to stop (SIGTERM, SIGINT) and has written a checkpoint.
    """
    from assets.language_model.launchers.local import rank_environment
    from assets.language_model.supervision import train_supervised
    from training.events import read_events
    from training.exit_codes import STOPPED
    from training.stop_signal import StopSignal

    found = _find(run)
    launch = found.launch()
    if processes is not None:
        launch = launch.model_copy(update={"processes": processes})
    if found.finished:
        raise SettingsError(f"{found.folder} is finished; its model is in {found.folder / 'model'}")
    told = len(read_events(found.folder))
    console = Console(emoji=False, highlight=False, soft_wrap=True)
    stop = StopSignal()

    def tick() -> bool:
        nonlocal told
        events = read_events(found.folder)
        for event in events[told:]:
            console.print(event.message, markup=False)
        told = len(events)
        return stop.received

    if not train_supervised(found, launch, environment=rank_environment(launch), tick=tick):
        raise typer.Exit(STOPPED)


def export(
    checkpoint: Annotated[Path, typer.Argument(help="A folder such as RUN/checkpoints/step-0000000250.")],
    out: Annotated[Path, typer.Argument(help="Folder of the model, which transformers opens.")],
) -> None:
    """Make a model of a training's checkpoint."""
    command = [sys.executable, "-m", "training.export_checkpoint", str(checkpoint), str(out)]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        words = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        raise SettingsError(words[-1].removeprefix("error: ") if words else done.stderr[-2000:])
    print(out)


def suspects(
    run: Annotated[str | None, typer.Argument(help="One run only, as in `corpusline runs`.")] = None,
    json: Annotated[bool, _JSON] = False,
) -> None:
    """Show the documents of steps that trainings have left out because of a spike, the strangest first."""
    from training.spikes import read_skipped
    from training.suspects import read_suspects

    chosen = _runs() if run is None else [_find(run)]
    found = {each.folder.name: read_suspects(each.folder) for each in chosen}
    if json:
        values = {name: [asdict(suspect) for suspect in each] for name, each in found.items() if each}
        print(json_format.dumps(values, ensure_ascii=False, indent=1))
        return
    console = Console(emoji=False, highlight=False, soft_wrap=True)
    for each in chosen:
        for spike in read_skipped(each.folder):
            console.print(f"{each.folder.name[:12]}: {spike}", markup=False)
            for suspect in (one for one in found[each.folder.name] if one.step == spike.step):
                console.print(
                    f"  {suspect.loss:6.2f} nats a token, {suspect.tokens:>4} tokens of {suspect.dump} "
                    f"{suspect.doc_id}: {suspect.text[:_SHOWN]!r}",
                    markup=False,
                )
    if not any(read_skipped(each.folder) for each in chosen):
        console.print("no training has left out a step")


def _runs() -> list[TrainingRun]:
    from assets.home import training_runs_folder
    from assets.language_model.training_run import CONFIGURATION, TrainingRun

    folders = [path.parent for path in training_runs_folder().glob(f"*/{CONFIGURATION}")]
    return [TrainingRun(folder) for folder in sorted(folders, key=lambda folder: folder.stat().st_mtime)]


def _find(name: str) -> TrainingRun:
    from assets.language_model.training_run import TrainingRun

    if Path(name).is_dir():
        return TrainingRun(Path(name).absolute())
    found = [run for run in _runs() if run.folder.name.startswith(name)]
    if not found:
        raise SettingsError(f"no training is called '{name}'; `corpusline runs` shows them")
    if len(found) > 1:
        raise SettingsError(f"{len(found)} trainings begin with '{name}'; write more of the name")
    return found[0]


def _duration(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
