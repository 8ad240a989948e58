from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tests.training.models.test_decoder import random_tokens
from tests.training.models.test_families import FAMILIES, family_model
from training.models import LanguageModel, build_model, documents_of
from training.models.recomputation import Recomputation
from training.models.settings import RECURRENT


class Counted(TorchDispatchMode):
    """Counts the operations within."""

    def __init__(self) -> None:
        super().__init__()
        self.count: Counter[str] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count[function.overloadpacket.__name__] += 1
        return function(*args, **(kwargs or {}))


def like(plain: LanguageModel, recomputation: Recomputation) -> LanguageModel:
    model = build_model(plain.settings, recomputation=recomputation).train()
    model.load_state_dict(plain.state_dict())
    return model


def backward(model: LanguageModel, tokens: torch.Tensor, *, documents: bool = False) -> Counter[str]:
    """Operations of a backward pass; gradients are left in the model."""
    inputs = tokens[:, :-1]
    torch.manual_seed(1)
    objective, _ = model(inputs, tokens[:, 1:], documents=documents_of(inputs, 0) if documents else None)
    with Counted() as counted:
        objective.backward()
    return counted.count


@pytest.mark.parametrize("family", [name for name in FAMILIES if FAMILIES[name]["architecture"] not in RECURRENT])
@pytest.mark.parametrize("documents", [False, True])
def test_gradients_are_the_same_whatever_is_computed_again(family: str, documents: bool) -> None:
    plain = family_model(family, dropout=0.2).train()
    tokens = random_tokens(3, 17)
    backward(plain, tokens, documents=documents)
    for recomputation in ("selective", "full"):
        model = like(plain, recomputation)
        backward(model, tokens, documents=documents)
        for (name, expected), found in zip(plain.named_parameters(), model.parameters(), strict=True):
            assert found.grad is not None
            torch.testing.assert_close(found.grad, expected.grad, msg=name)


def test_selective_computes_no_product_again_and_full_all() -> None:
    plain = family_model("qwen3").train()
    tokens = random_tokens(3, 17)
    counts = {kind: backward(like(plain, kind), tokens) for kind in ("none", "selective", "full")}
    layers = plain.settings.layers
    products = {kind: count["mm"] + count["addmm"] for kind, count in counts.items()}
    attention = {
        kind: sum(number for name, number in count.items() if "scaled_dot_product" in name and "backward" not in name)
        for kind, count in counts.items()
    }
    assert products["selective"] == products["none"]
    # Queries, keys, values and their result; gate, up and down, whose result nothing before it needs.
    assert products["full"] - products["none"] >= 6 * layers
    assert (attention["none"], attention["selective"], attention["full"]) == (0, 0, layers)
    assert counts["selective"]["silu"] == counts["full"]["silu"] == layers
    assert counts["none"]["silu"] == 0
