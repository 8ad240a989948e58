"""Products in float8 against those in the type of their values, and trainings with them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from trainer_runs import Launch, finish, losses

from tests.training.models.test_families import family_model
from training.export import load_model
from training.float8 import Float8Linear, check_float8, float8_product, use_float8
from training.settings import SettingsError

Configure = Callable[..., Path]


def with_gradients(product: Callable[[Tensor, Tensor], Tensor], x: Tensor, weight: Tensor) -> list[Tensor]:
    x, weight = x.clone().requires_grad_(), weight.clone().requires_grad_()
    made = product(x, weight)
    made.float().square().sum().backward()
    return [part.float() for part in (made.detach(), x.grad, weight.grad) if part is not None]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("shape", [(2, 16, 64), (3, 13, 64), (1, 64)])
def test_a_product_and_its_gradients_are_near_those_of_a_linear_layer(
    dtype: torch.dtype, shape: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    # A scale for each tensor: neither large nor small values are lost.
    x, weight = 1e3 * torch.randn(shape, dtype=dtype), 1e-3 * torch.randn(48, 64, dtype=dtype)
    found, expected = with_gradients(float8_product, x, weight), with_gradients(F.linear, x, weight)
    # e4m3 has 3 bits behind the point, e5m2 2: mean relative errors of 2 and 4 % of each factor.
    for part, right, error in zip(found, expected, (0.05, 0.08, 0.08), strict=True):
        assert part.shape == right.shape
        assert 0 < (part - right).norm() / right.norm() < error


def test_values_that_float8_has_give_exact_products() -> None:
    torch.manual_seed(0)
    # Of few bits, with the formats' largest as a tensor's largest.
    x, weight = (torch.randint(-8, 9, (32, 16)) * 1.0 for _ in range(2))
    x[0, 0] = weight[0, 0] = 448
    found, expected = with_gradients(float8_product, x, weight), with_gradients(F.linear, x, weight)
    assert torch.equal(found[0], expected[0])


def test_products_of_zeros_are_zeros() -> None:
    weight = torch.randn(32, 16)
    assert not float8_product(torch.zeros(16, 16), weight).any()
    assert not any(part.isnan().any() for part in with_gradients(float8_product, torch.zeros(5, 16), weight))


def test_it_is_one_graph_when_compiled() -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(4, 16, 32), torch.randn(48, 32)
    compiled = torch.compile(float8_product, fullgraph=True)
    for part, right in zip(with_gradients(compiled, x, weight), with_gradients(float8_product, x, weight), strict=True):
        torch.testing.assert_close(part, right)


@pytest.mark.parametrize("family", ["qwen3", "gpt2", "transformer"])
def test_blocks_multiply_in_float8_in_training_alone(family: str) -> None:
    plain, model = family_model(family), family_model(family)
    use_float8(model)
    assert list(model.state_dict()) == list(plain.state_dict())
    changed = {name for name, layer in model.named_modules() if isinstance(layer, Float8Linear)}
    assert changed == {
        name for name, layer in plain.named_modules() if isinstance(layer, nn.Linear) and name.startswith("blocks.")
    }
    tokens = torch.arange(32).view(2, 16) % 40
    assert not torch.equal(model.train().hidden(tokens), plain.train().hidden(tokens))
    assert torch.equal(model.eval().hidden(tokens), plain.eval().hidden(tokens))


def test_experts_and_their_router_stay_as_they_are() -> None:
    model = family_model("experts", layers=1)
    use_float8(model)
    changed = {name for name, layer in model.named_modules() if isinstance(layer, Float8Linear)}
    assert changed == {f"blocks.0.attention.{name}" for name in ("query", "key", "value", "output")}


def test_a_gpu_without_float8_is_refused_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (8, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "an old one")
    check_float8(torch.device("cpu"))
    with pytest.raises(SettingsError, match=r"'parallel.precision' = 'float8', but an old one .* write 'bfloat16'"):
        check_float8(torch.device("cuda", 0))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    check_float8(torch.device("cuda", 0))
    with pytest.raises(SettingsError, match="but xpu does not multiply it"):
        check_float8(torch.device("xpu", 0))
    # A gfx90a has this number, and no float8.
    monkeypatch.setattr(torch.version, "hip", "7.0")
    with pytest.raises(SettingsError, match="but an old one does not multiply it"):
        check_float8(torch.device("cuda", 0))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ranks", "parallel"),
    [
        (1, {"zero_stage": 1}),
        (1, {"zero_stage": 1, "compile": True, "activation_checkpointing": "selective"}),
        (2, {"zero_stage": 3, "activation_checkpointing": "full"}),
        (2, {"zero_stage": 1, "tensor_ranks": 2}),
    ],
)
def test_a_training_learns_what_it_learns_in_bfloat16(
    tmp_path: Path, configure: Configure, launch: Launch, ranks: int, parallel: dict[str, Any]
) -> None:
    model = {"width": 32, "layers": 2, "heads": 4, "feed_forward_width": 64, "context": 32}
    for precision in ("bfloat16", "float8"):
        finish(launch(configure(precision, parallel=parallel | {"precision": precision}, model=model), ranks=ranks))
    found, expected = losses(tmp_path / "float8"), losses(tmp_path / "bfloat16")
    assert found != expected
    assert found == pytest.approx(expected, rel=0.03)
    assert json.loads((tmp_path / "float8" / "report.json").read_text())["precision"] == "float8"
    load_model(tmp_path / "float8" / "model")
