"""GPT-2 as transformers' GPT-2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from training.exports.form import must_be
from training.exports.fused_attention import exported_blocks, imported_blocks
from training.models import ModelSettings

_FIXED: dict[str, Any] = {
    "activation_function": "gelu_new",
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
    "add_cross_attention": False,
}


class GPT2Form:
    """GPT-2, also as others have published it; see ``ExportForm``."""

    model_types = ("gpt2",)

    def reads(self, configuration: Mapping[str, Any]) -> bool:
        """By the model type."""
        return configuration["model_type"] in self.model_types

    def writes(self, settings: ModelSettings) -> bool:
        """GPT-2."""
        return settings.architecture == "gpt2"

    def configuration(self, settings: ModelSettings) -> dict[str, Any]:
        """``config.json`` without the ids of special tokens."""
        return {
            "architectures": ["GPT2LMHeadModel"],
            "model_type": "gpt2",
            "vocab_size": settings.vocabulary_size,
            "n_embd": settings.width,
            "n_inner": settings.feed_forward_width,
            "n_layer": settings.layers,
            "n_head": settings.heads,
            "n_positions": settings.context,
            "layer_norm_epsilon": settings.norm_epsilon,
            "initializer_range": settings.initial_std,
            "tie_word_embeddings": settings.tied_embedding,
            "attn_pdrop": settings.dropout,
            "embd_pdrop": settings.dropout,
            "resid_pdrop": settings.dropout,
            **_FIXED,
        }

    def settings(self, configuration: Mapping[str, Any]) -> ModelSettings:
        """The shape by ``config.json``; what it leaves out is as GPT-2 has it."""
        must_be(configuration, _FIXED)
        return ModelSettings(
            architecture="gpt2",
            vocabulary_size=configuration["vocab_size"],
            width=configuration["n_embd"],
            feed_forward_width=configuration.get("n_inner") or 4 * configuration["n_embd"],
            layers=configuration["n_layer"],
            heads=configuration["n_head"],
            context=configuration["n_positions"],
            dropout=configuration.get("resid_pdrop", 0.1),
            norm_epsilon=configuration["layer_norm_epsilon"],
            initial_std=configuration["initializer_range"],
            tied_embedding=configuration.get("tie_word_embeddings", True),
        )

    def exported(self, weights: Mapping[str, Tensor], settings: ModelSettings) -> dict[str, Tensor]:
        """Our parameters by name as the folder's tensors; a tied output layer is left out."""
        head = {} if settings.tied_embedding else {"lm_head.weight": weights["head.weight"]}
        return {
            "transformer.wte.weight": weights["embedding.weight"],
            "transformer.wpe.weight": weights["positions.weight"],
            "transformer.ln_f.weight": weights["final_norm.weight"],
            "transformer.ln_f.bias": weights["final_norm.bias"],
            **head,
            **exported_blocks(weights, settings.layers, prefix="transformer.h."),
        }

    def imported(self, tensors: Mapping[str, Tensor], settings: ModelSettings) -> dict[str, Tensor]:
        """The folder's tensors as our parameters by name; the files of the first GPT-2 have no prefix."""
        found = {name.removeprefix("transformer."): tensor for name, tensor in tensors.items()}
        return {
            "embedding.weight": found["wte.weight"],
            "positions.weight": found["wpe.weight"],
            "final_norm.weight": found["ln_f.weight"],
            "final_norm.bias": found["ln_f.bias"],
            "head.weight": found["wte.weight" if settings.tied_embedding else "lm_head.weight"],
            **imported_blocks(found, settings.layers, prefix="h."),
        }
