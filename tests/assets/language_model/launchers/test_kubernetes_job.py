"""A job on Kubernetes, followed by the real client over HTTP; the server keeps objects as Kubernetes' own would."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from assets.language_model.launchers import launch
from assets.language_model.launchers.kubernetes import check_manifest
from assets.language_model.launchers.kubernetes_manifest import exit_file, job_name
from assets.language_model.launchers.settings import LaunchSettings
from assets.language_model.supervision import TrainerError, train_supervised
from assets.language_model.training_run import TrainingRun
from training.events import read_events
from training.settings import SettingsError

pytest.importorskip("kubernetes", reason="pip install kubernetes")


@dataclass
class Cluster:
    """Objects by path, and what was asked."""

    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    refusal: str = ""
    away: bool = False

    def status(self, **status: Any) -> None:
        (found,) = self.objects.values()
        found["status"] = status


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    state = Cluster()

    class Handler(BaseHTTPRequestHandler):
        def handle_one_request(self) -> None:
            if state.away:
                self.close_connection = True
                return
            super().handle_one_request()

        def answer(self, code: int, body: dict[str, Any]) -> None:
            content = json.dumps(body).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_GET(self) -> None:
            found = state.objects.get(self.path)
            self.answer(200 if found else 404, found or {"reason": "NotFound"})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            path, _, query = self.path.partition("?")
            state.asked.append(f"create {path} {query}".strip())
            if state.refusal:
                self.answer(422, {"message": state.refusal})
                return
            if not query:
                state.objects[f"{path}/{body['metadata']['name']}"] = body
            self.answer(201, body)

        def do_DELETE(self) -> None:
            path = self.path.partition("?")[0]
            state.asked.append(f"delete {path}")
            found = state.objects.pop(path, None)
            self.answer(200 if found else 404, {})

        def log_message(self, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    configuration = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "here", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
        "users": [{"name": "me", "user": {}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
        "current-context": "here",
    }
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(configuration))
    monkeypatch.setenv("KUBECONFIG", str(path))
    yield state
    server.shutdown()


@pytest.fixture
def settings(tmp_path: Path) -> LaunchSettings:
    kubernetes = {
        "kind": "trainjob",
        "image": "corpusline:1",
        "namespace": "research",
        "context": "here",
        "claims": {"data": str(tmp_path)},
        "poll_seconds": 0.001,
    }
    return LaunchSettings.parse({"launcher": "kubernetes", "nodes": 2, "kubernetes": kubernetes}, origin="launch")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "runs" / "5188d277aa9dcffa"
    folder.mkdir(parents=True)
    return folder


def polled(launched: Any) -> int | None:
    for _ in range(3):
        time.sleep(0.005)
        if (code := launched.poll()) is not None:
            return int(code)
    return None


PLACE = "/apis/trainer.kubeflow.org/v1alpha1/namespaces/research/trainjobs"


def test_a_job_is_created_followed_and_its_exit_code_read(
    cluster: Cluster, settings: LaunchSettings, run: Path
) -> None:
    exit_file(run).write_text("1")
    with launch(run / "configuration.json", settings, environment={}, log=run / "trainer.log") as launched:
        assert cluster.asked == [f"delete {PLACE}/{job_name(run)}", f"create {PLACE}"]
        assert polled(launched) is None
        assert launched.waiting
        cluster.status(jobsStatus=[{"name": "node", "active": 1}])
        assert polled(launched) is None
        assert not launched.waiting
        cluster.status(conditions=[{"type": "Failed", "status": "True", "message": "BackoffLimitExceeded"}])
        exit_file(run).write_text("75")
        assert polled(launched) == 75
        assert launched.reason == "failed on Kubernetes: BackoffLimitExceeded"
    assert len(cluster.asked) == 2


def test_a_job_that_lives_is_followed_and_not_doubled_and_deleted_when_left(
    cluster: Cluster, settings: LaunchSettings, run: Path
) -> None:
    arguments = {"environment": {}, "log": run / "trainer.log"}
    first = launch(run / "configuration.json", settings, **arguments)
    first.__enter__()
    with (
        pytest.raises(KeyboardInterrupt),
        launch(run / "configuration.json", settings, **arguments) as launched,
    ):
        assert polled(launched) is None
        raise KeyboardInterrupt
    assert [question.split()[0] for question in cluster.asked] == ["delete", "create", "delete"]
    assert cluster.objects == {}
    assert [event.kind for event in read_events(run)] == ["progress", "resume"]


def test_a_job_that_somebody_deletes_has_failed_and_it_is_said_so(
    cluster: Cluster, settings: LaunchSettings, run: Path
) -> None:
    with launch(run / "configuration.json", settings, environment={}, log=run / "trainer.log") as launched:
        cluster.objects.clear()
        assert polled(launched) == 1
        assert launched.reason == f"is gone: somebody has deleted trainjob {job_name(run)}"


def test_a_server_that_is_away_for_a_time_does_not_end_the_training(
    cluster: Cluster, settings: LaunchSettings, run: Path
) -> None:
    with launch(run / "configuration.json", settings, environment={}, log=run / "trainer.log") as launched:
        cluster.away = True
        assert polled(launched) is None
        cluster.away = False
        cluster.status(conditions=[{"type": "Complete", "status": "True"}])
        assert polled(launched) == 0
    cluster.away = True
    with (
        pytest.raises(SettingsError, match="Kubernetes does not take trainjobs"),
        launch(run / "configuration.json", settings, environment={}, log=run / "trainer.log"),
    ):
        pass


def test_a_job_that_fails_before_its_pods_have_written_a_line_is_told_and_started_again(
    cluster: Cluster, settings: LaunchSettings, run: Path
) -> None:
    def fail() -> None:
        if cluster.objects:
            cluster.status(conditions=[{"type": "Failed", "status": "True", "message": "ErrImagePull"}])

    with pytest.raises(TrainerError, match="failed on Kubernetes: ErrImagePull and was started again 1 times"):
        train_supervised(TrainingRun(run), settings.model_copy(update={"restarts": 1}), environment={}, tick=fail)


def test_trainings_in_folders_of_one_name_are_two_jobs(tmp_path: Path) -> None:
    one, two = (job_name(tmp_path / study / "trials" / "0000") for study in ("one", "two"))
    assert one != two
    for name in (one, job_name(tmp_path / "My_run 一")):
        assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name)
        assert len(name) <= 40


def test_what_the_cluster_refuses_is_told_in_its_words(cluster: Cluster, settings: LaunchSettings, run: Path) -> None:
    cluster.refusal = 'admission webhook denied the request: runtime "torch-distributed" not found'
    with (
        pytest.raises(SettingsError, match="admission webhook denied the request"),
        launch(run / "configuration.json", settings, environment={}, log=run / "trainer.log"),
    ):
        pass
    with pytest.raises(SettingsError, match="Kubernetes does not take trainjobs"):
        check_manifest({"metadata": {"name": "x"}}, settings.kubernetes)
    cluster.refusal = ""
    check_manifest({"metadata": {"name": "x"}}, settings.kubernetes)
    assert cluster.asked[-1] == f"create {PLACE} dryRun=All"
    assert cluster.objects == {}


def test_a_context_that_there_is_not_is_named(cluster: Cluster, settings: LaunchSettings, run: Path) -> None:
    elsewhere = settings.model_copy(update={"kubernetes": settings.kubernetes.model_copy(update={"context": "prod"})})
    with (
        pytest.raises(SettingsError, match=r"'kubernetes.context': no cluster is configured here"),
        launch(run / "configuration.json", elsewhere, environment={}, log=run / "trainer.log"),
    ):
        pass
