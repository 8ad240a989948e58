"""How much a small model learns from few tokens: characters, the first nine tenths to train and the rest to validate.

python -m benchmarks.learning --input tinyshakespeare.txt --json FILE [--ablation]

The budget is that of nanoGPT's preset for a CPU: at most 0.81 million parameters in all, 2,000 steps of 12 windows of
64 characters. Everything goes the way of any training: the text becomes token shards, DeepSpeed's launcher starts
``training/train.py``, and the model it exports is opened again and scored. The score is the mean loss over the whole
validation part, in windows of 64 that begin one after the other, so that a character has 0 to 63 before it, as in
nanoGPT's own validation; and in windows that move on by half, where it has at least 32.

The peer is GPT-2's shape with nanoGPT's hyper-parameters, trained by the same program; nanoGPT's own result is printed
beside it. ``--ablation`` trains the recipes between the two, each with one ingredient more.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, models

from training.artifact import file_sha256
from training.export import load_model
from training.models import LanguageModel, ModelSettings, parameter_count
from training.shards import ShardWriter

CONTEXT, BATCH, STEPS = 64, 12, 2000
MOST_PARAMETERS = 810_000
NANOGPT = 1.8857
"""nanoGPT's preset for a CPU on Tiny Shakespeare, measured with its own code, two cores."""
TARGET, QUARTER = 1.53, STEPS // 4
END = "\u0003"
TRAINER = Path(__file__).parent.parent / "training" / "train.py"


@dataclass(frozen=True)
class Recipe:
    """A way to train.

    Attributes:
        name: For the table.
        training: Settings of the training, as in a launchpad.
    """

    name: str
    training: dict[str, Any]


_GPT2 = {"architecture": "gpt2", "width": 128, "layers": 4, "heads": 4, "feed_forward_width": 512}
_WIDE = {"architecture": "decoder", "width": 128, "layers": 4, "heads": 4, "feed_forward_width": 344}
_DEEP = {"architecture": "decoder", "width": 96, "layers": 8, "heads": 4, "feed_forward_width": 216}
_TORCH = {"initialisation": "torch", "initial_std": 1.0}
_NANOGPT_ADAM = {"learning_rate": 1e-3, "beta2": 0.99, "weight_decay": 0.1}
_ADAM = {"learning_rate": 4e-3, "beta2": 0.99, "weight_decay": 0.1}
_MUON = {"name": "muon", "learning_rate": 0.02, "other_learning_rate": 0.004, "beta2": 0.99, "weight_decay": 0.0}
_SHORT_MOMENTUM = {"momentum": 0.9}
_LOOKING_BACK = {"previous_token_heads": 4}
_COSINE = {"shape": "cosine", "warmup": 0.05, "final": 0.1}
_LINEAR = {"shape": "linear", "warmup": 0.0, "final": 0.0}

RECIPES = (
    Recipe(
        "GPT-2's shape, nanoGPT's settings",
        {
            "model": _GPT2 | {"tied_embedding": True, "zero_output_projections": False},
            "optimizer": _NANOGPT_ADAM,
            "schedule": _COSINE,
        },
    ),
    Recipe("the modern decoder", {"model": _WIDE, "optimizer": _NANOGPT_ADAM, "schedule": _COSINE}),
    Recipe("a higher rate", {"model": _WIDE, "optimizer": _ADAM, "schedule": _COSINE}),
    Recipe("linear decay to nothing", {"model": _WIDE, "optimizer": _ADAM, "schedule": _LINEAR}),
    Recipe("Muon", {"model": _WIDE, "optimizer": _MUON, "schedule": _LINEAR}),
    Recipe("twice the layers, narrower", {"model": _DEEP, "optimizer": _MUON, "schedule": _LINEAR}),
    Recipe("torch's first weights", {"model": _DEEP | _TORCH, "optimizer": _MUON, "schedule": _LINEAR}),
    Recipe(
        "a shorter momentum",
        {"model": _DEEP | _TORCH, "optimizer": _MUON | _SHORT_MOMENTUM, "schedule": _LINEAR},
    ),
    Recipe(
        "heads that look back",
        {"model": _DEEP | _TORCH | _LOOKING_BACK, "optimizer": _MUON | _SHORT_MOMENTUM, "schedule": _LINEAR},
    ),
)
"""From the peer to ours, each with one ingredient more than the one before; the last one is ours."""


@dataclass(frozen=True)
class Result:
    """Of one training.

    Attributes:
        loss: Nats a character over the validation part, in windows one after the other.
        half_moved: The same in windows that move on by half.
        parameters: Of the model.
        seconds: Of all steps.
    """

    loss: float
    half_moved: float
    parameters: int
    seconds: float


def main() -> None:
    """Parse the command line, train, print a table, write the measures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", type=Path, required=True, help="a file of UTF-8 text")
    parser.add_argument("--json", type=Path, help="where to write the measures")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of our recipe")
    parser.add_argument("--ablation", action="store_true", help="train the recipes in between, too")
    options = parser.parse_args()
    text = options.input.read_text(encoding="utf-8")
    results: dict[str, list[Result]] = {}
    with tempfile.TemporaryDirectory() as name:
        data = Data(Path(name), text)
        for number, recipe in enumerate(RECIPES):
            ours = number == len(RECIPES) - 1
            if ours or number == 0 or options.ablation:
                seeds = options.seeds if ours else 1
                results[recipe.name] = []
                for seed in range(seeds):
                    results[recipe.name].append(train(recipe, data, seed, steps=STEPS))
                    _print(recipe.name, results[recipe.name][-1])
        quarter = train(RECIPES[-1], data, 0, steps=QUARTER)
        _print("ours, a quarter of the tokens", quarter)
    measures = _measures(results, quarter)
    for row in measures:
        holds = "" if row["holds"] is None else "holds" if row["holds"] else "DOES NOT HOLD"
        target = "" if row["target"] is None else f"{row['target']:g}"
        print(f"{row['name']:<40}{row['value']:>12,.4f} {row['unit']:<6}{target:>8}  {holds}")
    if options.json:
        rows = {name: [vars(result) for result in found] for name, found in results.items()}
        options.json.write_text(json.dumps({"measures": measures, "recipes": rows}, indent=1), encoding="utf-8")


class Data:
    """A text as characters: a vocabulary and a folder of token shards, the first nine tenths to train.

    Attributes:
        folder: Holds ``vocabulary`` and ``shards``.
        validation: int64, ids of the last tenth.
        size: Of the vocabulary.
    """

    def __init__(self, folder: Path, text: str) -> None:
        characters = sorted(set(text) - {END})
        self.folder = folder
        self.size = 1 + len(characters)
        entries = {END: 0} | {character: number for number, character in enumerate(characters, start=1)}
        (folder / "vocabulary").mkdir()
        Tokenizer(models.WordLevel(entries, unk_token=END)).save(str(folder / "vocabulary" / "tokenizer.json"))
        ids = np.asarray([entries[character] for character in text], dtype=np.int64)
        cut = int(0.9 * len(ids))
        self.validation = torch.from_numpy(ids[cut:])
        (folder / "shards").mkdir()
        with ShardWriter(
            folder / "shards",
            vocabulary_hash=file_sha256(folder / "vocabulary" / "tokenizer.json"),
            vocabulary_size=self.size,
            end_of_document=0,
            language="und",
            source="text",
            dump="text",
        ) as writer:
            for split, part in (("train", ids[:cut]), ("validation", ids[cut:])):
                writer.add(split, f"{split:0>32}", part, bytes=len(part))  # type: ignore[arg-type]


def train(recipe: Recipe, data: Data, seed: int, *, steps: int) -> Result:
    """Train once by the program that trains everything, and score what it exports."""
    shape = ModelSettings.model_validate(recipe.training["model"] | {"context": CONTEXT})
    parameters = parameter_count(shape.model_copy(update={"vocabulary_size": data.size}))
    if parameters > MOST_PARAMETERS:
        raise SystemExit(f"{recipe.name}: {parameters:,} parameters, more than {MOST_PARAMETERS:,}")
    with tempfile.TemporaryDirectory() as name:
        settings = {
            **recipe.training,
            "model": shape.model_dump(exclude_defaults=True) | {"context": CONTEXT},
            "steps": steps,
            "batch": BATCH,
            "seed": seed,
            "log_every": 100,
            "validate_every": steps,
            "checkpoint_every": steps,
            "keep_checkpoints": 1,
            "parallel": {"zero_stage": 0, "micro_batch": BATCH, "compile": False, "precision": "float32"},
        }
        launch(settings, data, Path(name))
        run = Path(name) / "run"
        model = load_model(run / "model")
        report = json.loads((run / "report.json").read_text(encoding="utf-8"))
        return Result(
            loss=score(model, data.validation, moved=CONTEXT),
            half_moved=score(model, data.validation, moved=CONTEXT // 2),
            parameters=parameters,
            seconds=report["seconds"],
        )


def launch(settings: Mapping[str, Any], data: Data, folder: Path) -> None:
    """Train with these settings into ``run`` of a folder."""
    configuration = {
        "training": settings,
        "data": [{"folder": str(data.folder / "shards")}],
        "vocabulary": str(data.folder / "vocabulary"),
        "output": str(folder / "run"),
    }
    (folder / "run.json").write_text(json.dumps(configuration), encoding="utf-8")
    command = [sys.executable, "-m", "deepspeed.launcher.runner", "--num_gpus", "1", "--master_addr", "127.0.0.1"]
    done = subprocess.run(
        [*command, str(TRAINER), "--config", str(folder / "run.json")],
        env={**os.environ, "DS_SKIP_CUDA_CHECK": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stdout[-2000:] + done.stderr[-4000:])


@torch.no_grad()
def score(model: LanguageModel, ids: torch.Tensor, *, moved: int) -> float:
    """Mean loss in nats of ids int64 [length] in windows of the context that move on by ``moved``.

    What follows each window's inputs is a target once, in the first window that holds it.
    """
    total, count = 0.0, 0
    starts = list(range(0, len(ids) - CONTEXT, moved))
    for first in range(0, len(starts), 256):
        rows = torch.stack([ids[start : start + CONTEXT + 1] for start in starts[first : first + 256]])
        losses = torch.nn.functional.cross_entropy(
            model(rows[:, :-1]).float().transpose(1, 2), rows[:, 1:], reduction="none"
        )
        new = losses[:, CONTEXT - moved :].double()
        total, count = total + float(new.sum()), count + new.numel()
    return total / count


def _print(name: str, result: Result) -> None:
    print(
        f"{name:<36}{result.parameters:>9,} parameters{result.loss:>9.4f}, moved by half {result.half_moved:.4f}, "
        f"{result.seconds:.0f} s",
        flush=True,
    )


def _measures(results: dict[str, list[Result]], quarter: Result) -> list[dict[str, Any]]:
    peer, ours = results[RECIPES[0].name], results[RECIPES[-1].name]
    mean = statistics.mean(result.loss for result in ours)
    return [
        _row("loss, mean of the seeds", mean, TARGET),
        _row("loss, largest less smallest", max(r.loss for r in ours) - min(r.loss for r in ours), None),
        _row("loss, windows moved by half", statistics.mean(result.half_moved for result in ours), None),
        _row("loss after a quarter of the tokens", quarter.loss, NANOGPT),
        _row("loss of the peer", statistics.mean(result.loss for result in peer), None),
    ]


def _row(name: str, value: float, target: float | None) -> dict[str, Any]:
    return {
        "name": name,
        "value": round(value, 4),
        "unit": "nats",
        "target": target,
        "holds": None if target is None else value <= target,
    }


if __name__ == "__main__":
    main()
