"""How the next token is chosen."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import Field, field_validator
from torch import Tensor

from training.settings import Settings


class SamplingSettings(Settings):
    """How the next token is chosen."""

    tokens: int = Field(200, ge=1, description="Most tokens to write.")
    least_tokens: int = Field(0, ge=0, description="Tokens before which no text ends.")
    temperature: float = Field(0.8, ge=0, description="Below 1 bolder, above 1 wilder; 0 takes the likeliest token.")
    top_k: int = Field(0, ge=0, description="Choose among this many likeliest tokens; 0 is all.")
    top_p: float = Field(
        0.95, gt=0, le=1, description="Choose among the likeliest tokens of this probability together."
    )
    min_p: float = Field(
        0.0, ge=0, le=1, description="Choose among tokens of at least this share of the likeliest one's probability."
    )
    repetition_penalty: float = Field(
        1.0, gt=0, description="Above 1 makes tokens less likely that are in the text already."
    )
    stop: list[str] = Field(
        default_factory=list, description="The text ends before the first of these strings that is complete."
    )
    seed: int = Field(0, ge=0, description="The same seed writes the same text on the same machine.")

    @field_validator("stop")
    @classmethod
    def _each_can_be_missing(cls, stop: list[str]) -> list[str]:
        if "" in stop:
            raise ValueError(
                "an empty string is in every text, which would end before its first character; leave it out"
            )
        return stop


def sample(
    logits: Tensor, settings: SamplingSettings, generator: torch.Generator, *, history: Sequence[int] = ()
) -> int:
    """One token id.

    Top-p: Holtzman et al. 2020 (arXiv:1904.09751), section 3.1. Min-p: Nguyen et al. 2024 (arXiv:2407.01082),
    section 3. Repetition penalty: Keskar et al. 2019 (arXiv:1909.05858), section 4.1, with negative logits multiplied,
    so that it never makes a token likelier.

    Args:
        logits: float [vocabulary]; minus infinity is never chosen.
        settings: How to choose.
        generator: Where chance comes from.
        history: The text's tokens so far, for the repetition penalty.
    """
    values = logits.double().cpu()
    if settings.repetition_penalty != 1 and history:
        seen = torch.tensor(sorted(set(history)))
        scores = values[seen]
        values[seen] = torch.where(
            scores > 0, scores / settings.repetition_penalty, scores * settings.repetition_penalty
        )
    if settings.temperature == 0:
        return int(values.argmax())
    # From the likeliest one down, so that no temperature is too small to divide by.
    below = values - values.max()
    probabilities, ids = torch.softmax(below / settings.temperature, dim=-1).sort(descending=True)
    kept = probabilities.cumsum(0) - probabilities < settings.top_p
    kept &= probabilities >= settings.min_p * probabilities[0]
    if settings.top_k:
        kept[settings.top_k :] = False
    chosen = torch.multinomial(probabilities * kept, 1, generator=generator)
    return int(ids[chosen])
