"""What each ZeRO stage keeps on a rank, against the ZeRO paper's formula, and whether all stages learn the same.

python -m benchmarks.zero_memory --json FILE

A model of six million parameters is trained in bfloat16 by 1, 2 and 4 processes with gloo. All live tensors of a rank
are counted twice: after the backward pass, when gradients are there, and after the step. The formula (Rajbhandari et
al., arXiv:1910.02054, section 3.1 and figure 1) is for P parameters and N ranks, in bytes: 16 P; 4 P + 12 P / N;
2 P + 14 P / N; 16 P / N. Then a small model is trained for a hundred steps in float32 by every stage, with AdamW and
with Muon, and its losses are compared with those of stage 0 on one rank.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import deepspeed
import torch

from training.engine import build_engine
from training.models import parameter_count
from training.run_settings import TrainingSettings

STAGES, RANKS = (0, 1, 2, 3), (1, 2, 4)
BATCH, CONTEXT, STEPS = 4, 16, 100
MOST_EXCESS = 1.1
MOST_DIFFERENCE = 1e-3
"""In nats, of any of the hundred losses: float32 sums in another order."""
LARGE = {"vocabulary_size": 2048, "width": 256, "layers": 6, "heads": 4, "feed_forward_width": 704, "context": CONTEXT}
SMALL = {"vocabulary_size": 64, "width": 32, "layers": 2, "heads": 2, "feed_forward_width": 48, "context": CONTEXT}


def formula(stage: int, ranks: int) -> float:
    """Bytes a parameter on a rank, in mixed precision with Adam."""
    return {0: 16.0, 1: 4 + 12 / ranks, 2: 2 + 14 / ranks, 3: 16 / ranks}[stage]


def main() -> None:
    """Parse the command line, measure, print a table, write the measures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="where to write the measures")
    parser.add_argument("--rank-writes", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.rank_writes:
        _work(options.rank_writes)
        return
    measures = []
    losses: dict[str, list[float]] = {}
    for ranks in RANKS:
        found = launch_ranks("benchmarks.zero_memory", ranks)
        for stage in STAGES:
            kept = found["memory"][str(stage)]
            measures.append(_memory_row(stage, ranks, kept))
        losses |= {f"{key}, {ranks} ranks": values for key, values in found["losses"].items()}
    for optimizer in ("adamw", "muon"):
        reference = losses[f"{optimizer}, stage 0, 1 ranks"]
        for key, values in losses.items():
            if key.startswith(optimizer) and values is not reference:
                measures.append(_loss_row(key, values, reference))
    for row in measures:
        holds = "" if row["holds"] is None else "holds" if row["holds"] else "DOES NOT HOLD"
        print(f"{row['name']:<44}{row['value']:>12.6f} {row['unit']:<10}{row['target']:>10g}  {holds}")
    if options.json:
        options.json.write_text(json.dumps({"measures": measures}, indent=1), encoding="utf-8")


def _memory_row(stage: int, ranks: int, kept: float) -> dict[str, Any]:
    most = formula(stage, ranks) * MOST_EXCESS
    name = f"stage {stage}, {ranks} ranks, formula {formula(stage, ranks):g}"
    return {"name": name, "value": kept, "unit": "bytes", "target": round(most, 2), "holds": kept <= most}


def _loss_row(key: str, values: list[float], reference: list[float]) -> dict[str, Any]:
    worst = max(abs(one - other) for one, other in zip(values, reference, strict=True))
    name = f"loss, {key}"
    return {"name": name, "value": worst, "unit": "nats", "target": MOST_DIFFERENCE, "holds": worst <= MOST_DIFFERENCE}


def launch_ranks(module: str, ranks: int) -> dict[str, Any]:
    """What the first of some processes of a benchmark's module writes with ``--rank-writes``."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as name:
        out = Path(name) / "found.json"
        command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(ranks)]
        command += ["--master-port", str(port), "-m", module, "--rank-writes", str(out)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stderr[-4000:])
        found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
        return found


def _work(out: Path) -> None:
    deepspeed.init_distributed(dist_backend="gloo", verbose=False)
    memory = {stage: _kept(stage) for stage in STAGES}
    losses = {
        f"{optimizer}, stage {stage}": _losses(stage, optimizer) for optimizer in ("adamw", "muon") for stage in STAGES
    }
    if torch.distributed.get_rank() == 0:
        out.write_text(json.dumps({"memory": memory, "losses": losses}), encoding="utf-8")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def _settings(stage: int, optimizer: str, model: dict[str, Any], precision: str) -> TrainingSettings:
    rates = {"learning_rate": 0.02, "other_learning_rate": 0.004} if optimizer == "muon" else {"learning_rate": 1e-3}
    return TrainingSettings.model_validate(
        {
            "steps": STEPS,
            "batch": BATCH,
            "model": model,
            "optimizer": {"name": optimizer, **rates},
            "parallel": {
                "zero_stage": stage,
                "micro_batch": BATCH // torch.distributed.get_world_size(),
                "compile": False,
                "precision": precision,
            },
        }
    )


def _rows(generator: torch.Generator, vocabulary: int) -> torch.Tensor:
    """This rank's rows of a step: numbers that count upwards."""
    starts = torch.randint(0, vocabulary, (BATCH, 1), generator=generator)
    steps = torch.randint(1, 4, (BATCH, 1), generator=generator)
    rows = (starts + steps * torch.arange(CONTEXT + 1)) % vocabulary
    return rows.chunk(torch.distributed.get_world_size())[torch.distributed.get_rank()]


def _kept(stage: int) -> float:
    """Most bytes a parameter in live tensors of this rank, in the third step; the largest of all ranks."""
    before = _live_bytes()
    settings = _settings(stage, "adamw", LARGE, "bfloat16")
    engine = build_engine(settings, torch.distributed.get_world_size())
    generator = torch.Generator().manual_seed(0)
    most = 0
    for _ in range(3):
        rows = _rows(generator, LARGE["vocabulary_size"])
        objective, _ = engine(rows[:, :-1].contiguous(), rows[:, 1:].contiguous())
        engine.backward(objective)
        with_gradients = _live_bytes() - before
        engine.step()
        most = max(with_gradients, _live_bytes() - before)
    engine.destroy()
    largest = torch.tensor(float(most))
    torch.distributed.all_reduce(largest, op=torch.distributed.ReduceOp.MAX)
    return round(float(largest) / parameter_count(settings.model), 3)


def _live_bytes() -> int:
    """Of the storages behind all tensors of this process, each once."""
    gc.collect()
    storages: dict[int, int] = {}
    for thing in gc.get_objects():
        if type(thing) in (torch.Tensor, torch.nn.Parameter):
            for tensor in (thing, thing.grad if thing.is_leaf else None):
                if tensor is not None and tensor.device.type == "cpu":
                    storage = tensor.untyped_storage()
                    storages[storage.data_ptr()] = storage.nbytes()
    storages.pop(0, None)
    return sum(storages.values())


def _losses(stage: int, optimizer: str) -> list[float]:
    """Mean over ranks of each step's loss."""
    engine = build_engine(_settings(stage, optimizer, SMALL, "float32"), torch.distributed.get_world_size())
    generator = torch.Generator().manual_seed(0)
    losses = []
    for _ in range(STEPS):
        rows = _rows(generator, SMALL["vocabulary_size"])
        objective, nats = engine(rows[:, :-1].contiguous(), rows[:, 1:].contiguous())
        engine.backward(objective)
        engine.step()
        mean = nats.detach().clone()
        torch.distributed.all_reduce(mean)
        losses.append(float(mean) / torch.distributed.get_world_size())
    engine.destroy()
    return losses


if __name__ == "__main__":
    main()
