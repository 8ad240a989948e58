"""The commands `slurm-script`, `slurm-text` and `kubernetes-manifest`: what Dagster would submit, to submit by hand."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
import yaml

from training.settings import SettingsError

if TYPE_CHECKING:
    from assets.language_model.launchers.settings import LaunchSettings

Launch = Annotated[Path, typer.Option(help="YAML file with the keys of the launchpad's section `launch`.")]
Run = Annotated[Path, typer.Argument(help="The trainer's file: training, data, vocabulary, output.")]
OnNodes = Annotated[
    Path | None,
    typer.Option(help="That file's path on the nodes, beside which the log is written; by default the same."),
]


def slurm_script(run: Run, launch: Launch, on_nodes: OnNodes = None) -> None:
    """Print a job for sbatch that trains, and queues itself again before its time is over."""
    from assets.language_model.launchers.slurm_script import training_script

    file, output = _places(run, on_nodes)
    settings = _launch(launch, "slurm")
    sys.stdout.write(training_script(file, settings, run=output, log=file.with_suffix(".log")))


def slurm_text(
    preset: Annotated[str, typer.Argument(help="A preset's name, or the path of a run configuration.")],
    launch: Launch,
    dump: Annotated[list[str] | None, typer.Option(help="A dump; may stand several times. By default all.")] = None,
    at_once: Annotated[int | None, typer.Option(min=1, help="Most dumps at the same time.")] = None,
) -> None:
    """Print a script that submits the text stages to Slurm, an array over the dumps each."""
    from assets.home import catalogue_path
    from assets.raw_text.catalogue import load_catalogue
    from pipelines.presets import load_preset
    from pipelines.slurm_text import text_script
    from training.settings import nearest

    known = [source.name for source in load_catalogue(catalogue_path()).sources]
    for name in dump or ():
        if name not in known:
            raise SettingsError(f"no dump '{name}' in the catalogue: {nearest(name, known)}")
    settings = _launch(launch, "slurm").slurm
    sys.stdout.write(text_script(dump or known, load_preset(preset), settings, at_once=at_once))


def kubernetes_manifest(
    run: Run,
    launch: Launch,
    on_nodes: OnNodes = None,
    check: Annotated[bool, typer.Option(help="Let the cluster check it without creating anything.")] = False,
) -> None:
    """Print the object that trains on Kubernetes, for kubectl."""
    from assets.language_model.launchers.kubernetes import check_manifest
    from assets.language_model.launchers.kubernetes_manifest import manifest

    file, output = _places(run, on_nodes)
    settings = _launch(launch, "kubernetes")
    body = manifest(file, settings, run=output, log=file.with_suffix(".log"))
    if check:
        check_manifest(body, settings.kubernetes)
    yaml.dump(body, sys.stdout, Dumper=_Readable, sort_keys=False, allow_unicode=True, width=120)


class _Readable(yaml.SafeDumper):
    """Writes a string of several lines as these lines."""


def _string(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Readable.add_representer(str, _string)


def _launch(path: Path, launcher: str) -> LaunchSettings:
    from assets.language_model.launchers.settings import LaunchSettings
    from pipelines.preset_trainings import read_settings

    settings = read_settings(path, LaunchSettings, {})
    if settings.launcher != launcher:
        raise SettingsError(f"{path}: 'launcher' = '{settings.launcher}', and this command is for '{launcher}'")
    return settings


def _places(run: Path, on_nodes: Path | None) -> tuple[Path, Path]:
    """A trainer's file as nodes see it, and the folder of its training."""
    from training.run_settings import load_run_settings

    return on_nodes or run.absolute(), Path(load_run_settings(run).output)
