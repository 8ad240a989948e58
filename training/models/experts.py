"""A mixture of experts: of several feed-forward blocks, a router chooses a few for each token (arXiv:1701.06538).

As in Qwen3's mixture: the router's softmax over all experts, the chosen weights normalised to one, no token dropped.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from training.models.settings import ModelSettings


class Experts(nn.Module):
    """Feed-forward blocks, of which ``experts_per_token`` work on a token.

    Attributes:
        balance: Of the last forward pass: experts * sum over experts of (share of the choices that fall on it) * (mean
            probability that the router gives it) (Fedus et al., arXiv:2101.03961, equations 4 to 6); 1 when even.
    """

    def __init__(self, settings: ModelSettings, make: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.chosen = settings.experts_per_token
        self.router = nn.Linear(settings.width, settings.experts, bias=False)
        self.experts = nn.ModuleList(make() for _ in range(settings.experts))
        self.balance: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """[batch, time, width] to the same."""
        tokens = x.flatten(0, -2)
        probabilities = self.router(tokens).float().softmax(-1)
        weights, choices = probabilities.topk(self.chosen, dim=-1)
        weights = (weights / weights.sum(-1, keepdim=True)).to(x.dtype)
        count = len(self.experts)
        shares = torch.bincount(choices.flatten(), minlength=count).float() / choices.numel()
        self.balance = count * (shares * probabilities.mean(0)).sum()
        mixed = torch.zeros_like(tokens)
        # Every expert is called, also without a token: ZeRO-3 gathers its weights on all ranks together.
        for number, expert in enumerate(self.experts):
            rows, places = (choices == number).nonzero(as_tuple=True)
            mixed = mixed.index_add(0, rows, expert(tokens[rows]) * weights[rows, places].unsqueeze(-1))
        return mixed.view_as(x)
