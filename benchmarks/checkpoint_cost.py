"""What a checkpoint costs the training: how long a step waits for it, and how much slower steps are beside its writing.

python -m benchmarks.checkpoint_cost --json FILE

The demo's model (``pipelines/configs/tiny.yaml``), and one of ten times its parameters, are trained in float32 with
ZeRO-2 by ``training/train.py``, as a user starts it. Compared are two times of each checkpoint, from its record in
``metrics.jsonl``: how long the training stood still for it, and how long saving takes. A checkpoint that is written
while the training goes on shares the machine with it; the last one of a training has the machine for itself, so its
time from the taking to the renaming, which is shorter, is the saving time here. The first one is told apart: only then
memory is asked for. Steps are timed by their own records, in which checkpoints do not count.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.survival.__main__ import write_data
from training.models import ModelSettings, parameter_count
from training.records import read_records

TRAINER = Path(__file__).parents[1] / "training" / "train.py"
MOST_SHARE = 0.05
"""Of the saving time, that a step may wait at ten times the demo's model (issue 7)."""
WARM_UP = 10
"""Steps before any counts."""
INTERVAL = 12
MODELS: dict[str, dict[str, int]] = {
    "demo": {"width": 96, "layers": 4, "heads": 4, "feed_forward_width": 256, "context": 128},
    "ten times": {"width": 320, "layers": 8, "heads": 5, "feed_forward_width": 864, "context": 128},
}
VOCABULARY_SIZE = 4096


def main() -> None:
    """Parse the command line, train, print a table, write the measures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--checkpoints", type=int, default=6, help="of a training")
    parser.add_argument("--turns", type=int, default=3, help="trainings of each model, by turns")
    parser.add_argument("--folder", type=Path, help="where to work; by default a temporary folder")
    parser.add_argument("--json", type=Path, help="where to write the measures")
    options = parser.parse_args()
    records: dict[str, list[list[dict[str, Any]]]] = {name: [] for name in MODELS}
    with tempfile.TemporaryDirectory(dir=options.folder) as temporary:
        folder = Path(temporary)
        vocabulary, shards = write_data(folder)
        data = {"vocabulary": str(vocabulary), "data": [{"folder": str(shards)}]}
        for turn in range(options.turns):
            for name in MODELS:
                run = folder / f"{name}-{turn}".replace(" ", "-")
                _train(run, data, MODELS[name], steps=INTERVAL * options.checkpoints, ranks=options.ranks)
                records[name].append(read_records(run / "metrics.jsonl"))
    measures = [row for name in MODELS for row in measures_of(name, records[name])]
    for row in measures:
        holds = "" if row["holds"] is None else "holds" if row["holds"] else "DOES NOT HOLD"
        print(f"{row['name']:<64}{row['value']:>12.4f} {row['unit']:<8}{holds}")
    if options.json:
        options.json.write_text(json.dumps({"ranks": options.ranks, "measures": measures}, indent=1), encoding="utf-8")


def _train(run: Path, data: dict[str, Any], model: dict[str, int], *, steps: int, ranks: int) -> None:
    settings = {
        "steps": steps,
        "batch": 4,
        "model": model,
        "parallel": {"zero_stage": 2, "micro_batch": 4 // ranks, "compile": False, "precision": "float32"},
        "log_every": 1,
        "validate_every": steps,
        "validation_documents": 1,
        "checkpoint_every": INTERVAL,
    }
    path = run.with_suffix(".json")
    path.write_text(json.dumps({**data, "output": str(run), "training": settings}), encoding="utf-8")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "deepspeed.launcher.runner", "--num_gpus", str(ranks)]
    command += ["--master_addr", "127.0.0.1", "--master_port", str(port), str(TRAINER), "--config", str(path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-4000:])


def measures_of(name: str, runs: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """What the records of some trainings of a model say.

    Args:
        name: Of the model, one of ``MODELS``.
        runs: The records of each training, which has at least three checkpoints.
    """
    first, later, alone, waits, apart = [], [], [], [], []
    beside: list[list[float]] = []
    for records in runs:
        checkpoints = {record["step"]: record["checkpoint"] for record in records if "checkpoint" in record}
        steps = [record for record in records if "tokens_per_second" in record]
        numbers = sorted(checkpoints)
        first.append(checkpoints[numbers[0]]["waited_seconds"])
        waits += [checkpoints[number]["waited_seconds"] for number in numbers[1:]]
        later += [checkpoints[number]["written_seconds"] for number in numbers[1:-1]]
        alone.append(checkpoints[numbers[-1]]["written_seconds"])
        # The record of a checkpoint's step is written just before it is taken.
        taken = {record["step"]: record["time"] for record in steps if record["step"] in checkpoints}
        spans = [(taken[number], taken[number] + checkpoints[number]["written_seconds"]) for number in numbers]
        tokens = steps[0]["tokens"]
        beside += ([] for _ in spans)
        for before, record in pairwise(steps):
            begin, end = before["time"], record["time"]
            if record["step"] <= WARM_UP:
                continue
            seconds = tokens / record["tokens_per_second"]
            touched = [number for number, (since, until) in enumerate(spans) if since < end and begin < until]
            if touched:
                beside[touched[-1] - len(spans)].append(seconds)
            else:
                apart.append(seconds)
    parameters = parameter_count(ModelSettings.model_validate({**MODELS[name], "vocabulary_size": VOCABULARY_SIZE}))
    wait, saving = statistics.median(waits), statistics.median(alone)
    share = wait / saving
    step = statistics.median(apart)
    lost = statistics.median(sum(times) - len(times) * step for times in beside if times)

    def row(what: str, value: float, unit: str, holds: bool | None = None) -> dict[str, Any]:
        return {"name": f"{name}: {what}", "value": value, "unit": unit, "holds": holds}

    return [
        row("parameters", parameters / 1e6, "M"),
        row("a step waits for a checkpoint", wait, "s"),
        row("for the first one of a training", statistics.median(first), "s"),
        row("the longest wait but for first ones", max(waits), "s"),
        row("saving, alone", saving, "s"),
        row("until it is whole, beside the training", statistics.median(later), "s"),
        row("waiting as a share of saving", share, "", share <= MOST_SHARE if name == "ten times" else None),
        row("a step", step, "s"),
        row("what steps lose beside the writing of one", lost, "s"),
        row("as a share of that time", lost / statistics.median(later), ""),
    ]


if __name__ == "__main__":
    main()
