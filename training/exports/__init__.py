"""Exported models: a form for each architecture, the first that fits is written or read."""

from __future__ import annotations

from training.exports.decoder import DecoderForm
from training.exports.form import ExportError, ExportForm
from training.exports.gpt2 import GPT2Form
from training.exports.own import OwnForm
from training.exports.transformer import TransformerForm

__all__ = ["FORMS", "ExportError", "ExportForm"]

FORMS: tuple[ExportForm, ...] = (DecoderForm(), TransformerForm(), GPT2Form(), OwnForm())
