"""No library sends telemetry, however a process was started: they read these variables when they are imported."""

from __future__ import annotations

import os

SWITCHES = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",  # no other value is understood by MLflow
    "HF_HUB_DISABLE_TELEMETRY": "1",
}


def switch_off_telemetry() -> None:
    """Set the variables for this process and those that it starts; one that is given stays."""
    for name, value in SWITCHES.items():
        os.environ.setdefault(name, value)
