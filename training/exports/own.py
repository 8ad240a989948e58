"""Models of which transformers has no architecture: our own parameters and settings, in the same files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from training.models import ModelSettings


class OwnForm:
    """Whatever no other form writes; see ``ExportForm``. transformers opens the tokenizer, ``load_model`` the model."""

    model_types = ("corpusline",)

    def reads(self, configuration: Mapping[str, Any]) -> bool:
        """By the model type."""
        return configuration["model_type"] in self.model_types

    def writes(self, settings: ModelSettings) -> bool:
        """All of them."""
        return True

    def configuration(self, settings: ModelSettings) -> dict[str, Any]:
        """``config.json`` without the ids of special tokens."""
        return {"model_type": self.model_types[0], "model": settings.model_dump(mode="json")}

    def settings(self, configuration: Mapping[str, Any]) -> ModelSettings:
        """The shape by ``config.json``."""
        return ModelSettings.model_validate(configuration["model"])

    def exported(self, weights: Mapping[str, Tensor], settings: ModelSettings) -> dict[str, Tensor]:
        """Our parameters; a tied output layer is left out."""
        return {
            name: tensor for name, tensor in weights.items() if not (settings.tied_embedding and name == "head.weight")
        }

    def imported(self, tensors: Mapping[str, Tensor], settings: ModelSettings) -> dict[str, Tensor]:
        """The folder's tensors, which are our parameters."""
        tied = {"head.weight": tensors["embedding.weight"]} if settings.tied_embedding else {}
        return {**tensors, **tied}
