"""A trained model as a folder that transformers opens as its own Qwen3, and back."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from training.model import LanguageModel, ModelSettings

CONFIG = "config.json"
GENERATION = "generation_config.json"
WEIGHTS = "model.safetensors"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")

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


# What Qwen3 may have otherwise and our model always has so.
_FIXED = {"hidden_act": "silu", "attention_bias": False, "attention_dropout": 0.0, "use_sliding_window": False}


class ExportError(RuntimeError):
    """A model folder is incomplete or not one of ours; the message names the file."""


def exported_name(name: str) -> str:
    """The name in transformers' Qwen3 of one of our parameters."""
    if name in _WHOLE:
        return _WHOLE[name]
    _, layer, rest = name.split(".", 2)
    return f"model.layers.{layer}.{_IN_BLOCK[rest.removesuffix('.weight')]}.weight"


def configuration(settings: ModelSettings, *, end_of_document: int) -> dict[str, Any]:
    """The config.json of transformers' Qwen3 for this shape."""
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "vocab_size": settings.vocabulary_size,
        "hidden_size": settings.width,
        "intermediate_size": settings.feed_forward_width,
        "num_hidden_layers": settings.layers,
        "num_attention_heads": settings.heads,
        "num_key_value_heads": settings.key_value_heads,
        "head_dim": settings.head_size,
        "max_position_embeddings": settings.context,
        "initializer_range": settings.initial_std,
        "rms_norm_eps": settings.norm_epsilon,
        "rope_parameters": {"rope_type": "default", "rope_theta": settings.rope_base},
        "tie_word_embeddings": settings.tied_embedding,
        "bos_token_id": end_of_document,
        "eos_token_id": end_of_document,
        "pad_token_id": end_of_document,
        "dtype": "float32",
        **_FIXED,
    }


def export_model(
    weights: Mapping[str, Tensor], settings: ModelSettings, *, vocabulary: Path, end_of_document: int, folder: Path
) -> None:
    """Write config.json, generation_config.json, model.safetensors (float32) and the tokenizer's files.

    Args:
        weights: Our parameters by name, float32 on the CPU.
        settings: Shape of the model.
        vocabulary: Folder with the tokenizer's files, which are copied.
        end_of_document: The id that starts and ends a text.
        folder: Made if it is not there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        exported_name(name): tensor.contiguous()
        for name, tensor in weights.items()
        if not (settings.tied_embedding and name == "head.weight")
    }
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    generation = {
        "bos_token_id": end_of_document,
        "eos_token_id": end_of_document,
        "pad_token_id": end_of_document,
        "do_sample": True,
        "temperature": 0.8,
        "top_p": 0.95,
    }
    _write_json(folder / CONFIG, configuration(settings, end_of_document=end_of_document))
    _write_json(folder / GENERATION, generation)
    for name in TOKENIZER_FILES:
        if (vocabulary / name).is_file():
            shutil.copyfile(vocabulary / name, folder / name)


def load_model(folder: Path) -> LanguageModel:
    """The model of a folder that ``export_model`` wrote, in float32 on the CPU, in evaluation mode.

    Raises:
        ExportError: If a file is missing, damaged, or of another architecture.
    """
    try:
        values = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        if values["model_type"] != "qwen3":
            raise ExportError(f"{folder / CONFIG}: model type {values['model_type']}, this program reads qwen3")
        rotary = dict(values["rope_parameters"])
        if rotary.get("rope_type", "default") != "default":
            raise ExportError(f"{folder / CONFIG}: scaled rotary positions, which this program does not compute")
        for key, known in _FIXED.items():
            if values.get(key, known) != known:
                raise ExportError(f"{folder / CONFIG}: {key} is {values[key]!r}; this program reads only {known!r}")
        settings = ModelSettings(
            vocabulary_size=values["vocab_size"],
            width=values["hidden_size"],
            feed_forward_width=values["intermediate_size"],
            layers=values["num_hidden_layers"],
            heads=values["num_attention_heads"],
            key_value_heads=values["num_key_value_heads"],
            head_width=values["head_dim"],
            context=values["max_position_embeddings"],
            initial_std=values["initializer_range"],
            norm_epsilon=values["rms_norm_eps"],
            rope_base=rotary["rope_theta"],
            tied_embedding=values["tie_word_embeddings"],
        )
        tensors = load_file(folder / WEIGHTS)
        model = LanguageModel(settings)
        names = {name: exported_name(name) for name in model.state_dict()}
        if settings.tied_embedding:
            names["head.weight"] = names["embedding.weight"]
        model.load_state_dict({name: tensors[exported] for name, exported in names.items()})
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        if isinstance(error, ExportError):
            raise
        raise ExportError(f"{folder} holds no whole model ({type(error).__name__}: {error}); export it again") from None
    return model.float().eval()


def full_weights(model: torch.nn.Module, is_first_rank: bool) -> dict[str, Tensor]:
    """Every parameter of a DeepSpeed model in float32, from the masters where there are some.

    Called by all ranks together; only the first one gets the tensors, one at a time, in its host's memory.
    """
    from deepspeed.utils import safe_get_full_fp32_param

    weights = {}
    for name, parameter in model.named_parameters():
        value = safe_get_full_fp32_param(parameter)
        if is_first_rank:
            weights[name] = (parameter if value is None else value).detach().float().cpu().view(_shape(parameter))
    return weights


def _shape(parameter: torch.nn.Parameter) -> torch.Size:
    shape: torch.Size = getattr(parameter, "ds_shape", parameter.shape)
    return shape


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")
