from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PROGRAM = """
import importlib, os, sys

importlib.import_module(sys.argv[1])
from huggingface_hub import constants
from mlflow.telemetry import get_telemetry_client
from mlflow.telemetry.utils import is_telemetry_disabled

print(is_telemetry_disabled(), get_telemetry_client(), constants.HF_HUB_DISABLE_TELEMETRY)
"""


def told_by(program: str, *arguments: str, folder: Path, **variables: str) -> str:
    """What an interpreter prints whose environment says nothing else about telemetry."""
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=REPOSITORY,
        env={"PATH": os.environ["PATH"], "CORPUSLINE_HOME": str(folder), "PYTHONPATH": str(REPOSITORY), **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.mark.parametrize(
    "module", ["assets.language_model.registration", "pipelines.definitions", "benchmarks.survival.__main__"]
)
def test_telemetry_is_off_in_a_bare_environment(module: str, tmp_path: Path) -> None:
    assert told_by(PROGRAM, module, folder=tmp_path) == "True None True"


def test_what_somebody_has_chosen_stays(tmp_path: Path) -> None:
    program = "import assets, os; print(os.environ['DO_NOT_TRACK'], os.environ['MLFLOW_DISABLE_TELEMETRY'])"
    assert told_by(program, folder=tmp_path, DO_NOT_TRACK="1") == "1 true"
