"""Our own quality classifier: logistic regression on hashed words and pairs of words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from assets.clean_text.characters import Array
from assets.clean_text.errors import CleanTextError
from assets.clean_text.quality.features import weighted_means
from assets.clean_text.quality.weights import load_weights, save_weights

NAME = "quality"


@dataclass(frozen=True)
class LinearModel:
    """P(good) = 1 / (1 + exp(-(weights . features + bias))).

    Attributes:
        weights: float32, one for each bucket of ``features.hashed_features``, a power of two.
        bias: The logarithm of the odds of a text without words.
        digest: Identity of the model's files; empty before it is saved.
        description: What it was trained on and how well it did, as JSON.
    """

    weights: Array
    bias: float
    digest: str = ""
    description: Mapping[str, Any] = field(default_factory=dict)

    def score(self, texts: pa.StringArray) -> Array:
        """float64 (n,): probability that a text is of the good ones, were both kinds as frequent."""
        odds: Array = weighted_means(texts, self.weights) + self.bias
        # Written with tanh, it overflows for no odds.
        return 0.5 * (1 + np.tanh(0.5 * odds))

    def save(self, folder: Path) -> None:
        """Write ``quality.safetensors`` and ``quality.json``."""
        save_weights(folder, NAME, {"weights": self.weights, "bias": np.array([self.bias])}, self.description)


def load_linear_model(folder: Path) -> LinearModel:
    """Open what ``LinearModel.save`` wrote.

    Raises:
        CleanTextError: If a file is missing or damaged.
    """
    arrays, description, digest = load_weights(folder, NAME)
    weights, bias = arrays.get("weights"), arrays.get("bias")
    if weights is None or bias is None or weights.dtype != np.float32 or len(weights).bit_count() != 1:
        raise CleanTextError(f"{folder / NAME}.safetensors holds no quality classifier; train it again")
    return LinearModel(weights, float(bias[0]), digest, description)
