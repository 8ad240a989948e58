"""What our whole step costs: against a bare loop over the same model, and against transformers' Trainer with DeepSpeed.

python -m benchmarks.training_speed --preset tiny --json FILE

Three programs train a preset's model in turns, each in a process of its own, on the same number of sequences of one
length, with AdamW at the same precision:

- ours: ``training/train.py`` under DeepSpeed's launcher, with loader, metrics, TensorBoard and layer statistics on;
- bare: one file, the same model, torch's AdamW and clipping, the same random batch again and again, nothing else;
- transformers: its Qwen3 of the same shape, its Trainer with DeepSpeed at the same ZeRO stage, on a dataset in memory.

Tokens a second after the first ten steps; the ratio is that of the medians of the turns. Checkpoints and validation are
left out on all sides. A fourth side is ours with two records in
all and no statistics: the ratio to it is the cost of tracking.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, models

from pipelines.plan import preset_training
from training.artifact import file_sha256
from training.deepspeed_configuration import precision
from training.initialisation import initialise
from training.models import build_model
from training.optimizer_settings import OptimizerSettings
from training.run_settings import TrainingSettings
from training.shards import ShardWriter

SKIPPED = 10
TARGETS = {"bare": 0.97, "transformers": 1.15, "untracked": 0.98}
TRAINER = Path(__file__).parent.parent / "training" / "train.py"
_LAUNCHER = (sys.executable, "-m", "deepspeed.launcher.runner", "--num_gpus", "1", "--master_addr", "127.0.0.1")


def main() -> None:
    """Parse the command line, measure, print a table, write the measures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--steps", type=int, default=300, help="steps of a turn")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--micro-batch", type=int, help="sequences of a step; by default the preset's")
    parser.add_argument("--compile", action="store_true", help="torch.compile on all sides")
    parser.add_argument("--json", type=Path, help="where to write the measures")
    parser.add_argument("--side", choices=["bare", "transformers"], help=argparse.SUPPRESS)
    parser.add_argument("--settings", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--local_rank", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        settings = TrainingSettings.model_validate_json(options.settings.read_text(encoding="utf-8"))
        speed = _bare(settings) if options.side == "bare" else _transformers(settings)
        options.settings.with_suffix(".speed").write_text(str(speed), encoding="utf-8")
        return
    speeds: dict[str, list[float]] = {"ours": [], **{name: [] for name in TARGETS}}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = _settings(options.preset, options.steps, options.micro_batch, compiled=options.compile)
        write_data(folder, settings)
        for turn in range(options.turns):
            for side, found in speeds.items():
                found.append(measure(side, settings, folder / f"{side}-{turn}"))
                print(f"turn {turn + 1}: {side:<14}{found[-1]:>14,.0f} tokens/s", flush=True)
    medians = {side: statistics.median(found) for side, found in speeds.items()}
    measures = []
    for side, target in TARGETS.items():
        ratio = medians["ours"] / medians[side]
        measures.append(
            {"name": f"ours / {side}", "value": round(ratio, 3), "target": target, "holds": ratio >= target}
        )
        holds = "holds" if ratio >= target else "DOES NOT HOLD"
        print(f"ours / {side:<16}{ratio:>8.3f}{target:>8g}  {holds}")
    if options.json:
        options.json.write_text(json.dumps({"measures": measures, "tokens_per_second": speeds}, indent=1))


def _settings(preset: str, steps: int, micro_batch: int | None, *, compiled: bool) -> TrainingSettings:
    settings, _ = preset_training(preset)
    batch = micro_batch or settings.parallel.micro_batch
    parallel = settings.parallel.model_copy(update={"micro_batch": batch, "compile": compiled})
    changes = {
        "steps": steps,
        "batch": batch,
        "validate_every": 10**9,
        "validation_documents": 1,
        "checkpoint_every": 10**9,
        "log_every": 10,
        "parallel": parallel,
        "optimizer": OptimizerSettings(),
    }
    return settings.model_copy(update=changes)


def write_data(folder: Path, settings: TrainingSettings) -> None:
    """A vocabulary and shards of random tokens."""
    size = settings.model.vocabulary_size
    (folder / "vocabulary").mkdir()
    entries = {"<|endoftext|>": 0} | {f"w{number}": number for number in range(1, size)}
    tokenizer = folder / "vocabulary" / "tokenizer.json"
    Tokenizer(models.WordLevel(entries, unk_token="<|endoftext|>")).save(str(tokenizer))
    (folder / "shards").mkdir()
    generator = np.random.default_rng(0)
    with ShardWriter(
        folder / "shards",
        vocabulary_hash=file_sha256(tokenizer),
        vocabulary_size=size,
        end_of_document=0,
        language="und",
        source="random",
        dump="random",
    ) as writer:
        documents = max(64, 4 * settings.batch * settings.model.context // 1000)
        for number in range(documents):
            split = "train" if number else "validation"
            writer.add(split, f"{number:032x}", generator.integers(1, size, 1000), bytes=4000)  # type: ignore[arg-type]


def measure(side: str, settings: TrainingSettings, folder: Path) -> float:
    """Tokens a second of one side, trained in a process of its own."""
    if side in ("bare", "transformers"):
        path = folder.with_suffix(".json")
        path.write_text(settings.model_dump_json(), encoding="utf-8")
        own = ["--side", side, "--settings", str(path)]
        module = Path(__file__)
        launched = [sys.executable, str(module)] if side == "bare" else [*_LAUNCHER, str(module)]
        _run([*launched, *own])
        return float(path.with_suffix(".speed").read_text(encoding="utf-8"))
    if side == "untracked":
        settings = settings.model_copy(update={"log_every": settings.steps // 2, "inspect_every": 0})
    configuration = {
        "training": settings.model_dump(mode="json"),
        "data": [{"folder": str(folder.parent / "shards")}],
        "vocabulary": str(folder.parent / "vocabulary"),
        "output": str(folder),
    }
    path = folder.with_suffix(".json")
    path.write_text(json.dumps(configuration), encoding="utf-8")
    _run([*_LAUNCHER, str(TRAINER), "--config", str(path)])
    report: dict[str, Any] = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return float(report["tokens_per_second"])


def _run(command: list[str]) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stdout[-2000:] + done.stderr[-4000:])


def _bare(settings: TrainingSettings) -> float:
    """The loop that everybody writes first."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = build_model(settings.model, loss=settings.loss)
    initialise(model, seed=settings.seed)
    dtype = precision(settings.parallel)
    model.to(device=device, dtype=dtype).train()
    step = torch.compile(model.forward) if settings.parallel.compile else model.forward
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.optimizer.learning_rate, fused=True)
    shape = (settings.batch, settings.model.context + 1)
    rows = torch.randint(1, settings.model.vocabulary_size, shape, device=device)
    inputs, targets = rows[:, :-1].contiguous(), rows[:, 1:].contiguous()
    begin = time.perf_counter()
    for number in range(settings.steps):
        if number == SKIPPED:
            _wait(device)
            begin = time.perf_counter()
        objective, _ = step(inputs, targets)
        objective.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    _wait(device)
    return (settings.steps - SKIPPED) * targets.numel() / (time.perf_counter() - begin)


def _transformers(settings: TrainingSettings) -> float:
    """transformers' own model and Trainer, with DeepSpeed."""
    from transformers import Qwen3Config, Qwen3ForCausalLM, Trainer, TrainerCallback, TrainingArguments

    from training.exports.decoder import DecoderForm

    values = DecoderForm().configuration(settings.model)
    model = Qwen3ForCausalLM(Qwen3Config(**values, use_cache=False, attn_implementation="sdpa"))
    rows = torch.randint(1, settings.model.vocabulary_size, (settings.batch * 64, settings.model.context))
    data = [{"input_ids": row, "labels": row} for row in rows]
    times: list[float] = []

    class Clock(TrainerCallback):  # type: ignore[misc]
        """Reads the clock after the first steps and after the last one."""

        def on_step_end(self, arguments: Any, state: Any, control: Any, **others: Any) -> None:
            if state.global_step in (SKIPPED, settings.steps):
                times.append(time.perf_counter())

    low = precision(settings.parallel) == torch.bfloat16
    with tempfile.TemporaryDirectory() as name:
        arguments = TrainingArguments(
            output_dir=name,
            max_steps=settings.steps,
            per_device_train_batch_size=settings.batch,
            learning_rate=settings.optimizer.learning_rate,
            bf16=low,
            save_strategy="no",
            report_to=[],
            logging_steps=10,
            disable_tqdm=True,
            torch_compile=settings.parallel.compile,
            use_cpu=not torch.cuda.is_available(),
            deepspeed={
                "train_micro_batch_size_per_gpu": "auto",
                "gradient_clipping": 1.0,
                "bf16": {"enabled": low},
                "zero_optimization": {"stage": settings.parallel.zero_stage},
                "zero_allow_untested_optimizer": True,
                "zero_force_ds_cpu_optimizer": False,
            },
        )
        Trainer(model=model, args=arguments, train_dataset=data, callbacks=[Clock()]).train()
    return (settings.steps - SKIPPED) * settings.batch * settings.model.context / (times[1] - times[0])


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
