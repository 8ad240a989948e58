"""The commands `tune` and `scaling-law` with real trainings."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest
import yaml
from mlflow import MlflowClient
from tokenizers import Tokenizer, models
from typer.testing import CliRunner

from assets.home import outputs_folder
from assets.language_model.settings import LanguageModelSettings
from assets.language_model.tracking import open_tracking
from pipelines.command_line import app
from pipelines.definitions import defs
from pipelines.instance_home import dagster_instance
from training.artifact import Artifact, build_artifact, file_sha256
from training.records import read_records
from training.shards import ShardWriter

VOCABULARY_SIZE = 64
MODEL = {"width": 32, "layers": 2, "heads": 4, "feed_forward_width": 64, "context": 32}
PRESET: dict[str, Any] = {
    "ops": {
        "vocabulary": {"config": {"size": 4096}},
        "language_model": {
            "config": {
                "training": {
                    "steps": 400,
                    "batch": 4,
                    "log_every": 10,
                    "checkpoint_every": 50,
                    "inspect_every": 0,
                    "validation_documents": 4,
                    "model": MODEL,
                    "optimizer": {"learning_rate": 0.01},
                    "parallel": {"micro_batch": 4, "compile": False, "precision": "float32"},
                },
                "launch": {"grace_seconds": 60},
            }
        },
    }
}


def run(*arguments: str | Path, code: int = 0) -> str:
    result = CliRunner().invoke(app, list(map(str, arguments)), env={"COLUMNS": "150"})
    assert result.exit_code == code, result.output
    return result.stdout if code == 0 else result.output


def materialize(stage: str, dump: str | None, produce: Callable[[Path], dict[str, int]]) -> Artifact:
    artifact = build_artifact(
        outputs_folder(stage, dump), kind=stage, inputs={}, settings={}, code_version="1", produce=produce
    )
    folder = dg.MetadataValue.path(str(artifact.folder))
    with dagster_instance() as instance:
        instance.report_runless_asset_event(dg.AssetMaterialization(stage, partition=dump, metadata={"folder": folder}))
    return artifact


@pytest.fixture
def materialized(sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Token shards of both dumps, of Chinese characters that follow one another, and their vocabulary."""
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    entries = {"<|endoftext|>": 0} | {chr(0x4E00 + number): number for number in range(1, VOCABULARY_SIZE)}

    def write_vocabulary(folder: Path) -> dict[str, int]:
        Tokenizer(models.WordLevel(entries, unk_token="<|endoftext|>")).save(str(folder / "tokenizer.json"))
        return {}

    vocabulary = materialize("vocabulary", None, write_vocabulary)
    for dump, step in (("tales", 1), ("reviews", VOCABULARY_SIZE - 2)):

        def write_shards(folder: Path, dump: str = dump, step: int = step) -> dict[str, int]:
            generator = np.random.default_rng(step)
            with ShardWriter(
                folder,
                vocabulary_hash=file_sha256(vocabulary.folder / "tokenizer.json"),
                vocabulary_size=VOCABULARY_SIZE,
                end_of_document=0,
                language="zh",
                source=dump,
                dump=dump,
            ) as writer:
                for number in range(200):
                    start, length = int(generator.integers(1, VOCABULARY_SIZE)), int(generator.integers(20, 80))
                    ids = 1 + (start + step * np.arange(length)) % (VOCABULARY_SIZE - 1)
                    writer.add("validation" if number % 20 == 0 else "train", f"{number:032x}", ids, bytes=3 * length)
            return {"train_tokens": 1}

        materialize("token_shards", dump, write_shards)


@pytest.fixture
def preset(tmp_path: Path) -> Path:
    path = tmp_path / "preset.yaml"
    path.write_text(yaml.safe_dump(PRESET))
    return path


def write(path: Path, **settings: Any) -> Path:
    path.write_text(yaml.safe_dump(settings))
    return path


def children(client: MlflowClient, experiment: str, parent: str) -> dict[str, Any]:
    """The runs below a parent by name."""
    found = client.get_experiment_by_name(experiment)
    runs = client.search_runs([found.experiment_id], f"tags.`mlflow.parentRunId` = '{parent}'")
    assert client.get_run(parent).info.experiment_id == found.experiment_id
    return {run.info.run_name: run for run in runs}


def test_wrong_settings_are_told_before_anything_is_trained(
    tmp_path: Path, preset: Path, materialized: None, own_home: Path
) -> None:
    path = tmp_path / "tune.yaml"
    rate = {"low": 0.001, "high": 0.1, "log": True}

    def message(command: str = "tune", **settings: Any) -> str:
        return run(command, write(path, preset=str(preset), **settings), code=2).replace("\n", " ")

    assert "'search.optimizer.lerning_rate'" not in message(search={"optimizer.learning_rate": rate}, trails=3)
    assert "unknown key 'trails', did you mean 'trials'?" in message(search={"optimizer.learning_rate": rate}, trails=3)
    assert "did you mean 'learning_rate'?" in message(search={"optimizer.lerning_rate": rate})
    assert "'search.batch': 0 is not possible" in message(search={"batch": {"type": "int", "low": 0, "high": 8}})
    assert "no preset 'tinny': did you mean 'tiny'?" in run(
        "tune", write(path, preset="tinny", search={"optimizer.learning_rate": rate}), code=2
    )
    assert "cannot be read as YAML" in run("tune", tmp_path / "none.yaml", code=2)
    assert "says nothing about" in message("scaling-law", shares=[0.25, 0.5, 0.75], tokens_per_parameter=[5])
    assert "'shares': 2 is not between 0 and 1" in message("scaling-law", shares=[2])
    assert not list(own_home.rglob("metrics.jsonl"))


def test_without_token_shards_it_says_what_to_run(tmp_path: Path, sources: Path, preset: Path) -> None:
    settings = write(
        tmp_path / "tune.yaml", preset=str(preset), search={"batch": {"type": "choice", "choices": [4, 8]}}
    )
    assert "'tales' has no token shards yet: run the job text_stages" in run("tune", settings, code=2)


@pytest.mark.slow
def test_a_study_killed_in_a_trial_goes_on_and_is_remembered_in_mlflow(
    tmp_path: Path, preset: Path, materialized: None, own_home: Path
) -> None:
    settings = write(
        tmp_path / "tune.yaml",
        preset=str(preset),
        search={
            "optimizer.learning_rate": {"low": 1e-6, "high": 0.01, "log": True},
            "model.heads": {"type": "choice", "choices": [2, 4]},
        },
        trials=3,
        steps=600,
        validations=4,
        random_trials=3,
        seed=2,
        pruning={"trials": 1},
    )
    command = [sys.executable, "-m", "pipelines.command_line", "tune", str(settings)]
    with (tmp_path / "output").open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    deadline = time.monotonic() + 240
    while not any(
        record["step"] >= 60
        for path in (own_home / "tuning").glob("*/trials/0000/metrics.jsonl")
        for record in read_records(path)
    ):
        assert process.poll() is None, (tmp_path / "output").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()

    tuning = json.loads(run("tune", settings, "--json"))
    first, *others = tuning["trials"]
    assert first["state"] == "complete"
    assert first["values"] == {"optimizer.learning_rate": 0.01, "model.heads": 4}
    assert list(first["losses"]) == ["150", "300", "450", "600"]
    assert tuning["best"]["loss"] == min(trial["loss"] for trial in tuning["trials"] if trial["loss"] is not None)
    # A learning rate ten times smaller is seen to be worse at once.
    stopped = [trial for trial in others if trial["values"]["optimizer.learning_rate"] < 0.001]
    assert stopped
    assert {(trial["state"], trial["step"]) for trial in stopped} == {("pruned", 150)}
    folder = Path(tuning["folder"])
    # The killed one went on from a checkpoint, or had come to its end meanwhile.
    steps = [record["step"] for record in read_records(folder / "trials/0000/metrics.jsonl") if "loss" in record]
    assert steps == list(range(10, 601, 10))
    assert not list(folder.rglob("checkpoints"))

    client = open_tracking()
    parent = client.get_run(tuning["mlflow_run"])
    assert parent.info.status == "FINISHED"
    assert parent.data.metrics["best.validation_loss"] == tuning["best"]["loss"]
    assert {"best.yaml", "tuning.png"} <= {entry.path for entry in client.list_artifacts(parent.info.run_id)}
    runs = children(client, "tuning", parent.info.run_id)
    assert set(runs) == {f"trial-{trial['number']:04}" for trial in tuning["trials"] if not trial["reason"]}
    complete = runs["trial-0000"]
    assert complete.info.status == "FINISHED"
    assert complete.data.params["training.optimizer.learning_rate"] == "0.01"
    history = client.get_metric_history(complete.info.run_id, "validation_loss")
    assert {str(metric.step): metric.value for metric in history} == first["losses"]
    assert {dataset.dataset.name for dataset in complete.inputs.dataset_inputs} == {"tales", "reviews"}
    assert {runs[f"trial-{trial['number']:04}"].info.status for trial in stopped} == {"KILLED"}

    best = yaml.safe_load((folder / "best.yaml").read_text())
    chosen = LanguageModelSettings.parse(best["ops"]["language_model"]["config"], origin="best").training
    assert chosen.optimizer.learning_rate == tuning["best"]["values"]["optimizer.learning_rate"]
    assert (chosen.steps, chosen.model.heads) == (400, tuning["best"]["values"]["model.heads"])
    assert dg.validate_run_config(defs.resolve_job_def("raw_to_model"), best)

    # Once more: nothing is trained.
    modified = {path: path.stat().st_mtime_ns for path in folder.rglob("metrics.jsonl")}
    assert json.loads(run("tune", settings, "--json")) == tuning
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("metrics.jsonl")} == modified


@pytest.mark.slow
def test_a_ladder_predicts_and_is_checked(tmp_path: Path, preset: Path, materialized: None, own_home: Path) -> None:
    settings = write(
        tmp_path / "law.yaml",
        preset=str(preset),
        models=[
            {"width": width, "heads": 2, "layers": 1, "feed_forward_width": 2 * width} for width in (8, 12, 16, 24)
        ],
        tokens_per_parameter=[4],
        target={"tokens_per_parameter": 4},
        samples=50,
    )
    law = json.loads(run("scaling-law", settings, "--check", "--json"))
    assert len(law["points"]) == 4
    assert law["law"]["ratio"] == pytest.approx(4, rel=0.02)
    assert law["prediction"]["low"] < law["prediction"]["loss"] < law["prediction"]["high"]
    check = law["check"]
    assert check["error"] == pytest.approx(check["loss"] / law["prediction"]["loss"] - 1)
    assert check["inside"] == (law["prediction"]["low"] <= check["loss"] <= law["prediction"]["high"])
    assert {path.name for path in Path(law["folder"]).iterdir()} >= {"scaling-law.json", "scaling-law.png"}
    client = open_tracking()
    assert client.get_run(law["mlflow_run"]).data.metrics["measured.loss"] == check["loss"]
    runs = children(client, "scaling-law", law["mlflow_run"])
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    assert len(runs) == 5
    modified = {path: path.stat().st_mtime_ns for path in own_home.rglob("metrics.jsonl")}
    shown = run("scaling-law", settings, "--check")
    assert f"Measured: {check['loss']:.4f}" in shown
    assert {path: path.stat().st_mtime_ns for path in own_home.rglob("metrics.jsonl")} == modified
