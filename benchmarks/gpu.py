"""Training on one GPU in bfloat16: share of the peak (MFU), tokens a second, peak memory, against a bare compiled loop.

python -m benchmarks.gpu --peak 989e12 --json FILE [--float8]

Models of 124 million and 1.3 billion parameters at 1,024 to 4,096 tokens, each by ``training/train.py`` as anybody
starts it (torch.compile, flash attention, ZeRO-1, loader and records on) and by the bare loop of
``benchmarks.training_speed``. MFU is 6 operations for each weight of a matrix and token, and 12 * layers * heads * head
size * context for attention (Chowdhery et al., arXiv:2204.02311, appendix B), over the peak of the data sheet.
``--float8`` trains each with ``parallel.precision: float8``, too; its ratio is to ours in bfloat16. Without a GPU it
says so and measures nothing.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import torch

from benchmarks.training_speed import measure, write_data
from training.models import parameter_count, training_flops_per_token
from training.records import read_records
from training.run_settings import TrainingSettings

TARGET = {"124m": None, "1.3b": 0.5}
_SHAPES: dict[str, dict[str, Any]] = {
    "124m": {"width": 768, "layers": 12, "heads": 12, "feed_forward_width": 2048},
    "1.3b": {"width": 2048, "layers": 24, "heads": 16, "feed_forward_width": 5632},
}
_RUNS = (("124m", 1024, 32), ("124m", 4096, 8), ("1.3b", 1024, 8), ("1.3b", 2048, 4), ("1.3b", 4096, 2))
_VOCABULARY = 50_304


def main() -> None:
    """Parse the command line, measure, print a table, write the measures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peak", type=float, required=True, help="bfloat16 operations a second by the data sheet")
    parser.add_argument("--steps", type=int, default=60, help="steps of a training")
    parser.add_argument("--only", help="models whose name contains this")
    parser.add_argument("--float8", action="store_true", help="train in float8, too (Ada, Hopper and newer)")
    parser.add_argument("--json", type=Path, help="where to write the measures")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("benchmarks.gpu: skipped, there is no GPU on this machine")
        return
    rows = []
    for size, context, batch in _RUNS:
        if not options.only or options.only in size:
            row = _run(size, context, batch, steps=options.steps, peak=options.peak, float8=options.float8)
            rows.append(row)
            print(
                f"{row['name']:<24}{row['tokens_per_second']:>12,.0f} tokens/s{row['mfu']:>8.1%} MFU"
                f"{row['peak_memory'] / (1 << 30):>8.1f} GiB, {row['ratio']:.3f} of the bare loop, "
                f"target {row['target']}"
                + (f", float8 {row['float8_ratio']:.3f} times ours" if options.float8 else ""),
                flush=True,
            )
    if options.json:
        device = torch.cuda.get_device_name()
        options.json.write_text(json.dumps({"device": device, "measures": rows}, indent=1), encoding="utf-8")


def _run(size: str, context: int, batch: int, *, steps: int, peak: float, float8: bool) -> dict[str, Any]:
    settings = TrainingSettings.model_validate(
        {
            "model": _SHAPES[size] | {"context": context, "vocabulary_size": _VOCABULARY},
            "steps": steps,
            "batch": batch,
            "log_every": 10,
            "inspect_every": 0,
            "validate_every": 10**9,
            "validation_documents": 1,
            "checkpoint_every": 10**9,
            "keep_checkpoints": 1,
            "parallel": {"micro_batch": batch, "zero_stage": 1, "precision": "bfloat16", "compile": True},
        }
    )
    with tempfile.TemporaryDirectory() as name:
        write_data(Path(name), settings)
        ours = measure("ours", settings, Path(name) / "ours")
        bare = measure("bare", settings, Path(name) / "bare")
        if float8:
            lower = settings.parallel.model_copy(update={"precision": "float8"})
            in_float8 = measure("ours", settings.model_copy(update={"parallel": lower}), Path(name) / "float8")
        records = read_records(Path(name) / "ours" / "metrics.jsonl")
    mfu = ours * training_flops_per_token(settings.model) / peak
    target = TARGET[size]
    return {
        "name": f"{size}, {context} x {batch}",
        "parameters": parameter_count(settings.model),
        "tokens_per_second": ours,
        "mfu": mfu,
        "peak_memory": max(row.get("peak_memory_bytes", 0) for row in records),
        "ratio": ours / bare,
        "float8_ratio": in_float8 / ours if float8 else None,
        "target": target,
        "holds": None if target is None else mfu >= target,
    }


if __name__ == "__main__":
    main()
