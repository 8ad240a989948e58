"""How gradients vanish in a deep plain recurrent network, and what each remedy does about it, by trainings of our own.

python -m benchmarks.vanishing_gradients --input TEXT --json FILE

Every row is one training of the same length by ``training/train.py`` on the characters of a text; the indented ones
differ from the plain one above them by one setting. Shown are the gradient's norm in the first layer as a share of that
in the last, in the first steps and at the end; how much of the gradient at the last of 64 characters reaches the first
one; and the loss over the last tenth of the text.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.learning import CONTEXT, Data, launch, score
from training.export import load_model
from training.models import LanguageModel
from training.records import read_records

STEPS, EARLY = 200, 20
_RNN = {"architecture": "rnn", "width": 64, "layers": 8}
_POST_NORM = {"architecture": "transformer", "width": 64, "layers": 12, "heads": 4, "feed_forward_width": 256}
_PLAIN = {"optimizer": {"gradient_clipping": 0.0, "learning_rate": 1e-3}, "schedule": {"warmup": 0.0}}
_HOT = {"optimizer": {"gradient_clipping": 0.0, "learning_rate": 1e-2}, "schedule": {"warmup": 0.0}}


@dataclass(frozen=True)
class Trial:
    """A training.

    Attributes:
        name: For the table.
        training: Settings that differ from the defaults.
    """

    name: str
    training: dict[str, Any]


TRIALS = (
    Trial("plain network, 8 layers", {"model": _RNN, **_PLAIN}),
    Trial("  xavier's first weights", {"model": _RNN | {"initialisation": "xavier"}, **_PLAIN}),
    Trial("  gradient clipping", {"model": _RNN, "optimizer": {"learning_rate": 1e-3}, "schedule": {"warmup": 0.0}}),
    Trial("  warm-up", {"model": _RNN, "optimizer": _PLAIN["optimizer"], "schedule": {"warmup": 0.2}}),
    Trial("  layer norm", {"model": _RNN | {"layer_norm": True}, **_PLAIN}),
    Trial("  residuals", {"model": _RNN | {"residual": True}, **_PLAIN}),
    Trial("  residuals and layer norm", {"model": _RNN | {"residual": True, "layer_norm": True}, **_PLAIN}),
    Trial("LSTM, 8 layers", {"model": _RNN | {"architecture": "lstm"}, **_PLAIN}),
    Trial(
        "  residuals and layer norm",
        {"model": _RNN | {"architecture": "lstm", "residual": True, "layer_norm": True}, **_PLAIN},
    ),
    Trial("Transformer, 12 layers, norms last, high rate", {"model": _POST_NORM, **_HOT}),
    Trial("  warm-up", {"model": _POST_NORM, "optimizer": _HOT["optimizer"], "schedule": {"warmup": 0.2}}),
    Trial("  norms first", {"model": _POST_NORM | {"norm_first": True}, **_HOT}),
)


def main() -> None:
    """Parse the command line, train, print a table, write the measures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", type=Path, required=True, help="a file of UTF-8 text")
    parser.add_argument("--only", help="trials whose name contains this")
    parser.add_argument("--json", type=Path, help="where to write the measures")
    options = parser.parse_args()
    print(f"{'':<46}{'first/last, early':>18}{'at the end':>12}{'64 back':>10}{'loss':>8}")
    rows = []
    with tempfile.TemporaryDirectory() as name:
        data = Data(Path(name), options.input.read_text(encoding="utf-8"))
        for number, trial in enumerate(TRIALS):
            if not options.only or options.only in trial.name:
                row = _train(trial, data, Path(name) / str(number))
                rows.append(row)
                print(
                    f"{row['name']:<46}{row['early']:>18.1e}{row['late']:>12.1e}{row['back']:>10.1e}{row['loss']:>8.3f}",
                    flush=True,
                )
    if options.json:
        options.json.write_text(json.dumps({"trials": rows}, indent=1), encoding="utf-8")


def _train(trial: Trial, data: Data, folder: Path) -> dict[str, Any]:
    settings = {
        **trial.training,
        "model": {"context": CONTEXT, "zero_output_projections": False, "initial_std": 0.08, **trial.training["model"]},
        "steps": STEPS,
        "batch": 8,
        "log_every": EARLY,
        "inspect_every": EARLY,
        "validate_every": STEPS,
        "checkpoint_every": STEPS,
        "parallel": {"zero_stage": 0, "micro_batch": 8, "compile": False, "precision": "float32"},
    }
    folder.mkdir()
    launch(settings, data, folder)
    records = [row for row in read_records(folder / "run" / "metrics.jsonl") if "layers" in row]
    model = load_model(folder / "run" / "model")
    return {
        "name": trial.name,
        "early": _first_by_last(records[0]["layers"]),
        "late": _first_by_last(records[-1]["layers"]),
        "back": _reach(model, data.validation[:CONTEXT]),
        "loss": score(model, data.validation, moved=CONTEXT),
    }


def _first_by_last(layers: dict[str, dict[str, float]]) -> float:
    """Gradient norm of the first layer as a share of the last one's."""
    norms = [values.get("gradient_norm", math.nan) for name, values in layers.items() if "." in name]
    return norms[0] / max(norms[-1], 1e-30)


def _reach(model: LanguageModel, ids: torch.Tensor) -> float:
    """Norm of the last prediction's gradient to the first input's embedding, as a share of that to the last input's."""
    embedded: list[torch.Tensor] = []

    def keep(_: Any, inputs: Any, output: torch.Tensor) -> torch.Tensor:
        embedded.append(output.detach().requires_grad_())
        return embedded[0]

    hook = model.embedding.register_forward_hook(keep)
    logits = model(ids[None, :])
    hook.remove()
    assert isinstance(logits, torch.Tensor)
    (gradient,) = torch.autograd.grad(logits[0, -1].logsumexp(-1) - logits[0, -1, 0], embedded[0])
    norms = gradient[0].norm(dim=-1)
    return float(norms[0] / norms[-1].clamp(min=1e-30))


if __name__ == "__main__":
    main()
