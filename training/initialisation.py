"""The weights a model starts from: the same on every accelerator, with every ZeRO stage, for any number of ranks."""

from __future__ import annotations

import math

import deepspeed
import torch
from torch import Tensor

from training.export import ExportError
from training.model import LanguageModel, ModelSettings

RESIDUAL = ("attention.output.weight", "feed_forward.down.weight")


def initialise(model: LanguageModel, *, seed: int) -> None:
    """Fill every matrix in place; norms keep their ones.

    The values are drawn on the CPU in float32 in the order of the parameters, each by rank 0 where ZeRO-3 has already
    sharded it.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            shape = getattr(parameter, "ds_shape", parameter.shape)
            if len(shape) < 2:
                continue
            _fill(parameter, _initial_values(name, shape, model.settings, generator))


def copy_weights(source: LanguageModel, model: LanguageModel) -> None:
    """Fill every parameter in place with another model's.

    Raises:
        ExportError: If the two have another shape.
    """
    weights = source.state_dict()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            shape = getattr(parameter, "ds_shape", parameter.shape)
            if name not in weights or weights[name].shape != shape:
                raise ExportError(
                    f"the model to start from has no '{name}' of the shape {tuple(shape)}: use its settings of 'model'"
                )
            _fill(parameter, weights[name])


def _fill(parameter: Tensor, values: Tensor) -> None:
    if hasattr(parameter, "ds_id"):
        with deepspeed.zero.GatheredParameters(parameter, modifier_rank=0):
            if torch.distributed.get_rank() == 0:
                parameter.copy_(values)
    else:
        parameter.copy_(values)


def _initial_values(name: str, shape: torch.Size, settings: ModelSettings, generator: torch.Generator) -> Tensor:
    standard_deviation = settings.initial_std
    if name.endswith(RESIDUAL):
        if settings.zero_output_projections:
            return torch.zeros(shape)
        # Radford et al. 2019 (GPT-2), section 2.3: residual layers scaled by their number.
        standard_deviation /= math.sqrt(2 * settings.layers)
    return torch.empty(shape).normal_(0.0, standard_deviation, generator=generator)
