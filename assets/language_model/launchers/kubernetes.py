"""Ranks as a job of Kubernetes: created, followed while it waits and runs, taken up again, deleted."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assets.language_model.launchers.kubernetes_manifest import exit_file, job_name, manifest
from assets.language_model.launchers.launched import Launched
from assets.language_model.launchers.settings import KubernetesSettings, LaunchSettings
from training.events import Event, append_event
from training.settings import SettingsError

_PLACES = {
    "trainjob": ("trainer.kubeflow.org", "v1alpha1", "trainjobs"),
    "jobset": ("jobset.x-k8s.io", "v1alpha2", "jobsets"),
}
_DONE = {"Complete": 0, "Completed": 0, "Failed": 1}
_NOT_FOUND = 404


@contextmanager
def launch_kubernetes(
    config: Path, settings: LaunchSettings, *, environment: Mapping[str, str], log: Path
) -> Iterator[Launched]:
    """See ``assets.language_model.launchers.launch``. A job of this run that still lives is followed, not doubled.

    Raises:
        SettingsError: If the client is not installed, the cluster does not answer, or it refuses the job.
    """
    run = config.parent
    body = manifest(config, settings, run=run, log=log)
    job = _KubernetesJob(_Objects(settings.kubernetes), job_name(run), run, settings)
    if job.alive():
        append_event(run, Event("resume", f"{job.name} still lives and is followed"))
    else:
        job.delete()
        exit_file(run).unlink(missing_ok=True)
        job.objects.create(body)
        append_event(run, Event("progress", f"{job.name} is created in namespace {settings.kubernetes.namespace}"))
    try:
        yield job
    finally:
        if job.alive():
            # Pods get SIGTERM, and the time that their specification says.
            job.delete()


def check_manifest(body: Mapping[str, Any], settings: KubernetesSettings) -> None:
    """Let the cluster check an object without creating it (a server-side dry run).

    Raises:
        SettingsError: If the client is not installed, the cluster does not answer, or what it says of the object.
    """
    _Objects(settings).create(body, dry_run="All")


class _Objects:
    """The cluster's objects of one kind in one namespace."""

    def __init__(self, settings: KubernetesSettings) -> None:
        try:
            from kubernetes import client, config
            from urllib3.exceptions import HTTPError
        except ModuleNotFoundError:
            raise SettingsError(
                "'launcher' = 'kubernetes' needs the Kubernetes client: pip install 'corpusline[kubernetes]'"
            ) from None
        self._errors: tuple[type[Exception], ...] = (client.ApiException, HTTPError, OSError)
        try:
            if settings.context is None and "KUBECONFIG" not in os.environ:
                config.load_config()
            else:
                # Named, since the client looks at the variable once, when it is imported.
                config.load_kube_config(os.environ.get("KUBECONFIG"), context=settings.context)
        except (config.ConfigException, OSError) as error:
            raise SettingsError(f"'kubernetes.context': no cluster is configured here: {error}") from None
        self._api = client.CustomObjectsApi()
        group, version, plural = _PLACES[settings.kind]
        self._place = {"group": group, "version": version, "namespace": settings.namespace, "plural": plural}

    def create(self, body: Mapping[str, Any], **options: str) -> None:
        self._asked(lambda: self._api.create_namespaced_custom_object(**self._place, body=dict(body), **options))

    def read(self, name: str) -> dict[str, Any] | None:
        """An object, or None if there is none."""
        found: dict[str, Any] | None = self._asked(
            lambda: self._api.get_namespaced_custom_object(**self._place, name=name)
        )
        return found

    def delete(self, name: str) -> None:
        self._asked(
            lambda: self._api.delete_namespaced_custom_object(**self._place, name=name, propagation_policy="Foreground")
        )

    def _asked(self, question: Callable[[], Any]) -> Any:
        try:
            return question()
        except self._errors as error:
            if getattr(error, "status", None) == _NOT_FOUND and "page not found" not in str(getattr(error, "body", "")):
                return None
            words = getattr(error, "body", None) or str(error)
            kind = f"{self._place['plural']}.{self._place['group']}"
            raise SettingsError(f"Kubernetes does not take {kind}: {words}") from None


@dataclass
class _KubernetesJob(Launched):
    """A job, asked about from time to time.

    Attributes:
        objects: Where it is.
        job: Its name there.
        run: The training's folder.
        settings: How it is stopped, and how often it is asked about.
    """

    objects: _Objects
    job: str
    run: Path
    settings: LaunchSettings
    _asked: float = float("-inf")
    _waiting: bool = True
    _reason: str = ""

    @property
    def name(self) -> str:
        """The kind and the name."""
        return f"{self.settings.kubernetes.kind} {self.job}"

    @property
    def waiting(self) -> bool:
        """Until a pod runs."""
        return self._waiting

    @property
    def reason(self) -> str:
        """What the cluster says of a failure."""
        return self._reason

    def poll(self) -> int | None:
        """Exit code of the first node's ranks once the job is over."""
        if time.monotonic() - self._asked < self.settings.kubernetes.poll_seconds:
            return None
        self._asked = time.monotonic()
        try:
            found = self.objects.read(self.job)
        except SettingsError:
            # The training goes on while the cluster's server is away.
            return None
        if found is None:
            self._reason = f"is gone: somebody has deleted {self.name}"
            return 1
        self._waiting = not _active(found)
        code, self._reason = end_of(found)
        if code is None:
            return None
        written = exit_file(self.run)
        return int(written.read_text()) if written.is_file() else code

    def alive(self) -> bool:
        """Whether it is there and not over."""
        found = self.objects.read(self.job)
        return found is not None and end_of(found)[0] is None

    def delete(self) -> None:
        """Delete it, if it is there, and wait until its pods are gone, as long as they may take."""
        self.objects.delete(self.job)
        deadline = time.monotonic() + self.settings.grace_seconds + 60
        while self.objects.read(self.job) is not None and time.monotonic() < deadline:
            time.sleep(1)


def end_of(found: Mapping[str, Any]) -> tuple[int | None, str]:
    """Whether a TrainJob or JobSet is over by its conditions, and what is said of it."""
    for condition in found.get("status", {}).get("conditions", []):
        code = _DONE.get(condition["type"])
        if code is not None and condition["status"] == "True":
            return code, f"failed on Kubernetes: {condition.get('message', '')}" if code else ""
    return None, ""


def _active(found: Mapping[str, Any]) -> bool:
    status = found.get("status", {})
    return any(job.get("active") for job in [*status.get("jobsStatus", []), *status.get("replicatedJobsStatus", [])])
