from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM, GenerationConfig, LlamaForCausalLM, Qwen3ForCausalLM

from tests.training.models.test_decoder import random_tokens, tiny_model
from training.export import export_model, load_model
from training.exports import ExportError
from training.exports.decoder import exported_name
from training.models import LanguageModel

END = 3
SHAPES = [
    {},
    {"tied_embedding": True},
    {"key_value_heads": 4, "rope_base": 500.0, "norm_epsilon": 1e-3},
    {"key_value_heads": 1, "head_width": 10, "tied_embedding": True},
    {"query_key_norm": False},
]


def export(model: LanguageModel, folder: Path) -> Path:
    vocabulary = folder / "vocabulary"
    vocabulary.mkdir(parents=True)
    (vocabulary / "tokenizer.json").write_text('{"the": "tokenizer"}')
    (vocabulary / "fertility.parquet").write_text("not a tokenizer's file")
    weights = {name: parameter.detach() for name, parameter in model.named_parameters()}
    out = folder / "exported" / "model"
    export_model(weights, model.settings, vocabulary=vocabulary, end_of_document=END, folder=out)
    return out


@pytest.mark.parametrize("changes", SHAPES)
def test_transformers_gives_the_same_logits(tmp_path: Path, changes: dict[str, Any]) -> None:
    model = tiny_model(**changes).eval()
    folder = export(model, tmp_path)
    peer, loading = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not any(loading.values())
    tokens = random_tokens(3, 16)
    with torch.no_grad():
        ours, theirs = model(tokens), peer(tokens).logits
    assert isinstance(peer, Qwen3ForCausalLM if model.settings.query_key_norm else LlamaForCausalLM)
    assert ours.abs().mean() > 0.1
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)
    assert peer.num_parameters() == model.parameter_count()


@pytest.mark.parametrize("changes", SHAPES)
def test_loading_gives_the_model_back(tmp_path: Path, changes: dict[str, Any]) -> None:
    model = tiny_model(**changes).eval()
    loaded = load_model(export(model, tmp_path))
    tokens = random_tokens(2, 16)
    assert not loaded.training
    assert torch.equal(loaded(tokens), model(tokens))
    assert (loaded.head.weight is loaded.embedding.weight) == model.settings.tied_embedding
    assert loaded.settings.model_copy(update={"zero_output_projections": False, "head_width": None}) == (
        model.settings.model_copy(update={"head_width": None})
    )


def test_the_folder_holds_what_others_need(tmp_path: Path) -> None:
    folder = export(tiny_model(), tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
    ]
    assert (folder / "tokenizer.json").read_text() == '{"the": "tokenizer"}'
    generation = GenerationConfig.from_pretrained(folder)
    assert (generation.eos_token_id, generation.bos_token_id, generation.do_sample) == (END, END, True)
    assert json.loads((folder / "config.json").read_text())["eos_token_id"] == END


def test_a_tied_head_is_stored_once(tmp_path: Path) -> None:
    with safe_open(export(tiny_model(tied_embedding=True), tmp_path) / "model.safetensors", "pt") as opened:
        names = set(opened.keys())
    assert "model.embed_tokens.weight" in names
    assert "lm_head.weight" not in names


def test_the_same_weights_give_the_same_bytes(tmp_path: Path) -> None:
    folders = [export(tiny_model(seed=4), tmp_path / name) for name in "ab"]
    for path in folders[0].iterdir():
        assert path.read_bytes() == (folders[1] / path.name).read_bytes()


def test_names_are_those_of_qwen3() -> None:
    assert exported_name("blocks.11.attention.query_norm.weight") == "model.layers.11.self_attn.q_norm.weight"
    names = [exported_name(name) for name, _ in tiny_model().named_parameters()]
    assert len(set(names)) == len(names)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return export(tiny_model(), tmp_path)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ExportError, match=rf"exported/model holds no whole model .*{name}.*; export it again"):
        load_model(folder)


@pytest.mark.parametrize("kept", [0, 4, 100, -1])
def test_truncated_weights_are_refused(folder: Path, kept: int) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ExportError, match="exported/model holds no whole model"):
        load_model(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"model_type": "mamba"},
            r"config\.json: model type mamba; this program reads qwen3, llama, qwen3_moe",
        ),
        ({"hidden_size": 64}, "size mismatch for embedding.weight"),
        ({"num_hidden_layers": 3}, r"KeyError: 'model\.layers\.2\."),
        ({"num_key_value_heads": 3}, "heads 4 is no multiple of key_value_heads 3"),
        ({"vocab_size": "many"}, "vocabulary_size"),
        ({"rope_parameters": None}, "TypeError"),
        ({"rope_parameters": {}}, "KeyError: 'rope_theta'"),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}}, "scaled rotary positions"),
        ({"attention_bias": True}, "attention_bias is True; this program computes only False"),
    ],
)
def test_a_wrong_configuration_is_refused(folder: Path, change: dict[str, Any], message: str) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ExportError, match=message):
        load_model(folder)


@pytest.mark.parametrize("changes", [{}, {"query_key_norm": False}])
def test_a_folder_as_it_is_published_gives_the_same_logits(tmp_path: Path, changes: dict[str, Any]) -> None:
    """transformers 4 wrote these configurations; Llama's have no head_dim."""
    model = tiny_model(rope_base=500.0, **changes).eval()
    folder = export(model, tmp_path)
    path = folder / "config.json"
    values = json.loads(path.read_text())
    values |= {"rope_theta": values.pop("rope_parameters")["rope_theta"], "rope_scaling": None}
    if values["model_type"] == "llama":
        del values["head_dim"]
    path.write_text(json.dumps(values))
    loaded, peer = load_model(folder), AutoModelForCausalLM.from_pretrained(folder)
    tokens = random_tokens(2, 16)
    assert torch.equal(loaded(tokens), model(tokens))
    with torch.no_grad():
        torch.testing.assert_close(loaded(tokens), peer(tokens).logits, rtol=0, atol=1e-4)
    for scaling in ({"rope_type": "llama3", "factor": 8.0}, {"type": "linear", "factor": 2.0}):
        path.write_text(json.dumps(values | {"rope_scaling": scaling}))
        with pytest.raises(ExportError, match=r"config\.json: scaled rotary positions"):
            load_model(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "\ud7ff"])
def test_a_damaged_configuration_is_refused(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text, encoding="utf-16")
    with pytest.raises(ExportError, match="exported/model holds no whole model"):
        load_model(folder)
    (folder / "config.json").write_text(text, encoding="utf-8")
    with pytest.raises(ExportError, match="exported/model holds no whole model"):
        load_model(folder)
