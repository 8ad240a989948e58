"""The whole line on small text: raw files to a registered model, and what is computed again when something changes."""

from __future__ import annotations

import fcntl
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from small_line import Jobs, review, run_configuration, text_configuration
from transformers import AutoModelForCausalLM, AutoTokenizer

from assets.language_model.registration import version_folder
from assets.language_model.supervision import SUPERVISED
from assets.language_model.tracking import TrackedTraining, open_experiment, open_tracking
from assets.trace.report import document_report, step_report, text_report
from assets.trace.run import open_run

TEXT = ["raw_text", "filtered_text", "clean_text", "token_shards"]
DUMPS = ["tales", "reviews"]


def computed(result: dict[str, Any]) -> set[str]:
    """What was not there before."""
    return {name for name, metadata in result["made"].items() if not metadata["reused"]}


def test_from_raw_files_to_a_registered_model_and_only_what_changed_again(run_jobs: Jobs, sources: Path) -> None:
    whole = {"job": "raw_to_model", "config": run_configuration()}
    other_rate = {"job": "raw_to_model", "config": run_configuration(optimizer={"learning_rate": 0.01})}
    more = (sources / "reviews.jsonl").read_text() + json.dumps({"text": review(900)}, ensure_ascii=False) + "\n"
    first, again, retrained, extended = run_jobs(
        [whole, whole, other_rate, {"write": {str(sources / "reviews.jsonl"): more}}, whole]
    )
    for result in (first, again, retrained, extended):
        assert result["success"], result["failures"]
        assert result["checks"] == {"rows_conserved": True, "copies_within_bounds": True}
    everything = {f"{asset}[{dump}]" for asset in TEXT for dump in DUMPS}
    everything |= {"duplicates", "vocabulary", "vocabulary_report", "language_model", "evaluation", "model_version"}
    assert computed(first) == everything
    assert computed(again) == set()
    assert computed(retrained) == {"language_model", "evaluation", "model_version"}
    assert computed(extended) == everything - {"raw_text[tales]", "filtered_text[tales]", "clean_text[tales]"}

    # Half of the reviews are copies.
    assert first["made"]["clean_text[reviews]"]["dropped_exact_duplicate"] == 60
    assert first["made"]["clean_text[reviews]"]["kept"] == 60
    check_model_folder(Path(first["made"]["model_version"]["folder"]))
    check_trace(Path(first["made"]["model_version"]["folder"]))
    check_tracking(first, retrained)


def check_model_folder(folder: Path) -> None:
    """The folder opens in transformers, which writes with it, and tells what it is made of."""
    model = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=False)
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    inputs = tokenizer("我觉得", return_tensors="pt")
    written = model.generate(**inputs, max_new_tokens=8, do_sample=False)
    assert written.shape[1] > inputs["input_ids"].shape[1]
    card = (folder / "README.md").read_text()
    assert "| tales |" in card
    assert "CC0" in card
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["documents"], summary["kept"]) == (180, 120)
    assert set(summary["languages"]) == {"en", "zh"}
    assert [len(samples) for samples in summary["samples"].values()] == [2, 2]
    assert {language: samples[0][0] for language, samples in summary["samples"].items()} == {"en": "The ", "zh": "我"}
    for language, baselines in summary["baselines"].items():
        assert set(baselines) == {"gzip", "xz", "bigram"}
        assert summary["languages"][language]["bits_per_byte"] > 0


def check_trace(folder: Path) -> None:
    """From a registered version to the documents of a step; from a phrase to a document, its steps and raw bytes."""
    run = open_run(folder)
    report = step_report(run, 5)
    assert sum(seen.tokens for seen, _ in report.documents) == 4 * 32
    assert {document.licence for _, document in report.documents} <= {"CC0-1.0", "CC0", "unknown"}
    found = text_report(run, "这是我第", limit=3)
    assert found.count > 20
    place = found.places[0]
    document = document_report(run, place.doc_id)
    assert set(place.steps) <= {step.step for step in document.trace.steps}
    assert document.raw is not None
    assert document.document.text[:10] in document.raw.content


def check_tracking(first: dict[str, Any], retrained: dict[str, Any]) -> None:
    """MLflow leads from the version to the run, the data and the code, and the aliases are where they belong."""
    client: MlflowClient = open_tracking()
    versions = {version.version: version for version in client.search_model_versions("name = 'corpusline'")}
    assert len(versions) == 3
    one, two = (str(result["made"]["model_version"]["version"]) for result in (first, retrained))
    assert version_folder(client, "corpusline", one) == Path(first["made"]["model_version"]["folder"])
    assert first["made"]["model_version"]["champion"] is True
    better = retrained["made"]["model_version"]["bits_per_byte"] < first["made"]["model_version"]["bits_per_byte"]
    assert retrained["made"]["model_version"]["champion"] is better
    assert client.get_model_version_by_alias("corpusline", "candidate").version == 3
    run = client.get_run(versions[int(two)].run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["training.optimizer.learning_rate"] == "0.01"
    assert {dataset.dataset.name for dataset in run.inputs.dataset_inputs} == set(DUMPS)
    assert {"dagster.run_id", "corpusline.code", "corpusline.fingerprint"} <= run.data.tags.keys()
    losses = client.get_metric_history(run.info.run_id, "loss")
    assert sorted(metric.step for metric in losses) == [1, 2, 3, 4, 5, 6]
    assert run.data.metrics["final.language.zh.bits_per_byte"] > 0


def test_one_bad_dump_fails_alone(run_jobs: Jobs, sources: Path) -> None:
    broken = (sources / "reviews.jsonl").read_text().replace("}\n", "\n", 1)
    (result,) = run_jobs(
        [
            {"write": {str(sources / "reviews.jsonl"): broken}},
            {"job": "text_stages", "config": text_configuration()},
        ]
    )
    assert not result["success"]
    assert set(result["made"]) == {"raw_text[tales]"}
    (message,) = result["failures"]
    assert "source 'reviews', file reviews.jsonl, line 1: invalid JSON" in message
    assert "on_invalid: skip" in message


@pytest.mark.parametrize(
    ("asset", "settings", "message"),
    [
        ("vocabulary", {"size": 60_000}, "'size' = 60000 is more than the text supports"),
    ],
)
def test_settings_that_the_text_does_not_support(
    run_jobs: Jobs, asset: str, settings: dict[str, Any], message: str
) -> None:
    config = text_configuration()
    config["ops"][asset]["config"] |= settings
    (result,) = run_jobs([{"job": "text_stages", "config": config}])
    assert not result["success"]
    assert message in result["failures"][0]


@pytest.mark.slow
def test_two_runs_from_nothing_give_the_same_files_and_losses(
    run_jobs: Jobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = []
    for home in ("one", "two"):
        monkeypatch.setenv("CORPUSLINE_HOME", str(tmp_path / home))
        results += run_jobs([{"job": "raw_to_model", "config": run_configuration()}])
    one, two = (result["made"] for result in results)
    assert one.keys() == two.keys()
    unlike = {name for name in one if one[name]["digest"] != two[name]["digest"]}
    # The trainer's record holds times of day; what it computes is compared below.
    assert unlike <= {"language_model", "evaluation", "model_version"}
    losses = [
        [json.loads(line).get("loss") for line in (Path(made["language_model"]["folder"]) / "metrics.jsonl").open()]
        for made in (one, two)
    ]
    assert losses[0] == losses[1]
    weights = [(Path(made["model_version"]["folder"]) / "model.safetensors").read_bytes() for made in (one, two)]
    assert weights[0] == weights[1]


def run_without_mlflow(run_jobs: Jobs, monkeypatch: pytest.MonkeyPatch, step: dict[str, Any]) -> list[dict[str, Any]]:
    with monkeypatch.context() as away:
        away.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
        away.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        return run_jobs([step])


def begin(client: MlflowClient, run: Path, **tags: str) -> TrackedTraining:
    """The MLflow run of a training, without anything that it did."""
    experiment = open_experiment(client, "corpusline")
    return TrackedTraining.start(
        client, experiment, name="begun", fingerprint=run.name, parameters={}, tags=tags, inputs=[]
    )


def test_a_later_run_sends_what_mlflow_has_missed_of_a_training_that_is_done(
    run_jobs: Jobs, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = {"job": "raw_to_model", "config": run_configuration()}
    (without,) = run_without_mlflow(run_jobs, monkeypatch, whole)
    assert "MLflow at http://127.0.0.1:9 does not answer" in without["failures"][0]
    # It had begun to take metrics when it went away.
    (run,) = (own_home / "training-runs").glob("*/report.json")
    client = open_tracking()
    started = begin(client, run.parent)
    results = run_jobs([whole, whole])
    for result in results:
        assert result["success"], result["failures"]
        assert result["made"]["language_model"]["reused"]
    found = client.get_run(started.run_id)
    assert found.info.status == "FINISHED"
    losses = client.get_metric_history(started.run_id, "loss")
    assert sorted(metric.step for metric in losses) == [1, 2, 3, 4, 5, 6]
    assert {dataset.dataset.name for dataset in found.inputs.dataset_inputs} == set(DUMPS)
    assert len(client.get_metric_history(started.run_id, "final.loss")) == 1


def test_a_second_run_of_one_training_is_refused_and_touches_nothing_in_mlflow(
    run_jobs: Jobs, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = {"job": "raw_to_model", "config": run_configuration()}
    run_without_mlflow(run_jobs, monkeypatch, whole)
    (report,) = (own_home / "training-runs").glob("*/report.json")
    shutil.rmtree(own_home / "outputs" / "language_model")
    report.unlink()
    client = open_tracking()
    first = begin(client, report.parent, **{"dagster.run_id": "first"})
    with (report.parent / SUPERVISED).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        (second,) = run_jobs([whole])
    assert "another training is at work" in second["failures"][0]
    found = client.get_run(first.run_id)
    assert found.info.status == "RUNNING"
    assert found.data.tags["dagster.run_id"] == "first"


def test_settings_of_what_follows_are_refused_before_the_training_and_a_version_tells_of_its_own_data(
    run_jobs: Jobs, sources: Path
) -> None:
    whole = {"job": "raw_to_model", "config": run_configuration()}
    wrong = {"job": "raw_to_model", "config": run_configuration()}
    wrong["config"]["ops"]["evaluation"]["config"]["batch"] = 0
    wrong["config"]["ops"]["model_version"] = {"config": {"name": "my/model"}}
    other_shards = {"job": "text_stages", "config": text_configuration()}
    other_shards["config"]["ops"]["token_shards"]["config"]["seed"] = 1
    version_alone = {"job": "raw_to_model", "assets": ["model_version"], "config": {}}
    refused, first, text, alone = run_jobs([wrong, whole, other_shards, version_alone])
    assert "'batch' = 0" in refused["failures"][0]
    assert "'name' = 'my/model'" in refused["failures"][0]
    assert "token_shards[tales]" in refused["made"]
    assert "language_model" not in refused["made"]
    assert first["success"], first["failures"]
    assert text["success"], text["failures"]
    assert not alone["success"]
    assert "the model was trained on other token shards of tales, reviews" in alone["failures"][0]
