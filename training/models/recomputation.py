"""What a block has computed is kept for the backward pass, or computed again in it (Chen et al., arXiv:1604.06174)."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint, create_selective_checkpoint_contexts

Recomputation = Literal["none", "selective", "full"]

_ATEN = torch.ops.aten
_KEPT = [
    _ATEN.mm.default,
    _ATEN.addmm.default,
    _ATEN.bmm.default,
    _ATEN.baddbmm.default,
    _ATEN._grouped_mm.default,
    _ATEN._scaled_mm_v2.default,
    _ATEN._scaled_dot_product_flash_attention.default,
    _ATEN._scaled_dot_product_flash_attention_for_cpu.default,
    _ATEN._scaled_dot_product_efficient_attention.default,
    _ATEN._scaled_dot_product_cudnn_attention.default,
    torch.ops.higher_order.flex_attention,
]
"""Products of matrices and attention: nearly all of the operations, and a part of the memory (arXiv:2205.05198)."""


def run_block(block: nn.Module, *inputs: Any, recomputation: Recomputation) -> Any:
    """Run a block in training.

    Args:
        block: Deterministic but for its dropout, whose random numbers come again.
        inputs: Of it.
        recomputation: ``none`` keeps all; ``full`` keeps the inputs and computes all again; ``selective`` keeps also
            what matrix products and attention give, and computes the rest again, which costs few operations.

    Returns:
        What the block returns.
    """
    if recomputation == "none":
        return block(*inputs)
    if recomputation == "full":
        return checkpoint(block, *inputs, use_reentrant=False)
    contexts = partial(create_selective_checkpoint_contexts, _KEPT)
    return checkpoint(block, *inputs, use_reentrant=False, context_fn=contexts)
