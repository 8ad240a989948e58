"""Blocks as the GPTs of transformers keep them: queries, keys and values in one matrix, matrices as [in, out]."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

_PARTS = ("query", "key", "value")
_NAMES = {
    "attention_norm": "ln_1",
    "attention.output": "attn.c_proj",
    "feed_forward_norm": "ln_2",
    "feed_forward.up": "mlp.c_fc",
    "feed_forward.down": "mlp.c_proj",
}


def exported_blocks(weights: Mapping[str, Tensor], layers: int, *, prefix: str) -> dict[str, Tensor]:
    """Our blocks' parameters by name as transformers' tensors, whose names begin with ``prefix`` and the layer."""
    tensors = {}
    for layer in range(layers):
        ours, theirs = f"blocks.{layer}.", f"{prefix}{layer}."
        for kind in ("weight", "bias"):
            joined = torch.cat([weights[f"{ours}attention.{part}.{kind}"] for part in _PARTS])
            tensors[f"{theirs}attn.c_attn.{kind}"] = _turned(joined)
            for name, exported in _NAMES.items():
                tensors[f"{theirs}{exported}.{kind}"] = _turned(weights[f"{ours}{name}.{kind}"])
    return tensors


def imported_blocks(tensors: Mapping[str, Tensor], layers: int, *, prefix: str) -> dict[str, Tensor]:
    """The inverse of ``exported_blocks``.

    Raises:
        KeyError: If a tensor is missing.
    """
    weights = {}
    for layer in range(layers):
        ours, theirs = f"blocks.{layer}.", f"{prefix}{layer}."
        for kind in ("weight", "bias"):
            parts = _turned(tensors[f"{theirs}attn.c_attn.{kind}"]).chunk(3)
            for part, tensor in zip(_PARTS, parts, strict=True):
                weights[f"{ours}attention.{part}.{kind}"] = tensor
            for name, exported in _NAMES.items():
                weights[f"{ours}{name}.{kind}"] = _turned(tensors[f"{theirs}{exported}.{kind}"])
    return weights


def _turned(tensor: Tensor) -> Tensor:
    """A matrix [out, in] as [in, out] or back; vectors as they are."""
    return tensor.T if tensor.dim() == 2 else tensor
