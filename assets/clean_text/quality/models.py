"""Quality models of any kind behind one method: texts in, a score for each out."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import pyarrow as pa

from assets.clean_text.characters import Array
from assets.clean_text.errors import CleanTextError
from assets.clean_text.quality.external import load_fasttext_model, load_onnx_model
from assets.clean_text.quality.fasttext_layout import MAGIC
from assets.clean_text.quality.linear import load_linear_model


class QualityModel(Protocol):
    """Scores texts; by our own convention the higher, the better."""

    @property
    def digest(self) -> str:
        """Identity of the model and of the settings that its score depends on, for fingerprints."""

    def score(self, texts: pa.StringArray) -> Array:
        """float64 (n,): a score for each of n texts without nulls."""


def load_quality_model(path: Path, *, label: str | None = None) -> QualityModel:
    """Open a model, whose kind is recognised by its content.

    Args:
        path: A folder that ``corpusline train-quality`` wrote, a fastText file, or an ONNX file.
        label: Label of good text, for fastText only.

    Raises:
        CleanTextError: If it is none of these, or damaged, or its label is missing or unknown.
    """
    if path.is_dir():
        model: QualityModel = load_linear_model(path)
    else:
        try:
            with path.open("rb") as file:
                magic = file.read(4)
        except OSError as error:
            raise CleanTextError(f"quality model {path} cannot be read ({error.strerror}); correct the path") from None
        if magic == MAGIC.to_bytes(4, "little"):
            return load_fasttext_model(path, label=label)
        model = load_onnx_model(path)
    if label is not None:
        raise CleanTextError(f"quality model {path} is no fastText model and knows no label '{label}'; leave it out")
    return model
