"""The Transformer of 2017 as transformers' first GPT, or with its norms first as transformers' GPT-2.

Both have the same blocks. Sinusoidal positions are written as the table of positions that those learn, and the
embedding with the factor that the Transformer gives it, wherefore a tied output layer is written on its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from training.exports.fused_attention import exported_blocks, imported_blocks
from training.models import ModelSettings
from training.models.transformer import sinusoids

_KEY = "corpusline"


class TransformerForm:
    """See ``ExportForm``. The first GPT's inner width is four times its width: others are written in our own form."""

    model_types = ("openai-gpt", "gpt2")

    def reads(self, configuration: Mapping[str, Any]) -> bool:
        """Only what was written here: those models learn their positions."""
        return configuration["model_type"] in self.model_types and _KEY in configuration

    def writes(self, settings: ModelSettings) -> bool:
        """Transformers that one of the two can hold."""
        fits = settings.norm_first or settings.feed_forward_width == 4 * settings.width
        return settings.architecture == "transformer" and fits

    def configuration(self, settings: ModelSettings) -> dict[str, Any]:
        """``config.json`` without the ids of special tokens."""
        if settings.norm_first:
            kind = {
                "architectures": ["GPT2LMHeadModel"],
                "model_type": "gpt2",
                "n_inner": settings.feed_forward_width,
                "activation_function": "relu",
            }
        else:
            kind = {"architectures": ["OpenAIGPTLMHeadModel"], "model_type": "openai-gpt", "afn": "relu"}
        return {
            **kind,
            "vocab_size": settings.vocabulary_size,
            "n_embd": settings.width,
            "n_layer": settings.layers,
            "n_head": settings.heads,
            "n_positions": settings.context,
            "layer_norm_epsilon": settings.norm_epsilon,
            "initializer_range": settings.initial_std,
            "tie_word_embeddings": False,
            "attn_pdrop": settings.dropout,
            "embd_pdrop": settings.dropout,
            "resid_pdrop": settings.dropout,
            _KEY: settings.model_dump(mode="json"),
        }

    def settings(self, configuration: Mapping[str, Any]) -> ModelSettings:
        """The shape by ``config.json``."""
        return ModelSettings.model_validate(configuration[_KEY])

    def exported(self, weights: Mapping[str, Tensor], settings: ModelSettings) -> dict[str, Tensor]:
        """Our parameters by name as the folder's tensors."""
        names = ("wte", "wpe") if settings.norm_first else ("tokens_embed", "positions_embed")
        norm = {f"transformer.ln_f.{kind}": weights[f"final_norm.{kind}"] for kind in _final_norm(settings)}
        return {
            f"transformer.{names[0]}.weight": weights["embedding.weight"] * math.sqrt(settings.width),
            f"transformer.{names[1]}.weight": sinusoids(torch.arange(settings.context), settings.width),
            "lm_head.weight": weights["embedding.weight" if settings.tied_embedding else "head.weight"].clone(),
            **norm,
            **exported_blocks(weights, settings.layers, prefix="transformer.h."),
        }

    def imported(self, tensors: Mapping[str, Tensor], settings: ModelSettings) -> dict[str, Tensor]:
        """The folder's tensors as our parameters by name."""
        scaled = tensors[f"transformer.{'wte' if settings.norm_first else 'tokens_embed'}.weight"]
        head = tensors["lm_head.weight"]
        return {
            "embedding.weight": head if settings.tied_embedding else scaled / math.sqrt(settings.width),
            "head.weight": head,
            **{f"final_norm.{kind}": tensors[f"transformer.ln_f.{kind}"] for kind in _final_norm(settings)},
            **imported_blocks(tensors, settings.layers, prefix="transformer.h."),
        }


def _final_norm(settings: ModelSettings) -> tuple[str, ...]:
    return ("weight", "bias") if settings.norm_first else ()
