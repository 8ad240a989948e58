"""Which size of the vocabulary costs the least computing for a text: more entries, fewer tokens, each costs more."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tokenizers import Tokenizer

from assets.vocabulary.settings import VocabularySettings

SAMPLE_BYTES = 1 << 18
_SMALLEST = 512
# Width and layers of the presets; a block has about 12 times its width squared parameters (Kaplan et al. 2020,
# arXiv:2001.08361, section 2.1).
MODELS = {"tiny": (96, 4), "small": (192, 6), "gpt2-124m": (768, 12), "llama-1b": (2048, 16)}


@dataclass(frozen=True)
class SizeCost:
    """What a size costs.

    Attributes:
        size: Entries.
        tokens_per_byte: Tokens that a byte of the sample takes.
        operations: Of a training step for each byte, by the preset whose width and layers the model has.
    """

    size: int
    tokens_per_byte: float
    operations: dict[str, float]


def training_operations(width: int, layers: int, size: int) -> float:
    """Operations of a training step for a token: 6 for each parameter of a matrix, the output layer's among them."""
    return 6.0 * (12 * layers * width**2 + width * size)


def size_costs(definition: dict[str, Any], settings: VocabularySettings, texts: Sequence[str]) -> list[SizeCost]:
    """The costs of a byte-level BPE cut off at several sizes: its first merges are the smaller vocabularies.

    Args:
        definition: Content of its ``tokenizer.json``.
        settings: Of the vocabulary.
        texts: A sample; its first quarter of a mebibyte is encoded.
    """
    size = len(definition["model"]["vocab"])
    sample: list[str] = []
    taken = 0
    for text in texts:
        if taken >= SAMPLE_BYTES:
            break
        sample.append(text)
        taken += len(text.encode())
    if not taken:
        return []
    sizes = sorted({size, *(_SMALLEST << step for step in range(20) if _SMALLEST << step < size)})
    costs = []
    for entries in sizes[-7:]:
        tokens = sum(len(encoding.ids) for encoding in _cut_off(definition, entries).encode_batch_fast(sample))
        each = tokens / taken
        operations = {
            name: each * training_operations(width, layers, entries) for name, (width, layers) in MODELS.items()
        }
        costs.append(SizeCost(entries, each, operations))
    return costs


def cheapest(costs: Sequence[SizeCost], model: str) -> int:
    """The size of least cost for a model."""
    return min(costs, key=lambda cost: (cost.operations[model], cost.size)).size


def _cut_off(definition: dict[str, Any], size: int) -> Tokenizer:
    vocabulary: dict[str, int] = definition["model"]["vocab"]
    kept = {token: number for token, number in vocabulary.items() if number < size}
    merges = [pair for pair in definition["model"]["merges"] if {"".join(pair), *pair} <= kept.keys()]
    model = definition["model"] | {"vocab": kept, "merges": merges}
    tokenizer = Tokenizer.from_str(json.dumps(definition | {"model": model}))
    tokenizer.encode_special_tokens = True
    return tokenizer
