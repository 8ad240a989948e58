"""Cross-entropy of the next token from hidden states, without the logits of all tokens ever being in memory at once."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from training.settings import Settings

IGNORED = -100
"""Target of a position that does not count."""

_MOST_LOGITS = 1 << 26
"""Logits in memory at once: 256 MiB in float32."""


class LossSettings(Settings):
    """What is minimised."""

    z_loss: float = Field(
        0.0, ge=0, description="Weight of the square of the logits' log-sum-exp, which keeps them from drifting."
    )
    label_smoothing: float = Field(
        0.0, ge=0, lt=1, description="Share of the target's probability that is spread over the vocabulary."
    )


def next_token_loss(hidden: Tensor, weight: Tensor, targets: Tensor, settings: LossSettings) -> tuple[Tensor, Tensor]:
    """Sums over all targets that count, float32 scalars: what is minimised, and the plain cross-entropy in nats.

    Cross-entropy with label smoothing (Szegedy et al., arXiv:1512.00567, section 7) and z-loss (Chowdhery et al.,
    arXiv:2204.02311, section 5). Gradients are computed chunk by chunk in the forward pass, so that the memory is one
    chunk's logits and the gradients themselves; the second sum has no gradient.

    Args:
        hidden: [tokens, width].
        weight: Of the output layer, [vocabulary, width].
        targets: int64 [tokens]; ``IGNORED`` does not count.
        settings: z-loss and label smoothing.
    """
    if torch.is_grad_enabled() and (hidden.requires_grad or weight.requires_grad):
        objective, nats = _NextTokenLoss.apply(hidden, weight, targets, settings)  # type: ignore[no-untyped-call]
        return objective, nats
    objective = nats = torch.zeros((), device=hidden.device)
    for part in _chunks(hidden.shape[0], weight.shape[0]):
        more, plain, _ = _chunk_loss(hidden[part] @ weight.T, targets[part], settings)
        objective, nats = objective + more, nats + plain
    return objective, nats


def chunk_tokens(vocabulary: int) -> int:
    """Tokens whose logits over a vocabulary of that size are in memory at once."""
    return max(128, _MOST_LOGITS // vocabulary)


def _chunks(tokens: int, vocabulary: int) -> list[slice]:
    size = chunk_tokens(vocabulary)
    return [slice(start, min(start + size, tokens)) for start in range(0, tokens, size)]


def _chunk_loss(logits: Tensor, targets: Tensor, settings: LossSettings) -> tuple[Tensor, Tensor, Tensor]:
    """Objective, cross-entropy, and for the backward pass the logarithms of the probabilities, float32."""
    logarithms = logits.float().log_softmax(-1)
    counted = targets != IGNORED
    chosen = targets.masked_fill(~counted, 0).unsqueeze(-1)
    nats = objective = -logarithms.gather(-1, chosen).squeeze(-1).masked_fill(~counted, 0).sum()
    if settings.label_smoothing:
        spread = -logarithms.mean(-1).masked_fill(~counted, 0).sum()
        objective = (1 - settings.label_smoothing) * nats + settings.label_smoothing * spread
    if settings.z_loss:
        normaliser = logits[:, 0].float() - logarithms[:, 0]
        objective = objective + settings.z_loss * normaliser.square().masked_fill(~counted, 0).sum()
    return objective, nats, logarithms


def _logits_gradient(logits: Tensor, logarithms: Tensor, targets: Tensor, settings: LossSettings) -> Tensor:
    """Of the objective's sum to the logits, in their shape, float32, as if all targets counted.

    Takes the logarithms' memory: a pass over logits is what costs here.
    """
    if settings.z_loss:
        normaliser = logits[:, :1].float() - logarithms[:, :1]
        gradient = logarithms.exp_().mul_(1 + 2 * settings.z_loss * normaliser)
    else:
        gradient = logarithms.exp_()
    if settings.label_smoothing:
        gradient -= settings.label_smoothing / logits.shape[-1]
    certain = torch.full_like(targets, settings.label_smoothing - 1, dtype=torch.float32)
    return gradient.scatter_add_(-1, targets.clamp(min=0).unsqueeze(-1), certain.unsqueeze(-1))


class _NextTokenLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, settings: LossSettings
    ) -> tuple[Tensor, Tensor]:
        hidden_gradient = torch.empty_like(hidden)
        weight_gradient: Tensor | None = None
        objective = nats = torch.zeros((), device=hidden.device)
        for part in _chunks(hidden.shape[0], weight.shape[0]):
            logits = hidden[part] @ weight.T
            more, plain, logarithms = _chunk_loss(logits, targets[part], settings)
            objective, nats = objective + more, nats + plain
            gradient = _logits_gradient(logits, logarithms, targets[part], settings).to(hidden.dtype)
            counted = (targets[part] != IGNORED).to(hidden.dtype).unsqueeze(-1)
            torch.mm(gradient, weight, out=hidden_gradient[part]).mul_(counted)
            # Many parts of a sum in bfloat16 would lose what each of them adds.
            share = (gradient.T @ (hidden[part] * counted)).float()
            weight_gradient = share if weight_gradient is None else weight_gradient.add_(share)
        if weight_gradient is None:
            weight_gradient = torch.zeros_like(weight)
        ctx.save_for_backward(hidden_gradient, weight_gradient.to(weight.dtype))
        ctx.mark_non_differentiable(nats)
        return objective, nats

    @staticmethod
    def backward(ctx: Any, scale: Tensor, _: Tensor) -> tuple[Tensor, Tensor, None, None]:
        hidden_gradient, weight_gradient = ctx.saved_tensors
        factor = scale.to(hidden_gradient.dtype)
        return hidden_gradient * factor, weight_gradient * factor, None, None
