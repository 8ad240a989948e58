from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from pipelines.summary import print_summary

SUMMARY: dict[str, Any] = {
    "documents": 12,
    "kept": 9,
    "dropped": {"unreadable": 4, "too_short": 2, "menu": 1},
    "train_tokens": 1000,
    "trained_tokens": 2000,
    "steps": 10,
    "parameters": 50,
    "tokens_per_second": 20.0,
    "languages": {"zh": {"bits_per_byte": 2.4}},
    "baselines": {"zh": {"gzip": 3.0, "xz": 2.9, "bigram": 2.5}},
    "samples": {"zh": [["从前", "有一天:x:[好]"]]},
}


def shown(model: Path, model_type: str) -> str:
    (model / "config.json").write_text(json.dumps({"model_type": model_type}))
    console = Console(emoji=False, width=80)
    with console.capture() as captured:
        print_summary(SUMMARY, model, name="mine", version="3", console=console)
    return captured.get()


def test_what_could_not_be_read_counts_as_in_the_ledger(tmp_path: Path) -> None:
    assert "16 read, 9 kept, 7 dropped" in shown(tmp_path, "qwen3")
    assert "从前有一天:x:[好]" in shown(tmp_path, "qwen3")


@pytest.mark.parametrize(("model_type", "opens"), [("qwen3", True), ("corpusline", False)])
def test_transformers_is_named_where_it_has_the_architecture(tmp_path: Path, model_type: str, opens: bool) -> None:
    assert ("opens with transformers" in shown(tmp_path, model_type)) == opens
