"""Trainings as a user starts them, for tests of what they leave behind."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from tokenizers import Tokenizer, models

from training.artifact import file_sha256
from training.records import read_records
from training.shards import ShardWriter

TRAINER = Path(__file__).parents[2] / "training" / "train.py"
VOCABULARY_SIZE = 64

Launch = Callable[..., subprocess.Popen[str]]


def finish(process: subprocess.Popen[str], *, code: int = 0) -> str:
    output, _ = process.communicate(timeout=400)
    assert process.returncode == code, output[-4000:]
    return output


def losses(run: Path) -> dict[int, float]:
    return {record["step"]: record["loss"] for record in read_records(run / "metrics.jsonl") if "loss" in record}


def layers(run: Path) -> dict[int, dict[str, dict[str, float]]]:
    return {record["step"]: record["layers"] for record in read_records(run / "metrics.jsonl") if "layers" in record}


def wait_for_step(run: Path, step: int, process: subprocess.Popen[str], seconds: float = 300) -> None:
    """Wait until a training has done a step; what it said, if it ends or takes longer."""

    def said() -> str:
        log = run / "trainer.log"
        return log.read_text()[-4000:] if log.exists() else "no log"

    deadline = time.monotonic() + seconds
    while not any(record["step"] >= step for record in read_records(run / "metrics.jsonl")):
        assert process.poll() is None, (process.communicate()[0] or said())[-4000:]
        assert time.monotonic() < deadline, said()
        time.sleep(0.01)


def ranks_of(session: int) -> list[int]:
    """Process ids of the ranks in a launcher's session, without the launchers."""
    found = []
    for process in psutil.process_iter():
        try:
            arguments = process.cmdline()
            if os.getsid(process.pid) == session and str(TRAINER) in arguments:
                found += [] if any("deepspeed.launcher" in argument for argument in arguments) else [process.pid]
        except (psutil.Error, ProcessLookupError):
            continue
    return found


def shard_writer(folder: Path, vocabulary: Path) -> ShardWriter:
    """Writes a dump in a new folder, which is named like it, with the vocabulary of the counting documents."""
    folder.mkdir()
    return ShardWriter(
        folder,
        vocabulary_hash=file_sha256(vocabulary / "tokenizer.json"),
        vocabulary_size=VOCABULARY_SIZE,
        end_of_document=0,
        language="zh",
        source=folder.name,
        dump=folder.name,
    )


def write_counting_documents(root: Path) -> dict[str, Any]:
    """A vocabulary and two dumps of documents that count upwards: what of a run's settings names them."""
    vocabulary = root / "vocabulary"
    vocabulary.mkdir()
    entries = {"<|endoftext|>": 0} | {chr(0x4E00 + number): number for number in range(1, VOCABULARY_SIZE)}
    Tokenizer(models.WordLevel(entries, unk_token="<|endoftext|>")).save(str(vocabulary / "tokenizer.json"))
    generator = np.random.default_rng(0)
    for dump, step in (("up", 1), ("down", VOCABULARY_SIZE - 2)):
        folder = root / dump
        with shard_writer(folder, vocabulary) as writer:
            for number in range(60):
                start, length = int(generator.integers(1, VOCABULARY_SIZE)), int(generator.integers(10, 80))
                ids = 1 + (start + step * np.arange(length)) % (VOCABULARY_SIZE - 1)
                writer.add("validation" if number % 10 == 0 else "train", f"{number:032x}", ids, bytes=3 * length)
    return {
        "vocabulary": str(vocabulary),
        "data": [{"folder": str(root / "up")}, {"folder": str(root / "down"), "weight": 2.0}],
    }
