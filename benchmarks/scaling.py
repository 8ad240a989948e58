"""1, 2 and 4 processes on this machine: the same losses, what they send each other, and how fast they are.

python -m benchmarks.scaling --json FILE

A model of six million parameters, the same global batch for every number of processes, gloo. What is sent is counted by
DeepSpeed's own log of collectives and turned into bytes that a rank sends with ring algorithms: 2 (N-1)/N of an
all-reduce's message, (N-1)/N of the result of a gather and of the message of a reduce-scatter. The formula is that of
the ZeRO paper (Rajbhandari et al., arXiv:1910.02054, section 7), for P parameters in bfloat16: 2 P numbers a step for
stages 0 to 2, 3 P for stage 3, times (N-1)/N. Four processes on two cores only show that they work.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import deepspeed
import torch
from deepspeed.comm import comm

from benchmarks.zero_memory import LARGE, RANKS, STAGES, launch_ranks
from training.engine import build_engine
from training.models import parameter_count
from training.run_settings import TrainingSettings

BATCH, STEPS, SKIPPED = 8, 12, 2
MOST_DIFFERENCE = 1e-3
"""In nats, of losses in float32."""
BYTES = 4


def main() -> None:
    """Parse the command line, measure, print a table, write the measures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="where to write the measures")
    parser.add_argument("--rank-writes", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.rank_writes:
        _work(options.rank_writes)
        return
    found = {ranks: launch_ranks("benchmarks.scaling", ranks) for ranks in RANKS}
    measures = []
    print(f"{'':<20}{'loss differs by':>16}{'sent / formula':>16}{'tokens/s':>12}")
    for stage in STAGES:
        for ranks in RANKS:
            row = _row(stage, ranks, found)
            measures.append(row)
            holds = "holds" if row["holds"] else "DOES NOT HOLD"
            numbers = f"{row['difference']:>16.1e}{row['sent']:>16.3f}{row['speed']:>12,.0f}"
            print(f"{row['name']:<20}{numbers}  {holds}")
    if options.json:
        options.json.write_text(json.dumps({"measures": measures}, indent=1), encoding="utf-8")


def _row(stage: int, ranks: int, found: dict[int, dict[str, Any]]) -> dict[str, Any]:
    mine, reference = found[ranks][str(stage)], found[1]["0"]
    pairs = zip(mine["losses"], reference["losses"], strict=True)
    difference = max(abs(one - other) for one, other in pairs)
    formula = (3 if stage == 3 else 2) * (ranks - 1) / ranks
    return {
        "name": f"stage {stage}, {ranks} ranks",
        "difference": difference,
        "sent": mine["sent"] / formula if formula else 0.0,
        "speed": mine["speed"],
        "target": MOST_DIFFERENCE,
        "holds": difference <= MOST_DIFFERENCE,
    }


def _work(out: Path) -> None:
    deepspeed.init_distributed(dist_backend="gloo", verbose=False)
    found = {stage: _train(stage) for stage in STAGES}
    if torch.distributed.get_rank() == 0:
        out.write_text(json.dumps(found), encoding="utf-8")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def _train(stage: int) -> dict[str, Any]:
    """Losses, parameters' worth of numbers that a rank sends in a step, and tokens a second."""
    rank, ranks = torch.distributed.get_rank(), torch.distributed.get_world_size()
    logger = {"enabled": True, "prof_all": True, "verbose": False}
    settings = TrainingSettings.model_validate(
        {
            "batch": BATCH,
            "model": LARGE | {"context": 64},
            "parallel": {
                "zero_stage": stage,
                "micro_batch": BATCH // ranks,
                "compile": False,
                "precision": "float32",
                "deepspeed": {"comms_logger": logger},
            },
        }
    )
    engine = build_engine(settings, ranks)
    generator = torch.Generator().manual_seed(0)
    losses = []
    begin = time.perf_counter()
    for step in range(STEPS):
        if step == SKIPPED:
            comm.comms_logger.comms_dict.clear()
            begin = time.perf_counter()
        rows = torch.randint(settings.model.vocabulary_size // 8, (BATCH, 65), generator=generator).chunk(ranks)[rank]
        objective, nats = engine(rows[:, :-1].contiguous(), rows[:, 1:].contiguous())
        engine.backward(objective)
        engine.step()
        losses.append(nats.detach().clone())
    seconds = time.perf_counter() - begin
    sent = _sent(ranks) / (STEPS - SKIPPED) / BYTES / parameter_count(settings.model)
    engine.destroy()
    means = torch.stack(losses)
    torch.distributed.all_reduce(means)
    speed = (STEPS - SKIPPED) * BATCH * settings.model.context / seconds
    return {"losses": (means / ranks).tolist(), "sent": sent, "speed": speed}


def _sent(ranks: int) -> float:
    """Bytes that a rank sends by ring algorithms, of what DeepSpeed has logged."""
    total = 0.0
    for name, sizes in comm.comms_logger.comms_dict.items():
        message = sum(size * found[0] for size, found in sizes.items())
        if "all_gather" in name:
            # Logged is what a rank gives, the result is that of all.
            total += message * (ranks - 1)
        elif "all_reduce" in name:
            total += message * 2 * (ranks - 1) / ranks
        else:
            total += message * (ranks - 1) / ranks
    return total


if __name__ == "__main__":
    main()
