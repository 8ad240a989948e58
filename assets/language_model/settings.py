"""Settings of the assets that train, evaluate and register."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from assets.language_model.launchers.settings import LaunchSettings
from training.run_settings import TrainingSettings
from training.sampling import SamplingSettings
from training.settings import Settings


class LanguageModelSettings(Settings):
    """A training and how it is started."""

    training: TrainingSettings = Field(default_factory=TrainingSettings, description="The training.")
    launch: LaunchSettings = Field(default_factory=LaunchSettings, description="How its processes are started.")
    continue_from: str | None = Field(
        None,
        description="Folder of a finished training run: start from its model and go on in its sample order, so that "
        "nothing of a pass comes again before the rest; sources may have been added since.",
    )
    experiment: str = Field("corpusline", min_length=1, description="MLflow experiment of the run.")

    def shown(self) -> dict[str, Any]:
        """All of it but the ranks' variables, which may be secrets."""
        return self.model_dump(mode="json", exclude={"launch": {"kubernetes": {"environment"}}})


class EvaluationSettings(Settings):
    """What is measured on the finished model."""

    samples: int = Field(3, ge=0, description="Samples for each language.")
    sampling: SamplingSettings = Field(default_factory=SamplingSettings, description="How samples are written.")
    batch: int = Field(16, ge=1, description="Sequences that are scored at once.")


class ModelVersionSettings(Settings):
    """Where the model is registered."""

    name: str = Field(
        "corpusline", pattern=r"^[^/:']+$", description="Name of the registered model in MLflow, without / : and '."
    )
