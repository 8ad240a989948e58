"""The modern decoder as transformers' Qwen3 (with normalised queries and keys) or Llama (without)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from training.exports.form import ExportError, must_be
from training.models import ModelSettings, parameter_names

_WHOLE = {
    "embedding.weight": "model.embed_tokens.weight",
    "final_norm.weight": "model.norm.weight",
    "head.weight": "lm_head.weight",
}
_IN_BLOCK = {
    "attention_norm": "input_layernorm",
    "attention.query": "self_attn.q_proj",
    "attention.key": "self_attn.k_proj",
    "attention.value": "self_attn.v_proj",
    "attention.output": "self_attn.o_proj",
    "attention.query_norm": "self_attn.q_norm",
    "attention.key_norm": "self_attn.k_norm",
    "feed_forward_norm": "post_attention_layernorm",
    "feed_forward.gate": "mlp.gate_proj",
    "feed_forward.up": "mlp.up_proj",
    "feed_forward.down": "mlp.down_proj",
}

# What the two may have otherwise and our model always has so.
_FIXED: dict[str, dict[str, Any]] = {
    "qwen3": {"hidden_act": "silu", "attention_bias": False, "attention_dropout": 0.0, "use_sliding_window": False},
    "llama": {"hidden_act": "silu", "attention_bias": False, "attention_dropout": 0.0, "mlp_bias": False},
}
_CLASSES = {"qwen3": "Qwen3ForCausalLM", "llama": "LlamaForCausalLM"}


def exported_name(name: str) -> str:
    """The name in transformers of one of our parameters."""
    if name in _WHOLE:
        return _WHOLE[name]
    _, layer, rest = name.split(".", 2)
    return f"model.layers.{layer}.{_IN_BLOCK[rest.removesuffix('.weight')]}.weight"


def _rotary(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """As transformers 5 writes it, or as published folders, which older ones wrote, have it."""
    if "rope_parameters" in configuration:
        return dict(configuration["rope_parameters"])
    # What transformers takes where the file says nothing.
    return {"rope_theta": configuration.get("rope_theta", 1e4), **(configuration.get("rope_scaling") or {})}


class DecoderForm:
    """Qwen3 and Llama; see ``ExportForm``."""

    model_types = ("qwen3", "llama")

    def reads(self, configuration: Mapping[str, Any]) -> bool:
        """By the model type."""
        return configuration["model_type"] in self.model_types

    def writes(self, settings: ModelSettings) -> bool:
        """Decoders with one feed-forward block a layer."""
        return settings.architecture == "decoder" and not settings.experts

    def configuration(self, settings: ModelSettings) -> dict[str, Any]:
        """``config.json`` without the ids of special tokens."""
        model_type = "qwen3" if settings.query_key_norm else "llama"
        return {
            "architectures": [_CLASSES[model_type]],
            "model_type": model_type,
            "vocab_size": settings.vocabulary_size,
            "hidden_size": settings.width,
            "intermediate_size": settings.feed_forward_width,
            "num_hidden_layers": settings.layers,
            "num_attention_heads": settings.heads,
            "num_key_value_heads": settings.key_value_count,
            "head_dim": settings.head_size,
            "max_position_embeddings": settings.context,
            "initializer_range": settings.initial_std,
            "rms_norm_eps": settings.norm_epsilon,
            "rope_parameters": {"rope_type": "default", "rope_theta": settings.rope_base},
            "tie_word_embeddings": settings.tied_embedding,
            **_FIXED[model_type],
        }

    def settings(self, configuration: Mapping[str, Any]) -> ModelSettings:
        """The shape by ``config.json``."""
        rotary = _rotary(configuration)
        if rotary.get("rope_type", rotary.get("type", "default")) != "default":
            raise ExportError("scaled rotary positions, which this program does not compute")
        model_type = configuration["model_type"]
        must_be(configuration, _FIXED[model_type])
        return ModelSettings(
            architecture="decoder",
            vocabulary_size=configuration["vocab_size"],
            width=configuration["hidden_size"],
            feed_forward_width=configuration["intermediate_size"],
            layers=configuration["num_hidden_layers"],
            heads=configuration["num_attention_heads"],
            key_value_heads=configuration["num_key_value_heads"],
            head_width=configuration.get("head_dim")
            or configuration["hidden_size"] // configuration["num_attention_heads"],
            context=configuration["max_position_embeddings"],
            initial_std=configuration["initializer_range"],
            norm_epsilon=configuration["rms_norm_eps"],
            rope_base=rotary["rope_theta"],
            tied_embedding=configuration["tie_word_embeddings"],
            query_key_norm=model_type == "qwen3",
        )

    def exported(self, weights: Mapping[str, Tensor], settings: ModelSettings) -> dict[str, Tensor]:
        """Our parameters by name as the folder's tensors; a tied output layer is left out."""
        return {
            exported_name(name): tensor
            for name, tensor in weights.items()
            if not (settings.tied_embedding and name == "head.weight")
        }

    def imported(self, tensors: Mapping[str, Tensor], settings: ModelSettings) -> dict[str, Tensor]:
        """The folder's tensors as our parameters by name."""
        tied = settings.tied_embedding
        names = {name: exported_name("embedding.weight" if tied and name == "head.weight" else name)
                 for name in parameter_names(settings)}  # fmt: skip
        return {name: tensors[exported] for name, exported in names.items()}
