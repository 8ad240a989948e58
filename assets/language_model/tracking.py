"""What MLflow remembers of a training: its run, metrics by step, dataset inputs, and the model's versions.

The trainer knows nothing of MLflow: it writes ``metrics.jsonl``, and what is missing in the tracking store is sent from
there, so that a store that was away gets every step later, each once.
"""

from __future__ import annotations

import fcntl
import json
import logging
import math
import os
import re
import time
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor
from sqlalchemy.exc import SQLAlchemyError

from assets.home import tracking_folder
from training.events import Event

BATCH = 500
PARAMETER_BATCH = 100
PARAMETER_LENGTH = 6000
MOST_NOTED = 50
DIGEST_LENGTH = 36
# MLflow opens a database of its own without translating what the database says.
_STORE_ERRORS = (MlflowException, SQLAlchemyError, OSError)
FINISHED = "FINISHED"
Sent = TypeVar("Sent")
_NOT_IN_A_NAME = re.compile(r"[^/\w.\- :]")
_PASSWORD = re.compile(r"(://[^/\s:@]*):[^/\s@]+@")


class TrackingError(RuntimeError):
    """The tracking store cannot be reached or refuses; nothing of the training is lost by it."""


def tracking_uri() -> str:
    """``MLFLOW_TRACKING_URI`` if the user has set it, otherwise an SQLite file under ``CORPUSLINE_HOME``."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{tracking_folder() / 'mlflow.db'}"


def shown_uri() -> str:
    """``tracking_uri`` as it may stand in logs."""
    return _PASSWORD.sub(r"\1:***@", tracking_uri())


def _in_a_line(error: Exception) -> str:
    """The first line of what an error says, without passwords."""
    words = str(error).splitlines() or [type(error).__name__]
    return _PASSWORD.sub(r"\1:***@", words[0])


@contextmanager
def tracking_errors() -> Iterator[None]:
    """Turn MLflow's own errors into ``TrackingError`` with the store's address."""
    try:
        yield
    except _STORE_ERRORS as error:
        raise _away(_in_a_line(error)) from error


def _away(why: str) -> TrackingError:
    return TrackingError(
        f"MLflow at {shown_uri()} does not answer ({why}); start it or set MLFLOW_TRACKING_URI, then run the job "
        "again: what is trained is not trained again"
    )


def open_tracking() -> MlflowClient:
    """A client of the tracking store.

    The first use of an SQLite store creates its tables; a file lock keeps two processes from doing it at once.

    Raises:
        TrackingError: If the store cannot be reached.
    """
    folder = tracking_folder()
    folder.mkdir(parents=True, exist_ok=True)
    # MLflow otherwise retries an unreachable server for minutes.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
    # It tells of each database that it creates, also where a command only looks into it.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
    with (folder / ".lock").open("w") as lock, tracking_errors():
        fcntl.flock(lock, fcntl.LOCK_EX)
        client = MlflowClient(tracking_uri=tracking_uri())
        client.search_experiments(max_results=1)
        return client


def open_experiment(client: MlflowClient, name: str) -> str:
    """Id of the experiment of that name, which is created if there is none."""
    folder = tracking_folder()
    with (folder / ".lock").open("w") as lock, tracking_errors():
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        local = tracking_uri().startswith("sqlite:")
        location = (folder / "artifacts" / name).as_uri() if local else None
        return str(client.create_experiment(name, artifact_location=location))


@dataclass
class TrackedTraining:
    """The MLflow run of one training. A training that is resumed goes on in the same run.

    Attributes:
        client: Client of the tracking store.
        run_id: The run.
        problem: Why the last attempt to send metrics failed, or None.
    """

    client: MlflowClient
    run_id: str
    problem: str | None = None
    _sent: dict[str, set[int]] = field(default_factory=dict)

    @classmethod
    def start(
        cls,
        client: MlflowClient,
        experiment_id: str,
        *,
        name: str,
        fingerprint: str,
        parameters: Mapping[str, Any],
        tags: Mapping[str, str],
        inputs: Sequence[DatasetInput],
    ) -> TrackedTraining:
        """Open the run of this training fingerprint, or start one with its parameters, tags and dataset inputs.

        What an earlier start that was cut short has left out is added.
        """
        with tracking_errors():
            found = client.search_runs([experiment_id], f"tags.`corpusline.training` = '{fingerprint}'", max_results=1)
            if found:
                run = found[0]
                client.update_run(run.info.run_id, status="RUNNING")
            else:
                run = client.create_run(experiment_id, run_name=name, tags={**tags, "corpusline.training": fingerprint})
            run_id = str(run.info.run_id)
            missing = [
                Param(key, str(value)[:PARAMETER_LENGTH])
                for key, value in flatten(parameters).items()
                if key not in run.data.params
            ]
            for batch in _batches(missing, PARAMETER_BATCH):
                client.log_batch(run_id, params=batch)
            if not run.inputs.dataset_inputs:
                client.log_inputs(run_id, datasets=list(inputs))
            client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])
        return cls(client, run_id)

    def send(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Send the metrics of these records that the store does not have yet.

        Never raises: when the store is away ``problem`` says why, and the next call sends what is missing.

        Args:
            records: Flat records with ``step``, ``time`` (seconds since 1970) and numbers.
        """
        metrics = [metric for record in records for metric in _metrics(record)]
        try:
            missing = [metric for metric in metrics if metric.step not in self._steps(metric.key)]
            for batch in _batches(missing, BATCH):
                self.client.log_batch(self.run_id, metrics=batch)
                for metric in batch:
                    self._sent[metric.key].add(metric.step)
            self.problem = None
        except _STORE_ERRORS as error:
            self.problem = _in_a_line(error)

    def note(self, events: Sequence[Event]) -> bool:
        """Write what happened into the run's description; whether the store took it."""
        lines = [
            f"- {time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(event.time))} UTC, step {event.step}: {event.message}"
            for event in events[-MOST_NOTED:]
        ]
        try:
            self.client.set_tag(self.run_id, "mlflow.note.content", "\n".join(lines))
        except _STORE_ERRORS as error:
            self.problem = _in_a_line(error)
            return False
        return True

    def _steps(self, key: str) -> set[int]:
        if key not in self._sent:
            self._sent[key] = {metric.step for metric in self.client.get_metric_history(self.run_id, key)}
        return self._sent[key]

    @contextmanager
    def system_metrics(self) -> Iterator[None]:
        """Sample this machine's CPU, memory, disk, network and GPUs into the run while the context is open."""
        monitor = SystemMetricsMonitor(
            self.run_id, sampling_interval=5, resume_logging=True, tracking_uri=tracking_uri()
        )
        monitor.start()
        try:
            yield
        finally:
            monitor.finish()

    def finish(self, status: str) -> None:
        """End the run with FINISHED, FAILED or KILLED.

        Raises:
            TrackingError: If the store does not answer, or it is FINISHED and has not taken the last metrics.
        """
        if status == FINISHED and self.problem is not None:
            raise _away(self.problem)
        with tracking_errors():
            self.client.set_terminated(self.run_id, status=status)


def dataset_input(name: str, *, digest: str, folder: Path, counts: Mapping[str, int]) -> DatasetInput:
    """A dump's token shards as a dataset of a training run: digest shortened to MLflow's limit, whole one as a tag."""
    dataset = Dataset(
        name=name,
        digest=digest[:DIGEST_LENGTH],
        source_type="local",
        source=json.dumps({"uri": folder.as_uri()}),
        profile=json.dumps(dict(counts)),
    )
    return DatasetInput(dataset, [InputTag("mlflow.data.context", "training"), InputTag("digest", digest)])


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as dotted names."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _batches(values: Sequence[Sent], size: int) -> Iterator[Sequence[Sent]]:
    """As many at once as the store takes."""
    return (values[start : start + size] for start in range(0, len(values), size))


def _metrics(record: Mapping[str, Any]) -> list[Metric]:
    step, milliseconds = int(record["step"]), int(float(record["time"]) * 1000)
    return [
        Metric(_name(key), float(value), milliseconds, step)
        for key, value in flatten(record).items()
        if key not in ("step", "time") and isinstance(value, int | float) and math.isfinite(value)
    ]


def _name(key: str) -> str:
    """A metric's name as MLflow takes it, which is without the marks that some scripts put on letters of a dump."""
    return _NOT_IN_A_NAME.sub("_", unicodedata.normalize("NFC", key))


def log_changed(client: MlflowClient, run_id: str, metrics: Mapping[str, float], *, step: int) -> None:
    """Add to a run those of these numbers that are not its newest already."""
    with tracking_errors():
        present = client.get_run(run_id).data.metrics
        now = int(time.time() * 1000)
        named = {_name(key): value for key, value in metrics.items()}
        changed = [Metric(key, value, now, step) for key, value in named.items() if present.get(key) != value]
        for batch in _batches(changed, BATCH):
            client.log_batch(run_id, metrics=batch)


def is_finished(client: MlflowClient, fingerprint: str) -> bool:
    """Whether the MLflow run of a training is there and has all of it."""
    run_id = find_run(client, fingerprint)
    with tracking_errors():
        return run_id is not None and client.get_run(run_id).info.status == FINISHED


def find_run(client: MlflowClient, fingerprint: str) -> str | None:
    """Id of the MLflow run of a training, in whichever experiment it is, or None."""
    with tracking_errors():
        experiments = [experiment.experiment_id for experiment in client.search_experiments()]
        found = client.search_runs(experiments, f"tags.`corpusline.training` = '{fingerprint}'", max_results=1)
    return str(found[0].info.run_id) if found else None
