"""Products of matrices in float8, for GPUs that multiply it twice as fast as bfloat16 (Hopper, Ada and newer).

As in Micikevicius et al. 2022 (arXiv:2209.05433): what goes forward in e4m3, gradients in e5m2, whose range is wider.
Each tensor is scaled by its own largest value to the largest of the format, anew at every product, so that no scales
are part of a checkpoint. Weights, sums and everything between products stay as they are, in bfloat16 with float32
masters. Blocks are meant: the embedding is no product, the output layer and the router of experts lose by it more than
they gain, and of a mixture's experts each has few tokens.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.functional import ScalingType, scaled_mm

from training.models.experts import Experts
from training.run_settings import FLOAT8_MULTIPLE
from training.settings import SettingsError

FORWARD, BACKWARD = torch.float8_e4m3fn, torch.float8_e5m2
LEAST_CAPABILITY = (8, 9)
"""Of a GPU that multiplies float8."""
_LEAST = 1e-12


class Float8Linear(nn.Linear):
    """A linear layer whose products in training are in float8."""

    def forward(self, x: Tensor) -> Tensor:
        """[..., inputs] to [..., outputs], in its type."""
        # What is validated is the model that will be exported, which others compute without float8.
        product = float8_product(x, self.weight) if self.training else F.linear(x, self.weight)
        return product if self.bias is None else product + self.bias


def use_float8(model: nn.Module) -> None:
    """Let the linear layers of a model's blocks multiply in float8; parameters and their names stay."""
    left = {layer for experts in model.modules() if isinstance(experts, Experts) for layer in experts.modules()}
    for name, layer in model.named_modules():
        if name.startswith("blocks.") and type(layer) is nn.Linear and layer not in left:
            layer.__class__ = Float8Linear


def check_float8(device: torch.device) -> None:
    """Refuse an accelerator that has no products in float8; processors compute them slowly, for trying it out.

    Raises:
        SettingsError: With its name.
    """
    if device.type == "cpu":
        return
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    # AMD's are "cuda", too, and have other formats.
    of_nvidia = device.type == "cuda" and not torch.version.hip
    if not of_nvidia or torch.cuda.get_device_capability(device) < LEAST_CAPABILITY:
        raise SettingsError(
            f"'parallel.precision' = 'float8', but {name} does not multiply it (NVIDIA's Ada, Hopper and newer do): "
            "write 'bfloat16'"
        )


def float8_product(x: Tensor, weight: Tensor) -> Tensor:
    """The product of values with a layer's weights, like ``torch.nn.functional.linear``.

    Args:
        x: [..., inputs], of one row or more.
        weight: [outputs, inputs]; both sizes multiples of 16.

    Returns:
        [..., outputs], in the type of ``x``.
    """
    # Products want the first matrix one row after the other.
    rows = x.reshape(-1, x.shape[-1]).contiguous()
    # In the gradient of the weights rows are summed over, so that their number has to be a multiple, too.
    padding = -len(rows) % FLOAT8_MULTIPLE
    padded = F.pad(rows, (0, 0, 0, padding)) if padding else rows
    product: Tensor = _Product.apply(padded, weight)  # type: ignore[no-untyped-call]
    if padding:
        product = product[: len(rows)]
    return product.view(*x.shape[:-1], len(weight))


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        values, scale = _float8(x, FORWARD)
        weights, weight_scale = _float8(weight, FORWARD)
        # What was cast is kept for the backward pass; weights are there anyway, and are cast again.
        ctx.save_for_backward(values, scale, weight)
        return _multiply(values, scale, weights.t(), weight_scale, x.dtype, forward=True)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        values, scale, weight = ctx.saved_tensors
        gradients, gradient_scale = _float8(gradient.contiguous(), BACKWARD)
        weights, weight_scale = _float8(weight, FORWARD)
        of_values = _multiply(gradients, gradient_scale, _by_columns(weights), weight_scale, gradient.dtype)
        by_outputs = gradients.t().contiguous()
        of_weights = _multiply(by_outputs, gradient_scale, _by_columns(values), scale, weight.dtype)
        return of_values, of_weights


def _float8(values: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The values in a type of float8, and the float32 scalar that gives them back."""
    most = torch.finfo(dtype).max
    scale = values.abs().amax().float().clamp(min=_LEAST) / most
    return (values.float() / scale).clamp(-most, most).to(dtype), scale


def _by_columns(matrix: Tensor) -> Tensor:
    """The same matrix, one column after the other in memory, as float8 products want their second one."""
    return matrix.t().contiguous().t()


def _multiply(
    left: Tensor, left_scale: Tensor, right: Tensor, right_scale: Tensor, dtype: torch.dtype, *, forward: bool = False
) -> Tensor:
    # Short sums of the tensor cores, added up in float32 only now and then, do for outputs but not for gradients.
    return scaled_mm(
        left,
        right,
        scale_a=left_scale,
        scale_recipe_a=ScalingType.TensorWise,
        scale_b=right_scale,
        scale_recipe_b=ScalingType.TensorWise,
        output_dtype=dtype,
        use_fast_accum=forward,
    )
