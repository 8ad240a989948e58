"""What ``corpusline tune`` reads: a preset, the ranges of what is chosen, and how many trials of what length."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from training.settings import Settings

Value = bool | int | float | str | None


class SearchRange(Settings):
    """What one setting may be."""

    type: Literal["float", "int", "choice"] = Field("float", description="A number, a whole number, or one of a list.")
    low: float | None = Field(None, description="float, int: the least.")
    high: float | None = Field(None, description="float, int: the most.")
    log: bool = Field(False, description="float, int: every order of magnitude is as likely; else every value is.")
    step: int | None = Field(None, ge=1, description="int: difference of two neighbouring values; null is 1.")
    choices: list[Value] | None = Field(None, description="choice: the values.")

    @model_validator(mode="after")
    def _has_what_its_type_needs(self) -> Self:
        if self.type == "choice":
            if self.low is not None or self.high is not None or self.log or self.step is not None:
                raise ValueError("a choice has 'choices' and nothing else")
            if not self.choices:
                raise ValueError("a choice needs 'choices', a list of values")
            if len(set(map(repr, self.choices))) < len(self.choices):
                raise ValueError("'choices' names a value twice")
            return self
        if self.choices is not None:
            raise ValueError("'choices' is for the type choice")
        if self.low is None or self.high is None:
            raise ValueError("'low' and 'high' are needed; or write type: choice and 'choices'")
        if self.low >= self.high:
            raise ValueError(f"'low' {self.low:g} has to be less than 'high' {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"'low' {self.low:g} has to be above 0 for log")
        if self.type == "float" and self.step is not None:
            raise ValueError("'step' is for the type int")
        if self.type == "int" and not (self.low.is_integer() and self.high.is_integer()):
            raise ValueError("'low' and 'high' have to be whole numbers for the type int")
        if self.log and self.step is not None:
            raise ValueError("'step' and 'log' do not go together")
        return self


class PruningSettings(Settings):
    """When a trial is stopped: its best validation loss so far is worse than the median of the others at that step."""

    enabled: bool = Field(True, description="Stop trials that are worse than the median.")
    trials: int = Field(4, ge=1, description="Trials that come to their end before any is stopped.")
    steps: int = Field(0, ge=0, description="Steps that every trial does, for those that are better late.")


class TuneSettings(Settings):
    """A search for the settings with which a training ends at the lowest validation loss."""

    preset: str = Field("tiny", description="What is tuned: a preset's name, or the path of a run configuration.")
    search: dict[str, SearchRange] = Field(
        min_length=1, description="Ranges by the dotted key of the training's settings, as optimizer.learning_rate."
    )
    trials: int = Field(20, ge=1, description="Trials in all; a study is continued by raising it.")
    steps: int | None = Field(None, ge=1, description="Steps of a trial, a whole schedule; null is the preset's.")
    validations: int = Field(10, ge=1, description="Validations of a trial, evenly spread.")
    validation_documents: int | None = Field(
        None, ge=1, description="Documents of each source in a validation; null is the preset's number."
    )
    random_trials: int = Field(5, ge=1, description="Trials drawn at random before the sampler learns from them.")
    pruning: PruningSettings = Field(default_factory=PruningSettings, description="When trials are stopped early.")
    seed: int = Field(0, ge=0, description="Of the sampler; the trainings have the preset's.")
    experiment: str = Field("tuning", min_length=1, description="MLflow experiment of the study and its trials.")
