"""A trained model as a folder that transformers opens as one of its own, and back; see ``training.exports``."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from training.exports import FORMS, ExportError
from training.models import LanguageModel, ModelSettings, build_model

CONFIG = "config.json"
GENERATION = "generation_config.json"
WEIGHTS = "model.safetensors"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")


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
    form = next(form for form in FORMS if form.writes(settings))
    tensors = {name: tensor.contiguous() for name, tensor in form.exported(weights, settings).items()}
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    special = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), end_of_document)
    generation = {**special, "do_sample": True, "temperature": 0.8, "top_p": 0.95}
    _write_json(folder / CONFIG, {**form.configuration(settings), **special, "dtype": "float32"})
    _write_json(folder / GENERATION, generation)
    for name in TOKENIZER_FILES:
        if (vocabulary / name).is_file():
            shutil.copyfile(vocabulary / name, folder / name)


def load_model(folder: Path) -> LanguageModel:
    """The model of a folder, in float32 on the CPU, in evaluation mode: one of ours, or one of transformers.

    Raises:
        ExportError: If a file is missing, damaged, or of another architecture.
    """
    try:
        values = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        form = next((form for form in FORMS if form.reads(values)), None)
        if form is None:
            known = ", ".join(dict.fromkeys(name for form in FORMS for name in form.model_types))
            raise ExportError(f"model type {values['model_type']}; this program reads {known}")
        settings = form.settings(values)
        model = build_model(settings)
        model.load_state_dict(form.imported(_tensors(folder), settings))
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        if isinstance(error, ExportError):
            raise ExportError(f"{folder / CONFIG}: {error}") from None
        raise ExportError(f"{folder} holds no whole model ({type(error).__name__}: {error}); export it again") from None
    return model.float().eval()


def _tensors(folder: Path) -> dict[str, Tensor]:
    """All tensors of one file, or of those that the index of a large model names."""
    index = folder / f"{WEIGHTS}.index.json"
    if not index.is_file():
        return load_file(folder / WEIGHTS)
    names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    tensors: dict[str, Tensor] = {}
    for name in sorted(names):
        tensors |= load_file(folder / Path(name).name)
    return tensors


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")
