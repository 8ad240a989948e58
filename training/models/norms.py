"""Normalisation."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class RootMeanSquareNorm(nn.Module):
    """x / sqrt(mean(x^2) + epsilon) * weight, in float32 (Zhang and Sennrich 2019, arXiv:1910.07467)."""

    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        """Normalise over the last dimension; any shape, same dtype out."""
        values = x.float()
        scale = torch.rsqrt(values.square().mean(-1, keepdim=True) + self.epsilon)
        return ((values * scale).to(x.dtype) * self.weight).to(x.dtype)
