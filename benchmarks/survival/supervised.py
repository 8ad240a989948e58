"""One supervised training with MLflow, as a process that can be killed.

python -m benchmarks.survival.supervised RUN PORT
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from assets.language_model.launchers.local import rank_environment
from assets.language_model.launchers.settings import LaunchSettings
from assets.language_model.supervision import train_supervised
from assets.language_model.tracking import TrackedTraining, TrackingError, open_experiment, open_tracking
from assets.language_model.training_run import TrainingRun

SEND_SECONDS = 1.0
EXPERIMENT = "survival"


def tracked(run: TrainingRun) -> TrackedTraining:
    """Its run in MLflow, started or opened again.

    Raises:
        TrackingError: If MLflow does not answer.
    """
    client = open_tracking()
    return TrackedTraining.start(
        client,
        open_experiment(client, EXPERIMENT),
        name=run.folder.name,
        fingerprint=run.folder.name,
        parameters={},
        tags={},
        inputs=[],
    )


def main() -> int:
    """Train to the end; 0 if it is finished, 75 if it was stopped by a signal to the ranks."""
    run = TrainingRun(Path(sys.argv[1]))
    launch = LaunchSettings(processes=2, port=int(sys.argv[2]), grace_seconds=20, restarts=3)
    sent = time.monotonic()
    connection: list[TrackedTraining] = []

    def tick() -> None:
        nonlocal sent
        if time.monotonic() - sent < SEND_SECONDS:
            return
        sent = time.monotonic()
        try:
            connection[:] = connection or [tracked(run)]
            connection[0].send(run.records())
        except TrackingError:
            return

    finished = train_supervised(run, launch, environment=rank_environment(launch), tick=tick)
    while finished:
        sent = 0.0
        tick()
        if connection and connection[0].problem is None:
            connection[0].finish("FINISHED")
            break
        time.sleep(0.5)
    return 0 if finished else 75


if __name__ == "__main__":
    sys.exit(main())
