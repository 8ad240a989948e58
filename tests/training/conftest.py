from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from trainer_runs import TRAINER, Launch, write_counting_documents

# None of these may be needed on a node that only trains.
ABSENT = ("dagster", "mlflow", "transformers", "duckdb", "assets", "pipelines")


@pytest.fixture
def data(tmp_path: Path) -> dict[str, Any]:
    """A vocabulary and two dumps of documents that count upwards, which a model learns quickly."""
    return write_counting_documents(tmp_path)


@pytest.fixture
def configure(tmp_path: Path, data: dict[str, Any]) -> Callable[..., Path]:
    """Writes a configuration for an output folder, with changed settings."""

    def write(output: str, *, parallel: Mapping[str, Any] | None = None, **training: Any) -> Path:
        settings = {
            "steps": 24,
            "batch": 8,
            "log_every": 1,
            "validate_every": 12,
            "checkpoint_every": 6,
            "inspect_every": 12,
            "model": {
                "width": 32,
                "layers": 2,
                "heads": 4,
                "key_value_heads": 2,
                "feed_forward_width": 64,
                "context": 32,
            },
            "optimizer": {"learning_rate": 0.01},
            "parallel": {"micro_batch": 4, "compile": False, "precision": "float32", **(parallel or {})},
            **training,
        }
        path = tmp_path / f"{output}.json"
        path.write_text(json.dumps({**data, "training": settings, "output": output}))
        return path

    return write


@pytest.fixture
def launch(tmp_path: Path) -> Launch:
    """Starts the trainer through DeepSpeed's launcher, with packages that a training node lacks made absent."""
    blocked = tmp_path / "absent"
    for package in ABSENT:
        (blocked / package).mkdir(parents=True)
        (blocked / package / "__init__.py").write_text(f"raise ImportError('{package} is not installed here')")

    def start(configuration: Path, *, ranks: int = 1, program: Path = TRAINER) -> subprocess.Popen[str]:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        world = base64.urlsafe_b64encode(json.dumps({"localhost": list(range(ranks))}).encode()).decode()
        command = [sys.executable, "-u", "-m", "deepspeed.launcher.launch", f"--world_info={world}"]
        command += ["--master_addr=127.0.0.1", f"--master_port={port}", str(program)]
        environment = {
            **os.environ,
            "PYTHONPATH": str(blocked),
            "OMP_NUM_THREADS": "1",
            # What a killed compilation left half written elsewhere shall not fail this.
            "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "inductor"),
        }
        return subprocess.Popen(
            [*command, "--config", str(configuration)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            cwd=tmp_path,
        )

    return start
