from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from assets.language_model.tracking import (
    TrackedTraining,
    TrackingError,
    dataset_input,
    flatten,
    open_experiment,
    open_tracking,
    tracking_uri,
)


def opened() -> tuple[MlflowClient, str]:
    client = open_tracking()
    return client, open_experiment(client, "demo")


def start(client: MlflowClient, experiment: str, fingerprint: str = "f") -> TrackedTraining:
    inputs = [dataset_input("news", digest="d" * 64, folder=Path("/shards"), counts={"tokens": 5})]
    return TrackedTraining.start(
        client,
        experiment,
        name="tiny",
        fingerprint=fingerprint,
        parameters={"optimizer": {"learning_rate": 0.1}},
        tags={"dagster.run": "r"},
        inputs=inputs,
    )


def records(first: int, last: int) -> list[dict[str, Any]]:
    return [{"step": step, "time": 1.0 + step, "loss": 1 / step, "note": "x"} for step in range(first, last)]


def test_each_step_is_there_once_however_often_it_is_sent() -> None:
    client, experiment = opened()
    training = start(client, experiment)
    training.send(records(1, 700))
    training.send(records(500, 900))
    resumed = start(client, experiment)
    resumed.send(records(800, 1001))
    resumed.finish("FINISHED")
    history = client.get_metric_history(training.run_id, "loss")
    assert resumed.run_id == training.run_id
    assert sorted(metric.step for metric in history) == list(range(1, 1001))
    run = client.get_run(training.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params == {"optimizer.learning_rate": "0.1"}
    assert run.data.tags["dagster.run"] == "r"
    (dataset,) = run.inputs.dataset_inputs
    assert dataset.dataset.digest == "d" * 36
    assert {tag.key: tag.value for tag in dataset.tags}["digest"] == "d" * 64


def test_another_training_is_another_run() -> None:
    client, experiment = opened()
    assert start(client, experiment, "a").run_id != start(client, experiment, "b").run_id


class Unreachable:
    """A store that is away."""

    def __init__(self, client: MlflowClient) -> None:
        self.client = client
        self.away = True

    def __getattr__(self, name: str) -> Any:
        if self.away:
            raise ConnectionError("connection refused")
        return getattr(self.client, name)


def test_metrics_made_while_the_store_was_away_arrive_later() -> None:
    client, experiment = opened()
    training = start(client, experiment)
    store = Unreachable(client)
    training.client = store  # type: ignore[assignment]
    training.send(records(1, 5))
    assert training.problem == "connection refused"
    store.away = False
    training.send(records(1, 8))
    assert training.problem is None
    assert [metric.step for metric in client.get_metric_history(training.run_id, "loss")] == [1, 2, 3, 4, 5, 6, 7]


def test_a_server_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(TrackingError, match=r"MLflow at http://127\.0\.0\.1:9 does not answer"):
        open_tracking()


def _open(results: Any) -> None:
    results.put(opened()[1])


def test_many_processes_may_open_a_new_store_at_once() -> None:
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    processes = [context.Process(target=_open, args=(results,)) for _ in range(4)]
    for process in processes:
        process.start()
    assert len({results.get(timeout=120) for _ in processes}) == 1
    for process in processes:
        process.join()


def test_nested_settings_become_dotted_names() -> None:
    assert flatten({"a": {"b": 1, "c": {"d": 2}}, "e": 3}) == {"a.b": 1, "a.c.d": 2, "e": 3}


def test_the_users_own_tracking_server_is_respected(monkeypatch: pytest.MonkeyPatch, own_home: Path) -> None:
    assert tracking_uri() == f"sqlite:///{own_home}/mlflow/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking:5000")
    assert tracking_uri() == "http://tracking:5000"
