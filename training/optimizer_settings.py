"""Which optimizer, and its constants: read where DeepSpeed is not imported."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from training.settings import Settings

# With any other they would do nothing, which is an error; sgd's momentum is beta1.
_OF_MUON = ("other_learning_rate", "momentum")


class OptimizerSettings(Settings):
    """How weights follow their gradients."""

    name: Literal["adamw", "adam", "sgd", "lion", "muon"] = Field(
        "adamw",
        description="adamw (arXiv:1711.05101), adam (arXiv:1412.6980), sgd with momentum, lion (arXiv:2302.06675), "
        "muon: orthogonalised momentum for the blocks' matrices, adamw for the rest.",
    )
    learning_rate: float = Field(1e-3, gt=0, description="Peak learning rate; with muon of the blocks' matrices.")
    other_learning_rate: float | None = Field(
        None, gt=0, description="muon: peak of embeddings, output layer and vectors; null is learning_rate."
    )
    beta1: float = Field(0.9, ge=0, lt=1, description="Decay of the mean of gradients; lion and sgd: of the momentum.")
    beta2: float = Field(0.95, ge=0, lt=1, description="Decay of the mean of squared gradients; lion: of the mean.")
    momentum: float = Field(0.95, ge=0, lt=1, description="muon: decay of its momentum.")
    epsilon: float = Field(1e-8, gt=0, description="Added to the root of the mean of squared gradients.")
    weight_decay: float = Field(0.1, ge=0, description="Of matrices; vectors have none.")
    gradient_clipping: float | None = Field(
        None,
        ge=0,
        description="Largest norm of all gradients together; 0 is no limit. Null is 1, and no limit for muon, whose "
        "steps have a fixed size.",
    )

    @model_validator(mode="after")
    def _each_has_a_meaning(self) -> Self:
        for name in _OF_MUON:
            if self.name != "muon" and getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{name} has no meaning for {self.name}, only for muon")
        return self

    @model_validator(mode="after")
    def _muon_is_not_clipped(self) -> Self:
        if self.name == "muon" and self.gradient_clipping:
            # DeepSpeed's ZeRO orthogonalises gradients before it clips, so it would clip the steps.
            raise ValueError(f"gradient_clipping {self.gradient_clipping}: with muon leave it out")
        return self

    @property
    def largest_norm(self) -> float:
        """What gradients are clipped to; 0 is no limit."""
        if self.gradient_clipping is not None:
            return self.gradient_clipping
        return 0.0 if self.name == "muon" else 1.0
