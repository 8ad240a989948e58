"""Language models, each in one file, built from one dataclass."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import torch

from training.models.attention import Cache, Documents, KeyValueCache, documents_of
from training.models.decoder import Decoder
from training.models.gpt2 import GPT2
from training.models.language_model import LanguageModel
from training.models.loss import IGNORED, LossSettings
from training.models.recomputation import Recomputation
from training.models.recurrent import Recurrent
from training.models.settings import Architecture, ModelSettings
from training.models.transformer import Transformer

__all__ = [
    "IGNORED",
    "Architecture",
    "Cache",
    "Documents",
    "KeyValueCache",
    "LanguageModel",
    "LossSettings",
    "ModelSettings",
    "build_model",
    "documents_of",
    "parameter_count",
    "parameter_names",
    "training_flops_per_token",
]

MODELS: dict[Architecture, type[LanguageModel]] = {
    "decoder": Decoder,
    "gpt2": GPT2,
    "transformer": Transformer,
    "lstm": Recurrent,
    "gru": Recurrent,
    "rnn": Recurrent,
}


def build_model(
    settings: ModelSettings, *, loss: LossSettings | None = None, recomputation: Recomputation = "none"
) -> LanguageModel:
    """The model of these settings, with weights that ``training.initialisation`` has yet to fill.

    Args:
        settings: The shape; ``vocabulary_size`` has to be set.
        loss: What it minimises.
        recomputation: What of the blocks is computed again in the backward pass instead of being kept.
    """
    model = MODELS[settings.architecture]
    return model(settings, loss=loss, recomputation=recomputation)


@lru_cache(maxsize=16)
def _without_memory(settings: ModelSettings) -> LanguageModel:
    with torch.device("meta"):
        return build_model(settings)


def parameter_count(settings: ModelSettings) -> int:
    """Number of parameters of a model of these settings, without the memory for them."""
    return _by_layers(settings, lambda model: model.parameter_count())


def parameter_names(settings: ModelSettings) -> list[str]:
    """Names of all parameters, in their order; a tied output layer's too."""
    return list(_without_memory(settings).state_dict())


def training_flops_per_token(settings: ModelSettings) -> int:
    """See ``LanguageModel.flops_per_token``; without the memory for the model."""
    return _by_layers(settings, lambda model: model.flops_per_token())


def _by_layers(settings: ModelSettings, measure: Callable[[LanguageModel], int]) -> int:
    """A measure of a model whose layers are all alike, from models of one and two layers."""
    one, two = (measure(_without_memory(settings.model_copy(update={"layers": layers}))) for layers in (1, 2))
    return one + (settings.layers - 1) * (two - one)
