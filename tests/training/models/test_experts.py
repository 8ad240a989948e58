from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from tests.training.models.test_decoder import random_tokens
from tests.training.models.test_families import family_model
from training.models import ModelSettings
from training.models.decoder import FeedForward
from training.models.experts import Experts

SETTINGS = ModelSettings(vocabulary_size=9, width=8, heads=2, feed_forward_width=12, experts=5, experts_per_token=2)


def experts() -> Experts:
    torch.manual_seed(0)
    return Experts(SETTINGS, lambda: FeedForward(SETTINGS))


def test_each_token_goes_to_its_experts_one_by_one() -> None:
    layer = experts()
    x = torch.randn(2, 7, 8)
    expected = torch.zeros_like(x)
    for row in range(2):
        for place in range(7):
            token = x[row, place]
            shares = F.softmax(layer.router(token), -1)
            best = shares.topk(2).indices.tolist()
            total = sum(shares[number] for number in best)
            for number in best:
                expected[row, place] += layer.experts[number](token) * shares[number] / total
    torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-6)


def test_balance_is_one_when_even_and_grows_when_one_expert_gets_all() -> None:
    layer = experts()
    x = torch.randn(1, 200, 8)
    with torch.no_grad():
        layer.router.weight.zero_()
        layer(x)
        assert layer.balance is not None
        assert float(layer.balance) == pytest.approx(1.0)
        layer.router.weight[0] = 50 * x.mean((0, 1)) / x.mean((0, 1)).norm() ** 2
        layer(x + 10 * x.mean((0, 1)))
    assert float(layer.balance) > 1.5


def test_balance_by_hand() -> None:
    layer = experts()
    x = torch.randn(1, 30, 8)
    layer(x)
    probabilities = F.softmax(layer.router(x[0]), -1)
    choices = probabilities.topk(2).indices.flatten().tolist()
    shares = torch.tensor([choices.count(number) / 60 for number in range(5)])
    assert layer.balance is not None
    assert float(layer.balance) == pytest.approx(float(5 * (shares * probabilities.mean(0)).sum()), rel=1e-5)


def test_router_and_used_experts_learn_and_the_balance_is_part_of_the_objective() -> None:
    model = family_model("experts").train()
    tokens = random_tokens(4, 17)
    objective, nats = model(tokens[:, :-1], tokens[:, 1:])
    balances = torch.stack([block.feed_forward.balance for block in model.blocks])
    assert float(objective) == pytest.approx(float(nats + 0.01 * balances.mean()), rel=1e-5)
    objective.backward()
    for block in model.blocks:
        assert block.feed_forward.router.weight.grad.abs().max() > 0


def test_only_the_chosen_experts_count_as_operations() -> None:
    few, many = (family_model("experts", experts=count, experts_per_token=2) for count in (2, 6))
    router = 3 * 32 * 4 * 6
    assert many.flops_per_token() - few.flops_per_token() == router
    assert many.parameter_count() > few.parameter_count()
