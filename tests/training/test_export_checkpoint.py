"""Checkpoints as ZeRO's stage 0 leaves them, made by hand; those of real trainings are in test_runs_command.py."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from training.artifact import FileEntry, file_sha256
from training.checkpoint import FORMAT, RECORD, Checkpoint, CheckpointError
from training.export import load_model
from training.export_checkpoint import export_checkpoint
from training.initialisation import initialise
from training.models import LanguageModel, build_model
from training.preflight import open_data
from training.run_settings import load_run_settings
from training.settings import SettingsError

STATES = "mp_rank_00_model_states.pt"


def write_checkpoint(run: Path, content: Any, *, step: int = 6) -> Path:
    """A checkpoint with its record."""
    folder = run / "checkpoints" / f"step-{step:010d}"
    folder.mkdir(parents=True)
    file = folder / STATES
    torch.save(content, file)
    entry = FileEntry(STATES, file.stat().st_size, file_sha256(file))
    checkpoint = Checkpoint(step=step, samples=8 * step, ranks=1, zero_stage=0, fingerprint="", files=(entry,))
    (folder / RECORD).write_text(json.dumps({"format": FORMAT, **asdict(checkpoint)}))
    return folder


@pytest.fixture
def run(configure: Callable[..., Path]) -> Path:
    """A run's folder with its record, without checkpoints."""
    settings = load_run_settings(configure("run", parallel={"zero_stage": 0}))
    folder = Path(settings.output)
    folder.mkdir()
    (folder / "run.json").write_text(settings.model_dump_json())
    return folder


@pytest.fixture
def model(run: Path) -> LanguageModel:
    training, _ = open_data(load_run_settings(run / "run.json"))
    built = build_model(training.model)
    initialise(built, seed=1)
    return built.eval()


def test_the_model_of_a_checkpoint_is_that_of_the_training(run: Path, model: LanguageModel, tmp_path: Path) -> None:
    checkpoint = write_checkpoint(run, {"module": model.state_dict()})
    out = tmp_path / "new" / "model"
    out.parent.mkdir()
    export_checkpoint(checkpoint, out)
    tokens = torch.arange(1, 21)[None]
    assert torch.equal(load_model(out)(tokens), model(tokens))
    assert (out / "tokenizer.json").is_file()
    assert [path.name for path in out.parent.iterdir()] == ["model"], "nothing half-written is left"
    shutil.rmtree(out)
    out.mkdir()
    export_checkpoint(checkpoint, out)
    with pytest.raises(SettingsError, match="new/model is there already; name a new folder"):
        export_checkpoint(checkpoint, out)


def test_what_is_no_whole_checkpoint_is_refused(run: Path, model: LanguageModel, tmp_path: Path) -> None:
    checkpoint = write_checkpoint(run, {"module": model.state_dict()})
    out = tmp_path / "out"
    for path in (run, run / "checkpoints", Path("/step-6"), checkpoint.with_name(f".{checkpoint.name}")):
        with pytest.raises(CheckpointError, match="is no checkpoint; name a folder such as"):
            export_checkpoint(path, out)
    with pytest.raises(CheckpointError, match=r"step-0000000007 cannot be used: .*No such file.*checkpoint\.json"):
        export_checkpoint(checkpoint.with_name("step-0000000007"), out)
    states = (checkpoint / STATES).read_bytes()
    (checkpoint / STATES).write_bytes(states[: len(states) // 2])
    with pytest.raises(CheckpointError, match=rf"step-0000000006 cannot be used: {STATES} is missing or damaged"):
        export_checkpoint(checkpoint, out)
    (checkpoint / RECORD).write_text("{")
    with pytest.raises(CheckpointError, match="step-0000000006 cannot be used"):
        export_checkpoint(checkpoint, out)
    lacking = {name: value for name, value in model.state_dict().items() if name != "embedding.weight"}
    with pytest.raises(CheckpointError, match=r"lacks the weights embedding\.weight"):
        export_checkpoint(write_checkpoint(run, {"module": lacking}, step=8), out)
    (run / "run.json").unlink()
    with pytest.raises(SettingsError, match=r"holds no training: there is no run\.json in it"):
        export_checkpoint(write_checkpoint(run, {"module": model.state_dict()}, step=9), out)
    assert not out.exists()


class Malice:
    def __init__(self, marker: Path) -> None:
        self.marker = str(marker)

    def __reduce__(self) -> Any:
        return (os.mkdir, (self.marker,))


def test_a_checkpoint_that_is_a_program_is_not_run(run: Path, model: LanguageModel, tmp_path: Path) -> None:
    marker, out = tmp_path / "executed", tmp_path / "out"
    checkpoint = write_checkpoint(run, {"module": model.state_dict(), "more": Malice(marker)})
    with pytest.raises(CheckpointError, match="holds more than data and is not opened"):
        export_checkpoint(checkpoint, out)
    assert not marker.exists()
    assert not out.exists()
