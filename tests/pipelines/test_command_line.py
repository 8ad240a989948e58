from __future__ import annotations

import json
import re
import socket
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from tokenizers import Tokenizer, decoders, models
from typer.testing import CliRunner

from pipelines.command_line import app
from pipelines.instance_home import dagster_instance
from pipelines.plan import preset_training
from training.export import export_model
from training.initialisation import initialise
from training.models import ModelSettings, build_model, parameter_count

runner = CliRunner()


def output_of(*arguments: str, code: int = 0) -> str:
    result = runner.invoke(app, list(arguments), env={"COLUMNS": "150"})
    assert result.exit_code == code, result.output
    return result.output


@pytest.mark.parametrize(
    ("preset", "least", "most"),
    [("tiny", 1e6, 1e7), ("gpt2-124m", 1.0e8, 1.3e8), ("llama-1b", 1.0e9, 1.4e9), ("llama-8b", 7.9e9, 8.1e9)],
)
def test_presets_have_the_size_that_they_are_named_for(preset: str, least: float, most: float) -> None:
    training, processes = preset_training(preset)
    assert least < parameter_count(training.model) < most
    assert training.gradient_accumulation(training.batch, processes) >= 1


def test_plan_shows_memory_by_stage_and_time_by_accelerator() -> None:
    shown = output_of("plan", "llama-8b")
    assert "8,028,172,288 parameters" in shown
    assert "3 (preset)" in shown
    assert "H100 SXM" in shown
    assert "does not fit" in shown
    alone = output_of("plan", "llama-8b", "--gpus", "1", "--utilisation", "0.5")
    # Alone, whatever the stage, it fits the largest one only.
    assert alone.count("B200") == 5


def test_plan_refuses_what_cannot_run(tmp_path: Path) -> None:
    assert "did you mean 'tiny'?" in output_of("plan", "tinny", code=2)
    assert "batch 512 is no multiple of micro_batch 32 times 3" in output_of("plan", "gpt2-124m", "--gpus", "3", code=2)
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"ops": {"language_model": {"config": {"training": {"stepps": 3}}}}}))
    assert "unknown key 'training.stepps', did you mean 'steps'?" in output_of("plan", str(path), code=2)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """An untrained model whose vocabulary is a few Chinese characters."""
    folder = tmp_path / "vocabulary"
    folder.mkdir()
    entries = {"<|endoftext|>": 0, "<|unknown|>": 1} | {character: n + 2 for n, character in enumerate("春眠不觉晓")}
    tokenizer = Tokenizer(models.WordLevel(entries, unk_token="<|unknown|>"))
    tokenizer.decoder = decoders.Fuse()
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = ModelSettings(
        vocabulary_size=len(entries), width=16, layers=1, heads=2, key_value_heads=2, feed_forward_width=32, context=16
    )
    network = build_model(settings)
    initialise(network, seed=0)
    export_model(network.state_dict(), settings, vocabulary=folder, end_of_document=0, folder=tmp_path / "model")
    return tmp_path / "model"


def test_generate_refuses_an_empty_stop_string_in_a_line(model: Path) -> None:
    said = output_of("generate", "春", "--model", str(model), "--stop", "", code=2)
    assert said.startswith("error: corpusline generate: 'stop'")
    assert said.count("\n") == 1


def test_generate_goes_on_from_the_prompt_alike_for_one_seed(model: Path) -> None:
    arguments = ("generate", "春", "--model", str(model), "--tokens", "30")
    first, again, other = (output_of(*arguments, "--seed", seed) for seed in ("1", "1", "2"))
    assert first == again
    assert first != other
    assert all(text.startswith("春") for text in (first, other))


def test_a_model_that_is_not_there_is_named() -> None:
    shown = output_of("generate", "春", "--model", "champion", code=2)
    assert "no model 'corpusline' has the alias or version 'champion'" in shown
    assert "run the job raw_to_model" in shown


def test_a_damaged_model_is_named(model: Path) -> None:
    (model / "model.safetensors").write_bytes(b"")
    assert "holds no whole model" in output_of("generate", "春", "--model", str(model), code=2)


def test_summary_without_a_model_says_what_to_do(own_home: Path) -> None:
    assert "there is no model version yet: run `make demo`" in output_of("summary", code=2)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"folder": "/gone", "name": "corpusline", "version": "1"}, "/gone"),
        ({}, "the newest materialization of model_version was reported by hand and names no folder: materialize it"),
    ],
)
def test_summary_of_a_version_that_is_gone_or_was_reported_by_hand(metadata: dict[str, str], message: str) -> None:
    with dagster_instance() as instance:
        instance.report_runless_asset_event(dg.AssetMaterialization("model_version", metadata=metadata))
    assert f"error: {message}" in output_of("summary", code=2)


def test_summary_outside_of_any_instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CORPUSLINE_HOME")
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    assert "has no dagster.yaml" in output_of("summary", code=2)


def test_home_holds_an_instance_with_its_folders_inside(own_home: Path) -> None:
    folder = Path(output_of("home").strip())
    assert folder == own_home / "dagster"
    settings: dict[str, Any] = yaml.safe_load((folder / "dagster.yaml").read_text())
    assert settings["storage"]["sqlite"]["base_dir"] == str(own_home / "dagster")
    assert settings["telemetry"]["enabled"] is False
    (folder / "dagster.yaml").write_text(json.dumps({"mine": True}))
    output_of("home")
    assert json.loads((folder / "dagster.yaml").read_text()) == {"mine": True}


def test_a_port_in_use_is_refused() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert f"port {port} of 127.0.0.1 is not free" in output_of("mlflow", "--port", port, code=2)


def test_no_console_shows_pictures_for_what_stands_between_colons() -> None:
    rooms = Path(__file__).parents[2] / "pipelines"
    made = [found for path in rooms.glob("*.py") for found in re.findall(r"\bConsole\((.*)", path.read_text("utf-8"))]
    assert len(made) > 10
    assert all(found.startswith("emoji=False") for found in made)
