"""Exported models: a form for each architecture, the first that fits is written or read."""

from __future__ import annotations

from training.exports.decoder import DecoderForm
from training.exports.experts import ExpertsForm
from training.exports.form import ExportError, ExportForm
from training.exports.gpt2 import GPT2Form
from training.exports.own import OwnForm
from training.exports.transformer import TransformerForm
from training.models import ModelSettings

__all__ = ["FORMS", "ExportError", "ExportForm", "in_transformers"]

FORMS: tuple[ExportForm, ...] = (DecoderForm(), ExpertsForm(), TransformerForm(), GPT2Form(), OwnForm())


def in_transformers(settings: ModelSettings) -> bool:
    """Whether models of these settings are written as one of transformers' own."""
    return not isinstance(next(form for form in FORMS if form.writes(settings)), OwnForm)
