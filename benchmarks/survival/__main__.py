"""Trainings of the demo's model on two ranks, each disturbed at a random moment by a random fault.

python -m benchmarks.survival [--runs N] [--seed S] [--json FILE]

All must end with the losses, bit for bit, of the training that nothing disturbed, and with its model; compute at most
a checkpoint's interval again, and what came while the next one was written; leave no process, no shared memory and no
half-written file behind; and have each metric of each step in MLflow once. Each run has a file system of its own (needs
the right to mount one; without it the disk is never filled).
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from mlflow import MlflowClient
from tokenizers import Tokenizer, models

from assets.language_model.launchers.local import free_port
from assets.language_model.training_run import TrainingRun
from benchmarks.survival.disturbed import Course, left_over, train_disturbed
from benchmarks.survival.faults import FAULTS
from benchmarks.survival.service import TrackingServer
from training.artifact import file_sha256
from training.run_settings import TrainingSettings
from training.shards import ShardWriter
from training.shared_memory import FOLDER

STEPS, INTERVAL = 60, 10
VOCABULARY_SIZE = 4096
WRITING_STEPS = INTERVAL
"""Steps that may go by until a checkpoint is whole: on a busy machine as many as until the next one, which waits."""
SETTINGS: dict[str, Any] = {
    "steps": STEPS,
    "batch": 4,
    "model": {"vocabulary_size": VOCABULARY_SIZE, "width": 96, "layers": 4, "heads": 4, "feed_forward_width": 256,
              "context": 128},
    "optimizer": {"learning_rate": 0.005, "beta2": 0.99},
    "schedule": {"shape": "linear", "final": 0.0},
    "parallel": {"zero_stage": 2, "micro_batch": 2, "compile": False, "precision": "float32"},
    "averaging": 0.9,
    "log_every": 1,
    "validate_every": 30,
    "validation_documents": 8,
    "inspect_every": 25,
    "checkpoint_every": INTERVAL,
    "verify_every": INTERVAL,
    "watchdog": {"factor": 10.0, "least_seconds": 5.0, "pause_seconds": 120.0},
}  # fmt: skip


def write_data(folder: Path) -> tuple[Path, Path]:
    """A vocabulary, and shards of documents that count upwards."""
    vocabulary, shards = folder / "vocabulary", folder / "shards"
    vocabulary.mkdir()
    shards.mkdir()
    entries = {"<|endoftext|>": 0} | {f"w{number}": number for number in range(1, VOCABULARY_SIZE)}
    Tokenizer(models.WordLevel(entries, unk_token="<|endoftext|>")).save(str(vocabulary / "tokenizer.json"))
    generator = np.random.default_rng(0)
    with ShardWriter(
        shards,
        vocabulary_hash=file_sha256(vocabulary / "tokenizer.json"),
        vocabulary_size=VOCABULARY_SIZE,
        end_of_document=0,
        language="en",
        source="numbers",
        dump="numbers",
    ) as writer:
        for number in range(500):
            start, length = int(generator.integers(1, VOCABULARY_SIZE)), int(generator.integers(50, 400))
            ids = 1 + (start + np.arange(length)) % (VOCABULARY_SIZE - 1)
            writer.add("validation" if number % 50 == 0 else "train", f"{number:032x}", ids, bytes=5 * length)
    return vocabulary, shards


def outcome(run: TrainingRun) -> dict[str, Any]:
    """What must be the same however it came to be."""
    records = run.records()
    return {
        "losses": [[record["step"], record["loss"]] for record in records if "loss" in record],
        "validation": [
            [record["step"], record["validation_loss"]] for record in records if "validation_loss" in record
        ],
        "model": file_sha256(run.folder / "model" / "model.safetensors"),
    }  # fmt: skip


def complaints(
    run: TrainingRun, expected: dict[str, Any], course: Course, server: TrackingServer, port: int
) -> list[str]:
    """What is not as it must be."""
    found = outcome(run)
    wrong = [f"other {key} than undisturbed" for key, value in expected.items() if found[key] != value]
    # Without the newest checkpoint it is the one before; and none is written while the disk is full.
    most = (2 if "damaged" in course.fault else 1) * INTERVAL + WRITING_STEPS
    if course.recomputed > most and not course.fault.startswith("the disk"):
        wrong.append(f"{course.recomputed} steps were computed again, with a checkpoint every {INTERVAL}")
    wrong += [f"left running: {command}" for command in left_over(run.folder)]
    wrong += [f"left behind: {path}" for path in (run.folder / "checkpoints").glob(".*")]
    wrong += [f"left behind: {path}" for path in FOLDER.glob(f"deepspeed_*_{port}_*")]
    client = MlflowClient(tracking_uri=server.address)
    experiment = client.get_experiment_by_name("survival")
    assert experiment is not None
    tracked = client.search_runs([experiment.experiment_id], f"tags.`corpusline.training` = '{run.folder.name}'")
    if len(tracked) != 1:
        return [*wrong, f"MLflow has {len(tracked)} runs"]
    history = client.get_metric_history(tracked[0].info.run_id, "loss")
    times = Counter(metric.step for metric in history)
    if times != Counter(range(1, STEPS + 1)):
        wrong.append(f"MLflow has steps {sorted(times.items())}")
    if [metric.value for metric in sorted(history, key=lambda one: one.step)] != [loss for _, loss in found["losses"]]:
        wrong.append("MLflow has other losses")
    return wrong


def main() -> None:
    """Parse the command line, train, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=50, help="disturbed trainings")
    parser.add_argument("--seed", type=int, default=0, help="of faults and moments")
    parser.add_argument("--json", type=Path, help="where to write the measures")
    parser.add_argument("--folder", type=Path, help="where to work; by default a temporary folder")
    parser.add_argument("--verbose", action="store_true", help="print what was said about each fault")
    options = parser.parse_args()
    chooser = random.Random(options.seed)
    with tempfile.TemporaryDirectory(dir=options.folder) as temporary:
        folder = Path(temporary)
        server = TrackingServer(folder / "home")
        try:
            courses, failures, reference = _trainings(folder, server, options.runs, chooser, verbose=options.verbose)
        finally:
            server.kill()
    measures = _measures(courses, failures, reference)
    for row in measures:
        print(f"{row['name']:<58}{row['value']:>10.3f} {row['unit']}")
    if options.json:
        content = {"seed": options.seed, "measures": measures, "runs": [asdict(course) for course in courses]}
        options.json.write_text(json.dumps(content, indent=1), encoding="utf-8")
    lost = len({failure.split(":")[0] for failure in failures})
    sys.exit(f"{lost} of {options.runs} did not survive" if lost else 0)


def _trainings(
    folder: Path, server: TrackingServer, runs: int, chooser: random.Random, *, verbose: bool
) -> tuple[list[Course], list[str], Course]:
    vocabulary, shards = write_data(folder)
    settings = TrainingSettings.model_validate(SETTINGS)

    def configured(name: str) -> TrainingRun:
        run = TrainingRun(folder / name)
        run.folder.mkdir(parents=True)
        run.configure(settings, data={"numbers": shards}, weights={"numbers": 1.0}, vocabulary=vocabulary)
        return run

    undisturbed = configured("undisturbed")
    reference = train_disturbed(undisturbed, server, fault="", step=0, seed=0, port=free_port())
    expected = outcome(undisturbed)
    checkpoints = [record["checkpoint"] for record in undisturbed.records() if "checkpoint" in record]
    reference.messages = [json.dumps(checkpoints)]
    courses: list[Course] = []
    failures: list[str] = []
    names = list(FAULTS)
    for number in range(runs):
        # Each once before any comes again.
        if number % len(names) == 0:
            chooser.shuffle(names)
        fault, step = names[number % len(names)], chooser.randrange(1, STEPS - 1)
        place = folder / f"run-{number}"
        place.mkdir()
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=200m", "none", str(place)], check=False, capture_output=True
        )
        if mounted.returncode and fault.startswith("the disk"):
            fault = "a rank is killed (SIGKILL)"
        try:
            run = configured(f"run-{number}/training-{number}")
            seed, port = chooser.randrange(1 << 30), free_port()
            course = train_disturbed(run, server, fault=fault, step=step, seed=seed, port=port)
            wrong = complaints(run, expected, course, server, port)
        except RuntimeError as error:
            course, wrong = Course(fault, step), [str(error)]
        finally:
            if not mounted.returncode:
                subprocess.run(["umount", "--lazy", str(place)], check=False)
        courses.append(course)
        failures += [f"{number}: {complaint}" for complaint in wrong]
        shown = "survived" if not wrong else "DID NOT SURVIVE: " + "; ".join(wrong)
        print(
            f"{number:>3} step {step:>2} {fault:<54} {course.seconds:6.1f} s, {course.recomputed:>2} again, "
            f"{course.restarts} restarts, {course.starts} starts: {shown}",
            flush=True,
        )
        for message in course.messages if verbose else ():
            print(f"      {message}", flush=True)
    return courses, failures, reference


def _measures(courses: list[Course], failures: list[str], reference: Course) -> list[dict[str, Any]]:
    def median(values: list[float]) -> float:
        return statistics.median(values) if values else 0.0

    notices = [course.notice_seconds for course in courses if course.notice_seconds is not None]
    resumes = [course.resume_seconds for course in courses if course.resume_seconds is not None]
    checkpoints = json.loads(reference.messages[0])
    again = sum(course.recomputed for course in courses)
    computed = STEPS * len(courses) + again
    return [
        {"name": "trainings", "value": float(len(courses)), "unit": ""},
        {"name": "that did not survive", "value": float(len({one.split(":")[0] for one in failures})), "unit": ""},
        {"name": "time to notice, median", "value": median(notices), "unit": "s"},
        {"name": "time to notice, longest", "value": max(notices, default=0.0), "unit": "s"},
        {"name": "time to the next new step, median", "value": median(resumes), "unit": "s"},
        {"name": "time to the next new step, longest", "value": max(resumes, default=0.0), "unit": "s"},
        {"name": "most steps computed again",
         "value": float(max((course.recomputed for course in courses), default=0)), "unit": ""},
        {"name": "steps computed again, median",
         "value": median([float(course.recomputed) for course in courses]), "unit": ""},
        {"name": "share of useful steps", "value": 1 - again / computed if computed else 1.0, "unit": ""},
        {"name": "seconds that a checkpoint stops the training",
         "value": median([one["waited_seconds"] for one in checkpoints]), "unit": "s"},
        {"name": "seconds until a checkpoint is whole",
         "value": median([one["written_seconds"] for one in checkpoints]), "unit": "s"},
    ]  # fmt: skip


if __name__ == "__main__":
    main()
