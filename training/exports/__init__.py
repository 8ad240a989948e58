"""Exported models: a form for each architecture, the first that fits is written."""

from __future__ import annotations

from training.exports.decoder import DecoderForm
from training.exports.form import ExportError, ExportForm
from training.exports.own import OwnForm

__all__ = ["FORMS", "ExportError", "ExportForm"]

FORMS: tuple[ExportForm, ...] = (DecoderForm(), OwnForm())
