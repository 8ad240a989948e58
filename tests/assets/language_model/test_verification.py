"""An export against transformers' own, without asking anybody else."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from assets.language_model.verification import TOLERANCE, verify_export
from tests.training.models.test_families import family_model
from tests.training.test_export import export
from training.exports import ExportError

REPOSITORY = Path(__file__).parents[3]
PROGRAM = "import sys, pathlib; from assets.language_model.verification import verify_export as v; " + (
    "print(v(pathlib.Path(sys.argv[1])))"
)


@pytest.mark.parametrize("family", ["qwen3", "gpt2"])
def test_an_export_gives_the_logits_of_transformers(tmp_path: Path, family: str) -> None:
    difference = verify_export(export(family_model(family), tmp_path))
    assert difference is not None
    assert difference <= TOLERANCE


def test_a_recurrent_network_is_opened_again(tmp_path: Path) -> None:
    assert verify_export(export(family_model("lstm"), tmp_path)) is None


def test_a_weight_that_is_no_number_is_refused(tmp_path: Path) -> None:
    weights = export(family_model("qwen3"), tmp_path) / "model.safetensors"
    changed = {name: torch.full_like(value, torch.nan) for name, value in load_file(weights).items()}
    save_file(changed, weights, metadata={"format": "pt"})
    with pytest.raises(ExportError, match="differ from the trainer's by nan"):
        verify_export(weights.parent)


def test_the_hub_is_not_asked(tmp_path: Path) -> None:
    folder = export(family_model("qwen3"), tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as hub:
        hub.setblocking(False)
        environment = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}
        environment |= {"HF_ENDPOINT": f"http://127.0.0.1:{hub.getsockname()[1]}", "PYTHONPATH": str(REPOSITORY)}
        environment |= {"HF_HOME": str(tmp_path / "nothing")}
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(folder)], env=environment, capture_output=True, text=True, check=True
        )
        with pytest.raises(BlockingIOError):
            hub.accept()
    assert float(done.stdout) <= TOLERANCE
