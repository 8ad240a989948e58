from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, models
from trainer_runs import TRAINER, VOCABULARY_SIZE, Launch

from training.artifact import file_sha256
from training.shards import ShardWriter

# None of these may be needed on a node that only trains.
ABSENT = ("dagster", "mlflow", "transformers", "duckdb", "assets", "pipelines")


@pytest.fixture
def data(tmp_path: Path) -> dict[str, Any]:
    """A vocabulary and two dumps of documents that count upwards, which a model learns quickly."""
    vocabulary = tmp_path / "vocabulary"
    vocabulary.mkdir()
    entries = {"<|endoftext|>": 0} | {chr(0x4E00 + number): number for number in range(1, VOCABULARY_SIZE)}
    Tokenizer(models.WordLevel(entries, unk_token="<|endoftext|>")).save(str(vocabulary / "tokenizer.json"))
    generator = np.random.default_rng(0)
    for dump, step in (("up", 1), ("down", VOCABULARY_SIZE - 2)):
        folder = tmp_path / dump
        folder.mkdir()
        with ShardWriter(
            folder,
            vocabulary_hash=file_sha256(vocabulary / "tokenizer.json"),
            vocabulary_size=VOCABULARY_SIZE,
            end_of_document=0,
            language="zh",
            source=dump,
            dump=dump,
        ) as writer:
            for number in range(60):
                start, length = int(generator.integers(1, VOCABULARY_SIZE)), int(generator.integers(10, 80))
                ids = 1 + (start + step * np.arange(length)) % (VOCABULARY_SIZE - 1)
                writer.add("validation" if number % 10 == 0 else "train", f"{number:032x}", ids, bytes=3 * length)
    return {
        "vocabulary": str(vocabulary),
        "data": [{"folder": str(tmp_path / "up")}, {"folder": str(tmp_path / "down"), "weight": 2.0}],
    }


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
        command = [sys.executable, "-m", "deepspeed.launcher.runner", "--num_gpus", str(ranks)]
        command += ["--master_addr", "127.0.0.1", "--master_port", str(port), str(program)]
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
