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
from tokenizers import Tokenizer, models

from assets.language_model.verification import TOLERANCE, verify_export
from training.export import export_model
from training.exports import ExportError
from training.initialisation import initialise
from training.models import Architecture, ModelSettings, build_model

REPOSITORY = Path(__file__).parents[3]
PROGRAM = "import sys, pathlib; from assets.language_model.verification import verify_export as v; " + (
    "print(v(pathlib.Path(sys.argv[1])))"
)


def exported(folder: Path, architecture: Architecture) -> Path:
    settings = ModelSettings(
        architecture=architecture,
        vocabulary_size=20,
        width=16,
        heads=2,
        context=16,
        zero_output_projections=False,
    )
    model = build_model(settings)
    initialise(model, seed=0)
    (folder / "vocabulary").mkdir()
    entries = {"<|endoftext|>": 0} | {chr(0x4E00 + number): number for number in range(1, 20)}
    Tokenizer(models.WordLevel(entries, unk_token="<|endoftext|>")).save(str(folder / "vocabulary" / "tokenizer.json"))
    export_model(
        model.state_dict(), settings, vocabulary=folder / "vocabulary", end_of_document=0, folder=folder / "model"
    )
    return folder / "model"


@pytest.mark.parametrize("architecture", ["decoder", "gpt2"])
def test_an_export_gives_the_logits_of_transformers(tmp_path: Path, architecture: Architecture) -> None:
    difference = verify_export(exported(tmp_path, architecture))
    assert difference is not None
    assert difference <= TOLERANCE


def test_a_recurrent_network_is_opened_again(tmp_path: Path) -> None:
    assert verify_export(exported(tmp_path, "lstm")) is None


def test_a_weight_that_is_no_number_is_refused(tmp_path: Path) -> None:
    weights = exported(tmp_path, "decoder") / "model.safetensors"
    changed = {name: torch.full_like(value, torch.nan) for name, value in load_file(weights).items()}
    save_file(changed, weights, metadata={"format": "pt"})
    with pytest.raises(ExportError, match="differ from the trainer's by nan"):
        verify_export(weights.parent)


def test_the_hub_is_not_asked(tmp_path: Path) -> None:
    folder = exported(tmp_path, "decoder")
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
