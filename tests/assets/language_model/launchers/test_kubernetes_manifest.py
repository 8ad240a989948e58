"""What is sent to Kubernetes, held against the published models of its objects, and run as a pod would run it."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from assets.language_model.launchers.kubernetes import end_of
from assets.language_model.launchers.kubernetes_manifest import exit_file, job_name, manifest
from assets.language_model.launchers.settings import LaunchSettings
from training.settings import SettingsError

RUN = Path("/data/corpusline/training-runs/5188d277aa9dcffa5ee86bcb21bcccc6")


def settings(kind: str, **kubernetes: Any) -> LaunchSettings:
    asked = {"kind": kind, "image": "registry/corpusline:1", "claims": {"corpusline": "/data"}, **kubernetes}
    return LaunchSettings.parse(
        {"launcher": "kubernetes", "nodes": 4, "processes": 8, "interface": "eth0", "kubernetes": asked},
        origin="launch",
    )


FULL: dict[str, Any] = {
    "gpus": 8,
    "cpu": "64",
    "memory": "800Gi",
    "node_selector": {"gpu": "h100"},
    "labels": {"kueue.x-k8s.io/queue-name": "research"},
    "service_account": "trainer",
    "environment": {"NCCL_DEBUG": "WARN"},
}


@pytest.mark.parametrize("kind", ["trainjob", "jobset"])
@pytest.mark.parametrize("kubernetes", [{}, FULL], ids=["least", "full"])
def test_the_manifest_is_what_the_published_schema_takes(kind: str, kubernetes: dict[str, Any]) -> None:
    models = pytest.importorskip("kubeflow_trainer_api.models", reason="pip install kubeflow-trainer-api")
    model = models.TrainerV1alpha1TrainJob if kind == "trainjob" else models.JobsetV1alpha2JobSet
    body = manifest(RUN / "configuration.json", settings(kind, **kubernetes), run=RUN, log=RUN / "trainer.log")
    # What the models do not know they leave out, and what is of another type they refuse.
    assert model.from_dict(body).to_dict() == body
    misspelt = {**body, "spec": {**body["spec"], "trianer": {}}}
    assert model.from_dict(misspelt).to_dict() != misspelt
    assert body["metadata"]["name"] == job_name(RUN) == "corpusline-5188d277aa9d"


def test_a_run_that_no_volume_holds_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"'kubernetes.claims' mounts nothing that holds /data/corpusline"):
        manifest(
            RUN / "configuration.json",
            settings("jobset", claims={"other": "/elsewhere"}),
            run=RUN,
            log=RUN / "trainer.log",
        )


@pytest.mark.parametrize(("check", "train", "code"), [(0, 0, 0), (2, 0, 2), (0, 75, 75)])
def test_the_pods_script_checks_trains_and_leaves_the_exit_code(
    tmp_path: Path, check: int, train: int, code: int
) -> None:
    python = tmp_path / "python"
    python.write_text(
        f'#!/bin/sh\necho "$@"\ncase "$*" in *node_check.py*) exit {check} ;; *train.py*) exit {train} ;; esac\n'
    )
    python.chmod(0o755)
    # What writes the log is slow, and the pod ends with process 1.
    slow = tmp_path / "slow" / "tee"
    slow.parent.mkdir()
    slow.write_text('#!/bin/sh\nsleep 0.5\nexec /usr/bin/tee "$@"\n')
    slow.chmod(0o755)
    launch = settings("jobset", claims={"corpusline": str(tmp_path)}, python=str(python))
    body = manifest(tmp_path / "configuration.json", launch, run=tmp_path, log=tmp_path / "trainer.log")
    container = body["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]["containers"][0]
    for index, written in (("1", False), ("0", True)):
        done = subprocess.run(
            container["command"],
            env={"PATH": f"{slow.parent}:/usr/bin:/bin", "JOB_COMPLETION_INDEX": index},
            check=False,
        )
        assert done.returncode == code
        assert exit_file(tmp_path).exists() == written
    assert exit_file(tmp_path).read_text().strip() == str(code)
    lines = [shlex.split(line) for line in (tmp_path / "trainer.log").read_text().splitlines()]
    assert len(lines) == (4 if not check else 2)
    first = lines[0]
    assert first[0] == "/opt/corpusline/training/torchrun.py"
    options = dict(zip(first[1::2], first[2::2], strict=False))
    assert (options["--nnodes"], options["--nproc-per-node"], options["--node-rank"]) == ("4", "1", "1")
    if not check:
        assert lines[1][lines[1].index("--nproc-per-node") + 1] == "8"
    assert options["--master-addr"] == f"{job_name(tmp_path)}-node-0-0.{job_name(tmp_path)}"


def test_a_pod_that_is_to_go_asks_its_ranks_and_waits_for_them(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(
        "#!/bin/bash\n"
        'case "$*" in *node_check.py*) exit 0 ;; esac\n'
        f"trap 'sleep 0.3; echo saved; exit 75' TERM\necho ready > {tmp_path}/ready\n"
        "while :; do sleep 0.1; done\n"
    )
    python.chmod(0o755)
    launch = settings("jobset", claims={"corpusline": str(tmp_path)}, python=str(python))
    body = manifest(tmp_path / "configuration.json", launch, run=tmp_path, log=tmp_path / "trainer.log")
    container = body["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]["containers"][0]
    pod = subprocess.Popen(container["command"], env={"PATH": "/usr/bin:/bin", "JOB_COMPLETION_INDEX": "0"})
    while not (tmp_path / "ready").exists():
        assert pod.poll() is None
    pod.terminate()
    assert pod.wait(timeout=20) == 75
    assert "saved" in (tmp_path / "trainer.log").read_text()
    assert exit_file(tmp_path).read_text().strip() == "75"


def test_the_end_of_a_job_is_read_from_its_conditions() -> None:
    def found(kind: str, status: str) -> dict[str, Any]:
        return {"status": {"conditions": [{"type": kind, "status": status, "message": "BackoffLimitExceeded"}]}}

    assert end_of({}) == (None, "")
    assert end_of(found("Failed", "False")) == (None, "")
    assert end_of(found("Complete", "True")) == (0, "")
    assert end_of(found("Completed", "True")) == (0, "")
    assert end_of(found("Failed", "True")) == (1, "failed on Kubernetes: BackoffLimitExceeded")
