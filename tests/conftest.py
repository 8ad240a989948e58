"""Every test has a home of its own, and no test sends anything to anybody."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import pytest

import assets  # noqa: F401  # switches telemetry off before a test imports MLflow

# Machines are noisy and shared: no test fails for being slow once, and CI tries the same examples every time.
hypothesis.settings.register_profile("corpusline", deadline=None, derandomize=bool(os.environ.get("CI")))
hypothesis.settings.load_profile("corpusline")


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Outputs of the code under test go below the test's temporary folder."""
    home = tmp_path / "home"
    monkeypatch.setenv("CORPUSLINE_HOME", str(home))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return home
