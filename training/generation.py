"""Text from a model, token by token, with a cache of what was before."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import torch

from training.models import Cache, LanguageModel
from training.sampling import SamplingSettings, sample

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def generate(
    model: LanguageModel, prompt: Sequence[int], settings: SamplingSettings, *, end_of_document: int
) -> Iterator[int]:
    """Token ids that go on from a prompt; see ``generate_batch``."""
    for (token,) in generate_batch(model, [prompt], settings, end_of_document=end_of_document):
        assert token is not None
        yield token


@torch.inference_mode()
def generate_batch(
    model: LanguageModel, prompts: Sequence[Sequence[int]], settings: SamplingSettings, *, end_of_document: int
) -> Iterator[list[int | None]]:
    """The next token id of each text at a time, None for those that have ended, until all have.

    A text ends with the end-of-document id or after ``settings.tokens``; stop strings are for ``stream_text``. Where
    the model has a longest context, texts go on from their last half of it when the longest one has filled it.

    Args:
        model: In evaluation mode.
        prompts: Token ids; an end-of-document id is put before them, as before every document in training.
        settings: How to choose; the text of number n takes ``seed`` + n.
        end_of_document: The id that ends a text.
    """
    context = model.settings.context
    generators = [torch.Generator().manual_seed(settings.seed + number) for number in range(len(prompts))]
    histories = [[end_of_document, *prompt] for prompt in prompts]
    ended = [False] * len(prompts)
    cache = model.new_cache(len(prompts))
    # Room for at least one more token in the context.
    waiting = _padded(histories, context - 1 if model.limited_by_context else None, cache, end_of_document)
    for number in range(settings.tokens):
        if model.limited_by_context and cache.length + len(waiting[0]) > context:
            waiting = _padded(histories, max(1, context // 2), cache, end_of_document)
        logits = model(torch.tensor(waiting, device=next(model.parameters()).device), cache=cache)[:, -1]
        if number < settings.least_tokens:
            logits[:, end_of_document] = -math.inf
        tokens: list[int | None] = []
        for row, history in enumerate(histories):
            # The end-of-document id before it is no part of the text.
            token = None if ended[row] else sample(logits[row], settings, generators[row], history=history[1:])
            ended[row] = token in (None, end_of_document)
            tokens.append(None if ended[row] else token)
            if token is not None and not ended[row]:
                history.append(token)
        if all(ended):
            return
        yield tokens
        waiting = [[history[-1]] for history in histories]


def _padded(histories: list[list[int]], longest: int | None, cache: Cache, padding: int) -> list[list[int]]:
    """The ends of texts as rows of one length, padded in front, for an empty cache."""
    rows = [history if longest is None else history[-longest:] for history in histories]
    length = max(map(len, rows))
    cache.length = 0
    cache.first = None
    if any(len(row) < length for row in rows):
        cache.first = torch.tensor([length - len(row) for row in rows], device=cache.device)
    return [[padding] * (length - len(row)) + row for row in rows]


def stream_text(ids: Iterator[int], decode: Callable[[list[int]], str], *, stop: Sequence[str] = ()) -> Iterator[str]:
    """Pieces of text as soon as their characters are whole: a Chinese character may be spread over several tokens.

    Joined they are the text of all ids, up to the first stop string. What the last token stands for depends on the one
    before it, where words are joined by spaces; so each piece is what a token adds.

    Args:
        ids: Tokens as they come; no more are taken when the text has ended.
        decode: Text of tokens.
        stop: Strings before which the text ends; what may become one of them is held back.
    """
    held = ""
    for piece in _whole_characters(ids, decode):
        held += piece
        places = [place for place in map(held.find, stop) if place >= 0]
        if places:
            if held[: min(places)]:
                yield held[: min(places)]
            return
        kept = max((_overlap(held, text) for text in stop), default=0)
        if len(held) > kept:
            yield held[: len(held) - kept]
            held = held[len(held) - kept :]
    if held:
        yield held


def _overlap(text: str, stop: str) -> int:
    """Characters at the end of a text with which the stop string begins."""
    longest = min(len(text), len(stop) - 1)
    return next((size for size in range(longest, 0, -1) if text.endswith(stop[:size])), 0)


def _whole_characters(ids: Iterator[int], decode: Callable[[list[int]], str]) -> Iterator[str]:
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
