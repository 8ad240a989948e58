"""The weights a model starts from: the same on every accelerator, with every ZeRO stage, for any number of ranks."""

from __future__ import annotations

import math

import deepspeed
import torch
from torch import Tensor, nn

from training.exports import ExportError
from training.full_weights import full_shape
from training.models import LanguageModel, ModelSettings
from training.previous_token_heads import look_back
from training.tensor_parallel import LayerShare, whole_shape

LOOKED_UP = ("embedding.", "positions.")
RESIDUAL = ("attention.output.weight", ".down.weight")
ROUTER = ".router.weight"


def initialise(model: LanguageModel, *, seed: int, share: LayerShare | None = None) -> None:
    """Fill every matrix in place, and every bias with zeros; norms keep their ones.

    The values are drawn on the CPU in float32 in the order of the parameters, each by rank 0 where ZeRO-3 has already
    sharded it, and whole where ranks share layers.

    Args:
        model: The model, or this rank's parts of it.
        seed: Of the values.
        share: Of this rank, where ranks share layers.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            shape = _whole_shape(name, parameter, share)
            if len(shape) < 2:
                if "bias" in name:
                    _fill(name, parameter, model.initial_bias(name, shape), share)
                continue
            values = _initial_values(name, shape, model.settings, generator)
            if model.settings.previous_token_heads:
                look_back(name, values, model.settings)
            _fill(name, parameter, values, share)


def copy_weights(source: LanguageModel, model: LanguageModel, share: LayerShare | None = None) -> None:
    """Fill every parameter in place with another model's.

    Args:
        source: A whole model.
        model: The model, or this rank's parts of it.
        share: Of this rank, where ranks share layers.

    Raises:
        ExportError: If the two have another shape.
    """
    weights = source.state_dict()
    left = {name for name, _ in source.named_parameters()} - {name for name, _ in model.named_parameters()}
    if left:
        raise ExportError(
            f"the model to start from has '{min(left)}', which this one lacks: use its settings of 'model'"
        )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            shape = _whole_shape(name, parameter, share)
            if name not in weights or weights[name].shape != shape:
                raise ExportError(
                    f"the model to start from has no '{name}' of the shape {tuple(shape)}: use its settings of 'model'"
                )
            _fill(name, parameter, weights[name], share)


def _whole_shape(name: str, parameter: Tensor, share: LayerShare | None) -> torch.Size:
    shape = full_shape(parameter)
    return shape if share is None else whole_shape(name, shape, share.ranks)


def _fill(name: str, parameter: Tensor, values: Tensor, share: LayerShare | None) -> None:
    if hasattr(parameter, "ds_id"):
        with deepspeed.zero.GatheredParameters(parameter, modifier_rank=0):
            if torch.distributed.get_rank() == 0:
                parameter.copy_(values)
    else:
        parameter.copy_(values if share is None else share.part(name, values))


def _initial_values(name: str, shape: torch.Size, settings: ModelSettings, generator: torch.Generator) -> Tensor:
    """First values of a matrix [out, in], by ``settings.initialisation``, of standard deviation s = ``initial_std``.

    - normal: N(0, s^2).
    - truncated_normal: the same, drawn again beyond 3 s.
    - xavier: uniform within sqrt(6 / (in + out)) (Glorot and Bengio 2010, equation 16).
    - kaiming: N(0, 2 / in) (He et al. 2015, arXiv:1502.01852, equation 10).
    - torch: uniform within 1 / sqrt(in), what ``torch.nn.Linear`` starts with.
    - mup: N(0, s^2 b / w) in the layers and N(0, (s b / w)^2) in the output layer and in routers, whose outputs do not
      grow with the width, for a width w and the width b at which s was chosen (Yang et al., arXiv:2203.03466, table 3).

    Embeddings are N(0, s^2) in all of them. Output projections are zero, or divided by sqrt(2 layers) (Radford et al.
    2019, section 2.3), where the settings say so.
    """
    residual = name.endswith(RESIDUAL)
    if residual and settings.zero_output_projections:
        return torch.zeros(shape)
    values = torch.empty(shape)
    scheme, deviation = settings.initialisation, settings.initial_std
    if name.startswith(LOOKED_UP):
        return values.normal_(0.0, deviation, generator=generator)
    shrink = (settings.base_width or settings.width) / settings.width
    if scheme == "truncated_normal":
        nn.init.trunc_normal_(values, 0.0, deviation, -3 * deviation, 3 * deviation, generator=generator)
    elif scheme == "xavier":
        nn.init.xavier_uniform_(values, generator=generator)
    elif scheme == "kaiming":
        nn.init.kaiming_normal_(values, nonlinearity="relu", generator=generator)
    elif scheme == "torch":
        bound = 1 / math.sqrt(shape[-1])
        values.uniform_(-bound, bound, generator=generator)
    elif scheme == "mup":
        to_fixed = name.startswith("head.") or name.endswith(ROUTER)
        values.normal_(0.0, deviation * (shrink if to_fixed else math.sqrt(shrink)), generator=generator)
    else:
        values.normal_(0.0, deviation, generator=generator)
    if residual and settings.depth_scaling:
        values /= math.sqrt(2 * settings.layers)
    return values
