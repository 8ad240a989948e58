"""A mixture of experts: of several feed-forward blocks, a router chooses a few for each token (arXiv:1701.06538).

As in Qwen3's mixture: the router's softmax over all experts, the chosen weights normalised to one, no token dropped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from training.models.settings import ModelSettings


class Routes(NamedTuple):
    """Where tokens go.

    Attributes:
        choices: int64 [tokens, chosen], numbers of experts, no two alike for a token.
        weights: float32 [tokens, chosen], with a sum of one for each token.
        counts: int64 [experts], how many choices fall on each.
        balance: float32, experts * sum over experts of (share of the choices that fall on it) * (mean probability that
            the router gives it) (Fedus et al., arXiv:2101.03961, equations 4 to 6); 1 when even.
    """

    choices: Tensor
    weights: Tensor
    counts: Tensor
    balance: Tensor


def route(scores: Tensor, chosen: int) -> Routes:
    """Choose the experts with the highest scores [tokens, experts] for each token."""
    experts = scores.shape[-1]
    probabilities = scores.float().softmax(-1)
    weights, choices = probabilities.topk(chosen, dim=-1)
    flat = choices.flatten()
    counts = flat.new_zeros(experts).scatter_add(0, flat, torch.ones_like(flat))
    balance = experts * (counts / flat.numel() * probabilities.mean(0)).sum()
    return Routes(choices, weights / weights.sum(-1, keepdim=True), counts, balance)


class Mixture(nn.ModuleList):
    """Feed-forward blocks, and the sums of what the chosen ones make of tokens."""

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def forward(self, tokens: Tensor, weights: Tensor, choices: Tensor, counts: Tensor) -> Tensor:
        """Tokens [tokens, width] to the same; the others as in ``Routes``.

        Not compiled: how many tokens an expert gets differs from step to step.
        """
        chosen = choices.shape[-1]
        order = choices.flatten().argsort(stable=True)
        parts = torch.split(tokens[order // chosen], counts.tolist())
        # Every expert is called, also without a token: ZeRO-3 gathers its weights on all ranks together.
        made = torch.cat([expert(part) for expert, part in zip(self, parts, strict=True)])
        # Back in the order of the tokens: sums in the order of arrival would differ from run to run on a GPU.
        ordered = made[order.argsort()].view(-1, chosen, made.shape[-1])
        mixed: Tensor = (ordered * weights.to(made.dtype).unsqueeze(-1)).sum(1)
        return mixed


class Experts(nn.Module):
    """Feed-forward blocks, of which ``experts_per_token`` work on a token."""

    def __init__(self, settings: ModelSettings, make: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.chosen = settings.experts_per_token
        self.router = nn.Linear(settings.width, settings.experts, bias=False)
        self.experts = Mixture(make() for _ in range(settings.experts))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[batch, time, width] to the same, and the balance of ``Routes``."""
        tokens = x.flatten(0, -2)
        routes = route(self.router(tokens), self.chosen)
        mixed: Tensor = self.experts(tokens, routes.weights, routes.choices, routes.counts)
        return mixed.view_as(x), routes.balance
