"""The end of a training."""

from __future__ import annotations

from dataclasses import dataclass

REPORT = "report.json"


@dataclass(frozen=True)
class Report:
    """The end of a training, as ``report.json`` holds it.

    Attributes:
        steps: Optimizer steps.
        tokens: Tokens trained on.
        parameters: Of the model.
        ranks: Processes.
        precision: Type of weights and activations; float8 is bfloat16 with products in float8.
        seconds: Spent on steps, without validation and checkpoints, nor the first ten steps after each start of the
            program, nor what a resumed training has done again.
        tokens_per_second: Of all ranks, over those seconds.
        model_flops_per_second: By the model's own operations, recomputation not counted.
        train_loss: Mean of the last record, nats a token.
        validation: Loss and bits a byte by source, over the first documents of each; of the last or best weights, not
            of their average.
        epochs: Passes over each source's training tokens, by dump.
        fingerprint: Of settings and data.
        best_step: The step whose weights were exported, where the best ones are kept; else the last.
        stopped_early: Whether validation had not improved for long enough.
        skipped_steps: Numbers, from 1, of the steps that were left out because of spikes.
    """

    steps: int
    tokens: int
    parameters: int
    ranks: int
    precision: str
    seconds: float
    tokens_per_second: float
    model_flops_per_second: float
    train_loss: float
    validation: dict[str, dict[str, float]]
    epochs: dict[str, float]
    fingerprint: str
    best_step: int
    stopped_early: bool
    skipped_steps: list[int]
