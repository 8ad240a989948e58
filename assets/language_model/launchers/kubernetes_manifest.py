"""The job that Kubernetes runs: a TrainJob of Kubeflow Trainer 2 (2.3 and later), or a JobSet."""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from assets.language_model.launchers.programs import NODE_CHECK, TORCHRUN, TRAINER, check_arguments, moved
from assets.language_model.launchers.settings import KubernetesSettings, LaunchSettings
from assets.language_model.launchers.torchrun import rank_variables
from training.exit_codes import REFUSED
from training.settings import SettingsError

# Both find a pod's container by this name, and Kubeflow's runtimes call their job and its container so.
_NODE = "node"
_FINGERPRINT = re.compile(r"[0-9a-f]{16,}")
_NOT_IN_A_NAME = re.compile(r"[^a-z0-9]+")
_CHECK_PORT, _TRAIN_PORT = 29500, 29501

# Started as process 1 of the pod, which gets the signal when the pod is to go, and hands it on.
_SCRIPT = """\
mkdir -p {run}
interrupted=
trap 'interrupted=1; kill -TERM "$agent"' TERM
ranks() {{
    exec 3> >(tee --append {log})
    written=$!
    "$@" >&3 2>&1 3>&- &
    agent=$!
    exec 3>&-
    while interrupted=; wait "$agent"; code=$?; [ -n "$interrupted" ]; do :; done
    # Also for the log's last lines, but not for ever, should a process that was left behind hold it open.
    for _ in $(seq 100); do kill -0 "$written" 2> /dev/null || break; sleep 0.1; done
    return "$code"
}}
ranks {check} && ranks {train}
[ "${{PET_NODE_RANK:-$JOB_COMPLETION_INDEX}}" != 0 ] || echo "$code" > {exit}
exit "$code"
"""


def job_name(run: Path) -> str:
    """Name of a training's job, by its folder: by its fingerprint, or by what it is called and where it is."""
    if _FINGERPRINT.fullmatch(run.name):
        return f"corpusline-{run.name[:12]}"
    called = _NOT_IN_A_NAME.sub("-", run.name.lower())[:12].strip("-")
    return "-".join(filter(None, ("corpusline", called, hashlib.sha256(str(run).encode()).hexdigest()[:8])))


def exit_file(run: Path) -> Path:
    """Where the first node writes the exit code of its ranks."""
    return run / "kubernetes.exit"


def manifest(config: Path, settings: LaunchSettings, *, run: Path, log: Path) -> dict[str, Any]:
    """The object that is created.

    Args:
        config: The trainer's configuration file.
        settings: Nodes, ranks, image, and what is asked for.
        run: The training's folder, at the same path in the pods.
        log: File for the output of all ranks.

    Raises:
        SettingsError: If no volume holds the run's folder.
    """
    kubernetes = settings.kubernetes
    if not any(run.is_relative_to(mount) for mount in kubernetes.claims.values()):
        raise SettingsError(
            f"'kubernetes.claims' mounts nothing that holds {run}: name a volume claim and its path there, which is "
            "CORPUSLINE_HOME or above it"
        )
    name = job_name(run)
    meeting = []
    if kubernetes.kind == "jobset":
        meeting = ["--nnodes", str(settings.nodes), "--node-rank", "$JOB_COMPLETION_INDEX"]
        meeting += ["--master-addr", f"{name}-{_NODE}-0-0.{name}"]
    script = _script(config, settings, run=run, log=log, meeting=meeting)
    build = _trainjob if kubernetes.kind == "trainjob" else _jobset
    return build(name, settings, ["/bin/bash", "-c", script])


def _script(config: Path, settings: LaunchSettings, *, run: Path, log: Path, meeting: Sequence[str]) -> str:
    kubernetes = settings.kubernetes

    def agent(port: int, processes: int, program: Path, arguments: Sequence[str]) -> str:
        # Kubeflow gives the other options as PET_ variables.
        words = [kubernetes.python, moved(TORCHRUN, kubernetes.code), *meeting, "--master-port", str(port)]
        words += [
            "--nproc-per-node",
            str(processes),
            "--max-restarts",
            "0",
            moved(program, kubernetes.code),
            *arguments,
        ]
        return " ".join(word if word.startswith("$") else shlex.quote(word) for word in words)

    return _SCRIPT.format(
        log=shlex.quote(str(log)),
        run=shlex.quote(str(run)),
        exit=shlex.quote(str(exit_file(run))),
        check=agent(_CHECK_PORT, 1, NODE_CHECK, check_arguments(config, processes=settings.processes)),
        train=agent(_TRAIN_PORT, settings.processes, TRAINER, ["--config", str(config)]),
    )


def _trainjob(name: str, settings: LaunchSettings, command: Sequence[str]) -> dict[str, Any]:
    kubernetes = settings.kubernetes
    pod = {**_pod(settings), "containers": [{"name": _NODE, "volumeMounts": _mounts(kubernetes)}]}
    template = {"spec": {"template": {"spec": pod}}}
    jobs = [{"name": _NODE, "template": template}]
    return {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "TrainJob",
        "metadata": _metadata(name, kubernetes),
        "spec": {
            "runtimeRef": {"name": kubernetes.runtime},
            "trainer": {
                "image": kubernetes.image,
                "command": list(command),
                "numNodes": settings.nodes,
                "numProcPerNode": settings.processes,
                "env": _environment(settings),
                "resourcesPerNode": _resources(kubernetes),
            },
            "runtimePatches": [
                {
                    "manager": "corpusline.org/launcher",
                    "trainingRuntimeSpec": {"template": {"spec": {"replicatedJobs": jobs}}},
                }
            ],
        },
    }


def _jobset(name: str, settings: LaunchSettings, command: Sequence[str]) -> dict[str, Any]:
    kubernetes = settings.kubernetes
    container = {
        "name": _NODE,
        "image": kubernetes.image,
        "command": list(command),
        "env": _environment(settings),
        "resources": _resources(kubernetes),
        "volumeMounts": _mounts(kubernetes),
    }
    job = {
        "completionMode": "Indexed",
        "completions": settings.nodes,
        "parallelism": settings.nodes,
        "backoffLimit": 0,
        # What the trainer refuses it would refuse again.
        "podFailurePolicy": {
            "rules": [
                {
                    "action": "FailJob",
                    "onExitCodes": {"containerName": _NODE, "operator": "In", "values": [REFUSED]},
                }
            ]
        },
        "template": {
            "spec": {**_pod(settings), "restartPolicy": "Never", "containers": [container]},
        },
    }
    return {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": _metadata(name, kubernetes),
        "spec": {
            # A pod that is evicted lets all ranks write a checkpoint, and all are started again.
            "failurePolicy": {
                "maxRestarts": settings.restarts,
                "rules": [{"name": "refused", "action": "FailJobSet", "onJobFailureReasons": ["PodFailurePolicy"]}],
            },
            "replicatedJobs": [{"name": _NODE, "replicas": 1, "template": {"spec": job}}],
        },
    }


def _metadata(name: str, kubernetes: KubernetesSettings) -> dict[str, Any]:
    return {"name": name, "namespace": kubernetes.namespace, "labels": dict(kubernetes.labels)}


def _pod(settings: LaunchSettings) -> dict[str, Any]:
    kubernetes = settings.kubernetes
    claims = [{"name": claim, "persistentVolumeClaim": {"claimName": claim}} for claim in kubernetes.claims]
    shared = {"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": kubernetes.shared_memory}}
    pod: dict[str, Any] = {
        "volumes": [*claims, shared],
        # The agent gives ranks the grace time and then needs a moment for itself.
        "terminationGracePeriodSeconds": round(settings.grace_seconds) + 30,
    }
    if kubernetes.node_selector:
        pod["nodeSelector"] = dict(kubernetes.node_selector)
    if kubernetes.service_account:
        pod["serviceAccountName"] = kubernetes.service_account
    return pod


def _mounts(kubernetes: KubernetesSettings) -> list[dict[str, Any]]:
    claims = [{"name": claim, "mountPath": mount} for claim, mount in kubernetes.claims.items()]
    return [*claims, {"name": "shared-memory", "mountPath": "/dev/shm"}]


def _environment(settings: LaunchSettings) -> list[dict[str, str]]:
    variables: Mapping[str, str] = {**rank_variables(settings), **settings.kubernetes.environment}
    return [{"name": name, "value": value} for name, value in sorted(variables.items())]


def _resources(kubernetes: KubernetesSettings) -> dict[str, Any]:
    asked = {"cpu": kubernetes.cpu, "memory": kubernetes.memory}
    asked[kubernetes.gpu_resource] = str(kubernetes.gpus) if kubernetes.gpus else None
    given = {name: value for name, value in asked.items() if value is not None}
    return {"requests": given, "limits": dict(given)} if given else {}
