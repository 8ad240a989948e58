"""What ``corpusline scaling-law`` reads: a preset, the smaller models of the ladder, and what is predicted."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from training.settings import Settings


class TargetSettings(Settings):
    """The training whose loss is predicted."""

    model: dict[str, Any] = Field(
        default_factory=dict, description="Settings of its model that differ from the preset's."
    )
    tokens_per_parameter: float | None = Field(
        None, gt=0, description="Tokens that it is trained on, by its parameters; null is the preset's steps."
    )


class ScalingLawSettings(Settings):
    """A ladder of small trainings and a larger one."""

    preset: str = Field("tiny", description="What is predicted: a preset's name, or the path of a run configuration.")
    shares: list[float] = Field(
        default_factory=lambda: [0.25, 0.5, 0.75],
        description="Sizes of the ladder: shares of the preset's width, with heads of its size, layers in proportion.",
    )
    models: list[dict[str, Any]] = Field(
        default_factory=list, description="Sizes of the ladder instead: settings of the model that differ."
    )
    tokens_per_parameter: list[float] = Field(
        default_factory=lambda: [5.0, 10.0, 20.0],
        min_length=1,
        description="Each size is trained on each of these; one number gives a law along a line.",
    )
    target: TargetSettings = Field(default_factory=TargetSettings, description="What is predicted.")
    learning_rate_power: float = Field(
        0.0, ge=0, description="Learning rates of a size are the preset's times (its width / width) to this power."
    )
    validation_documents: int | None = Field(
        None, ge=1, description="Documents of each source in the validation; null is the preset's number."
    )
    samples: int = Field(200, ge=20, description="Draws of the bootstrap.")
    coverage: float = Field(0.9, gt=0, lt=1, description="Probability of the interval.")
    seed: int = Field(0, ge=0, description="Of the bootstrap; the trainings have the preset's.")
    experiment: str = Field("scaling-law", min_length=1, description="MLflow experiment of the trainings.")
