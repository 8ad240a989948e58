"""Text from a model, token by token, with a cache of keys and values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from pydantic import Field
from torch import Tensor

from training.models import LanguageModel
from training.settings import Settings

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


class SamplingSettings(Settings):
    """How the next token is chosen."""

    tokens: int = Field(200, ge=1, description="Most tokens to write.")
    temperature: float = Field(0.8, ge=0, description="Below 1 bolder, above 1 wilder; 0 takes the likeliest token.")
    top_k: int = Field(0, ge=0, description="Choose among this many likeliest tokens; 0 is all.")
    top_p: float = Field(
        0.95, gt=0, le=1, description="Choose among the likeliest tokens of this probability together."
    )
    seed: int = Field(0, ge=0, description="The same seed writes the same text on the same machine.")


def sample(logits: Tensor, settings: SamplingSettings, generator: torch.Generator) -> int:
    """One token id from logits float [vocabulary]. Top-p: Holtzman et al. 2020 (arXiv:1904.09751), section 3.1."""
    if settings.temperature == 0:
        return int(logits.argmax())
    # From the likeliest one down, so that no temperature is too small to divide by.
    below = logits.double().cpu() - logits.max().item()
    probabilities, ids = torch.softmax(below / settings.temperature, dim=-1).sort(descending=True)
    kept = probabilities.cumsum(0) - probabilities < settings.top_p
    if settings.top_k:
        kept[settings.top_k :] = False
    chosen = torch.multinomial(probabilities * kept, 1, generator=generator)
    return int(ids[chosen])


@torch.inference_mode()
def generate(
    model: LanguageModel, prompt: Sequence[int], settings: SamplingSettings, *, end_of_document: int
) -> Iterator[int]:
    """Token ids that go on from the prompt, until the end of the document or ``settings.tokens``.

    A text longer than the context goes on from its last half.

    Args:
        model: In evaluation mode.
        prompt: Token ids; an end-of-document id is put before them, as before every document in training.
        settings: How to choose.
        end_of_document: The id that ends a text.
    """
    parameter = next(model.parameters())
    context = model.settings.context
    generator = torch.Generator().manual_seed(settings.seed)
    cache = model.new_cache(1)
    history = [end_of_document, *prompt]
    # Room for at least one more token in the context.
    waiting = history[-(context - 1) :]
    for _ in range(settings.tokens):
        if cache.length + len(waiting) > context:
            cache.length = 0
            waiting = history[-max(1, context // 2) :]
        logits = model(torch.tensor([waiting], device=parameter.device), cache=cache)[0, -1]
        token = sample(logits, settings, generator)
        if token == end_of_document:
            return
        yield token
        history.append(token)
        waiting = [token]


def stream_text(ids: Iterator[int], decode: Callable[[list[int]], str]) -> Iterator[str]:
    """Pieces of text as soon as their characters are whole: a Chinese character may be spread over several tokens.

    Joined they are the text of all ids. What the last token stands for depends on the one before it, where words are
    joined by spaces; so each piece is what a token adds.
    """
    tokens: list[int] = []
    written = 0
    for token in ids:
        tokens.append(token)
        text = decode(tokens)
        if text.endswith(REPLACEMENT) or len(text) == written:
            continue
        yield text[written:]
        tokens = tokens[-1:]
        written = len(decode(tokens))
    if rest := decode(tokens)[written:]:
        yield rest
