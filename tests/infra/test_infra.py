"""The examples for a platform team are what the commands print."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from assets.language_model.launchers.hostfile import read_hostfile
from assets.language_model.launchers.settings import LaunchSettings
from pipelines.command_line import app
from pipelines.preset_trainings import read_settings

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra"
ON_NODES = ["--on-nodes", "/data/corpusline/run.yaml"]
COMMANDS = {
    "slurm/job.sbatch": ["slurm-script", "infra/run.yaml", "--launch", "infra/slurm/launch.yaml", *ON_NODES],
    "slurm/text.sh": ["slurm-text", "llama-1b", "--launch", "infra/slurm/launch.yaml", "--at-once", "64"],
    **{
        f"kubernetes/{kind}.yaml": [
            *("kubernetes-manifest", "infra/run.yaml"),
            *("--launch", f"infra/kubernetes/{kind}-launch.yaml", *ON_NODES),
        ]
        for kind in ("trainjob", "jobset")
    },
}


@pytest.mark.parametrize("name", COMMANDS)
def test_an_example_is_what_its_command_prints(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("CORPUSLINE_SOURCES", raising=False)
    printed = CliRunner().invoke(app, COMMANDS[name], catch_exceptions=False)
    assert printed.exit_code == 0, printed.output
    assert printed.output == (INFRA / name).read_text()


@pytest.mark.parametrize("name", ["slurm/job.sbatch", "slurm/text.sh"])
def test_scripts_are_bash(name: str) -> None:
    subprocess.run(["bash", "-n", str(INFRA / name)], check=True)


def test_the_hostfile_has_the_nodes_that_are_asked_for_and_a_spare() -> None:
    settings = read_settings(INFRA / "ssh" / "launch.yaml", LaunchSettings, {})
    assert len(read_hostfile(INFRA / "ssh" / "hostfile", processes=settings.processes)) == settings.nodes + 1


def test_a_file_for_another_launcher_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    arguments = ["slurm-script", "infra/run.yaml", "--launch", "infra/ssh/launch.yaml"]
    refused = CliRunner().invoke(app, arguments)
    assert refused.exit_code == 2
    assert "'launcher' = 'ssh', and this command is for 'slurm'" in refused.output
