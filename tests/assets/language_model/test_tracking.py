from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from assets.language_model.settings import LanguageModelSettings
from assets.language_model.tracking import (
    TrackedTraining,
    TrackingError,
    dataset_input,
    flatten,
    is_finished,
    log_changed,
    open_experiment,
    open_tracking,
    tracking_errors,
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


def sent_while_away() -> tuple[MlflowClient, TrackedTraining, Unreachable]:
    """A training that sent the metrics of four steps to a store that is away."""
    client, experiment = opened()
    training = start(client, experiment)
    store = Unreachable(client)
    training.client = store  # type: ignore[assignment]
    training.send(records(1, 5))
    return client, training, store


def test_metrics_made_while_the_store_was_away_arrive_later() -> None:
    client, training, store = sent_while_away()
    assert training.problem == "connection refused"
    store.away = False
    training.send(records(1, 8))
    assert training.problem is None
    assert [metric.step for metric in client.get_metric_history(training.run_id, "loss")] == [1, 2, 3, 4, 5, 6, 7]


def test_a_run_ends_as_finished_only_with_all_its_metrics() -> None:
    client, training, store = sent_while_away()
    store.away = False
    assert not is_finished(client, "f")
    with pytest.raises(TrackingError, match="connection refused"):
        training.finish("FINISHED")
    assert not is_finished(client, "f")
    training.send(records(1, 5))
    training.finish("FINISHED")
    assert is_finished(client, "f")
    assert not is_finished(client, "another")


def test_what_a_start_that_was_cut_short_has_left_out_is_added() -> None:
    client, experiment = opened()

    class Cut:
        def __getattr__(self, name: str) -> Any:
            if name == "log_inputs":
                raise ConnectionError("broke off")
            return getattr(client, name)

    with pytest.raises(TrackingError, match="broke off"):
        start(Cut(), experiment)  # type: ignore[arg-type]
    run = client.get_run(start(client, experiment).run_id)
    assert run.data.params == {"optimizer.learning_rate": "0.1"}
    assert [found.dataset.name for found in run.inputs.dataset_inputs] == ["news"]


def test_an_error_without_words_is_named_by_its_kind() -> None:
    client, experiment = opened()
    training = start(client, experiment)

    class Silent:
        def __getattr__(self, name: str) -> Any:
            raise TimeoutError

    training.client = Silent()  # type: ignore[assignment]
    training.send(records(1, 5))
    assert training.problem == "TimeoutError"


def test_dumps_may_be_named_in_every_script() -> None:
    client, experiment = opened()
    training = start(client, experiment)
    training.send([{"step": 1, "time": 1.0, "validation": {"हिन्दी": {"loss": 2.0}, "vie\u0323t": {"loss": 3.0}}}])
    assert training.problem is None
    log_changed(client, training.run_id, {"final.dump.हिन्दी.loss": 2.0}, step=1)
    metrics = client.get_run(training.run_id).data.metrics
    assert metrics == {"validation.ह_न_द_.loss": 2.0, "validation.viẹt.loss": 3.0, "final.dump.ह_न_द_.loss": 2.0}


def test_numbers_that_a_run_has_already_are_not_added_again() -> None:
    client, experiment = opened()
    run_id = start(client, experiment).run_id
    for loss in (2.0, 2.0, 1.5):
        log_changed(client, run_id, {"final.loss": loss, "final.bits": 1.0}, step=7)
    assert [metric.value for metric in client.get_metric_history(run_id, "final.loss")] == [2.0, 1.5]
    assert len(client.get_metric_history(run_id, "final.bits")) == 1


def test_a_database_that_cannot_be_opened_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    path.write_text("not a database " * 1000)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{path}")
    with pytest.raises(TrackingError, match="file is not a database"):
        open_tracking()


def test_passwords_of_the_address_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9")
    with pytest.raises(TrackingError, match=r"http://me:\*\*\*@127\.0\.0\.1:9 does not") as raised, tracking_errors():
        raise MlflowException("API request to http://me:secret@127.0.0.1:9/api failed")
    assert "secret" not in str(raised.value)


def test_variables_of_ranks_are_not_shown() -> None:
    launch = {"kubernetes": {"environment": {"AWS_SECRET_ACCESS_KEY": "secret"}, "cpu": "4"}}
    shown = LanguageModelSettings.parse({"launch": launch}, origin="test").shown()
    assert "secret" not in str(shown)
    assert shown["launch"]["kubernetes"]["cpu"] == "4"


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
