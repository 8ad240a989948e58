"""Rotary positions (Su et al., arXiv:2104.09864)."""

from __future__ import annotations

import torch
from torch import Tensor


def rotary_angles(positions: Tensor, head_size: int, base: float) -> tuple[Tensor, Tensor]:
    """Cosines and sines of position * base^(-2i/head_size).

    The two halves of a head are rotated against each other, as in Llama and Qwen.

    Args:
        positions: [time], or [batch, 1, time] where they differ from row to row.
        head_size: Size of a head.
        base: Of the frequencies.

    Returns:
        Two float32 tensors of the shape of the positions and [head_size].
    """
    exponents = torch.arange(0, head_size, 2, device=positions.device, dtype=torch.float32) / head_size
    angles = positions.float().unsqueeze(-1) * base**-exponents
    angles = torch.cat((angles, angles), dim=-1)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, angles: tuple[Tensor, Tensor]) -> Tensor:
    """Turn queries or keys [batch, heads, time, head_size] by their positions' angles; same dtype out."""
    cosines, sines = angles
    first, second = x.float().chunk(2, dim=-1)
    return (x.float() * cosines + torch.cat((-second, first), dim=-1) * sines).to(x.dtype)
