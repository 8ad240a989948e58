"""The decoder with a mixture of experts as transformers' Qwen3MoE."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from training.exports.decoder import DecoderForm, exported_name
from training.exports.form import must_be
from training.models import ModelSettings, parameter_names

_FIXED: dict[str, Any] = {
    "hidden_act": "silu",
    "attention_bias": False,
    "attention_dropout": 0.0,
    "use_sliding_window": False,
    "norm_topk_prob": True,
    "decoder_sparse_step": 1,
    "mlp_only_layers": [],
}
_EXPERT = re.compile(r"blocks\.(\d+)\.feed_forward\.experts\.(\d+)\.(gate|up|down)\.weight")
_ROUTER = re.compile(r"blocks\.(\d+)\.feed_forward\.router\.weight")


def expert_name(name: str) -> str:
    """The name in transformers of one of our parameters."""
    if found := _EXPERT.fullmatch(name):
        layer, expert, part = found.groups()
        return f"model.layers.{layer}.mlp.experts.{expert}.{part}_proj.weight"
    if found := _ROUTER.fullmatch(name):
        return f"model.layers.{found[1]}.mlp.gate.weight"
    return exported_name(name)


class ExpertsForm:
    """Qwen3MoE; see ``ExportForm``."""

    model_types = ("qwen3_moe",)

    def reads(self, configuration: Mapping[str, Any]) -> bool:
        """By the model type."""
        return configuration["model_type"] in self.model_types

    def writes(self, settings: ModelSettings) -> bool:
        """Decoders with experts and normalised queries and keys."""
        return settings.architecture == "decoder" and settings.experts > 0 and settings.query_key_norm

    def configuration(self, settings: ModelSettings) -> dict[str, Any]:
        """``config.json`` without the ids of special tokens.

        Their weight of the balance is ours by number: their loss takes all layers together and counts every choice.
        """
        return {
            **DecoderForm().configuration(settings),
            "architectures": ["Qwen3MoeForCausalLM"],
            "model_type": "qwen3_moe",
            "moe_intermediate_size": settings.feed_forward_width,
            "num_experts": settings.experts,
            "num_experts_per_tok": settings.experts_per_token,
            "router_aux_loss_coef": settings.expert_balance,
            **_FIXED,
        }

    def settings(self, configuration: Mapping[str, Any]) -> ModelSettings:
        """The shape by ``config.json``."""
        # What transformers takes where the file says nothing.
        must_be({"norm_topk_prob": False, **configuration}, _FIXED)
        plain = DecoderForm().settings({**configuration, "model_type": "qwen3"})
        changes = {
            "feed_forward_width": configuration["moe_intermediate_size"],
            # transformers 5 writes the first name, the published folders and ours have the second; it reads both.
            "experts": configuration.get("num_local_experts") or configuration["num_experts"],
            "experts_per_token": configuration["num_experts_per_tok"],
            "expert_balance": configuration["router_aux_loss_coef"],
        }
        return ModelSettings.model_validate(plain.model_dump() | changes)

    def exported(self, weights: Mapping[str, Tensor], settings: ModelSettings) -> dict[str, Tensor]:
        """Our parameters by name as the folder's tensors; a tied output layer is left out."""
        return {
            expert_name(name): tensor
            for name, tensor in weights.items()
            if not (settings.tied_embedding and name == "head.weight")
        }

    def imported(self, tensors: Mapping[str, Tensor], settings: ModelSettings) -> dict[str, Tensor]:
        """The folder's tensors as our parameters by name."""
        tied = settings.tied_embedding
        return {
            name: tensors[expert_name("embedding.weight" if tied and name == "head.weight" else name)]
            for name in parameter_names(settings)
        }
