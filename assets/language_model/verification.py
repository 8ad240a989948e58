"""Proof that the exported folder computes what the trainer's own model does."""

from __future__ import annotations

from pathlib import Path

import torch

from training.export import load_model
from training.exports import ExportError, in_transformers

TOLERANCE = 1e-4
TOKENS = 64


@torch.no_grad()
def verify_export(folder: Path) -> float | None:
    """Largest difference between the logits of our model and of transformers', in float32, on random tokens.

    None for a recurrent model, of which transformers has no architecture; that it opens again is checked all the same.

    Raises:
        ExportError: If it is more than 1e-4.
    """
    ours = load_model(folder)
    if not in_transformers(ours.settings):
        return None
    # Slow to import, and needed only when a model is new.
    from transformers import AutoModelForCausalLM

    theirs = AutoModelForCausalLM.from_pretrained(
        folder, trust_remote_code=False, local_files_only=True, dtype=torch.float32
    ).eval()
    length = min(TOKENS, ours.settings.context)
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(ours.settings.vocabulary_size, (2, length), generator=generator)
    difference = float((ours(tokens) - theirs(tokens).logits).abs().max())
    if not difference <= TOLERANCE:
        raise ExportError(
            f"{folder}: transformers' logits differ from the trainer's by {difference:.2e}, more than {TOLERANCE}; "
            "this is a fault of the export, please report it with config.json"
        )
    return difference
