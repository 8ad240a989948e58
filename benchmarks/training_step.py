"""A training step of a preset's model against transformers' Qwen3 of the same shape: tokens a second and their ratio.

python -m benchmarks.training_step --preset tiny

Both sides do the same: forward, loss, backward, AdamW, on the same random tokens, in the same type, with the same kind
of attention. They take turns, so that a noisy machine slows both; the median of the turns counts.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from transformers import Qwen3Config, Qwen3ForCausalLM

from pipelines.plan import preset_training
from training.exports.decoder import DecoderForm
from training.initialisation import initialise
from training.models import ModelSettings, build_model, training_flops_per_token

Loss = Callable[[Tensor, Tensor], Tensor]


def our_side(settings: ModelSettings) -> tuple[nn.Module, Loss]:
    """Our model and its loss."""
    model = build_model(settings)
    initialise(model, seed=0)
    return model, lambda tokens, targets: model(tokens, targets)[0]


def their_side(settings: ModelSettings) -> tuple[nn.Module, Loss]:
    """Transformers' model of the same shape and its loss; transformers shifts the targets by itself."""
    values = DecoderForm().configuration(settings)
    model = Qwen3ForCausalLM(Qwen3Config(**values, use_cache=False, attn_implementation="sdpa"))
    return model, lambda tokens, targets: model(input_ids=tokens, labels=tokens).loss


class Side:
    """One side of the comparison: a model that takes steps."""

    def __init__(
        self, build: Callable[[ModelSettings], tuple[nn.Module, Loss]], settings: ModelSettings, *, compiled: bool
    ) -> None:
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
        self.model, loss = build(settings)
        self.model.to(device=device, dtype=dtype).train()
        self.loss: Loss = torch.compile(loss) if compiled else loss
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4, fused=True)
        self.seconds: list[float] = []

    def turn(self, tokens: Tensor, targets: Tensor, *, steps: int, counted: bool) -> None:
        """Take some steps and remember how long one took."""
        begin = time.perf_counter()
        for _ in range(steps):
            self.loss(tokens, targets).backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
        if tokens.is_cuda:
            torch.cuda.synchronize()
        if counted:
            self.seconds.append((time.perf_counter() - begin) / steps)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--micro-batch", type=int, help="sequences of a step; by default the preset's")
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--steps", type=int, default=10, help="steps of a turn")
    parser.add_argument("--compile", action="store_true", help="torch.compile both sides")
    parser.add_argument("--peak", type=float, help="operations a second of the processor, for the share reached")
    arguments = parser.parse_args()
    training, _ = preset_training(arguments.preset)
    model, batch = training.model, arguments.micro_batch or training.parallel.micro_batch
    sides = {
        "corpusline": Side(our_side, model, compiled=arguments.compile),
        "transformers": Side(their_side, model, compiled=arguments.compile),
    }
    device = next(sides["corpusline"].model.parameters()).device
    window = torch.randint(model.vocabulary_size, (batch, model.context + 1), device=device)
    tokens, targets = window[:, :-1].contiguous(), window[:, 1:].contiguous()
    for turn in range(arguments.turns + 1):
        for side in sides.values():
            side.turn(tokens, targets, steps=arguments.steps, counted=turn > 0)
    speeds = {name: tokens.numel() / statistics.median(side.seconds) for name, side in sides.items()}
    for name, speed in speeds.items():
        flops = speed * training_flops_per_token(model)
        share = f", {flops / arguments.peak:.1%} of the peak" if arguments.peak else ""
        print(f"{name}: {speed:,.0f} tokens/s, {flops / 1e12:.3f} TFLOP/s{share}")
    if device.type == "cuda":
        print(f"peak memory of both together: {torch.cuda.max_memory_allocated() / (1 << 30):.2f} GiB")
    print(f"ratio: {speeds['corpusline'] / speeds['transformers']:.2f}")


if __name__ == "__main__":
    main()
