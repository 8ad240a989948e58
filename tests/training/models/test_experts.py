from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

from tests.training.models.test_decoder import random_tokens
from tests.training.models.test_families import family_model
from training.export import load_model
from training.exports import ExportError
from training.layer_statistics import activations
from training.models import LanguageModel, ModelSettings, build_model, parameter_count
from training.models.decoder import FeedForward
from training.models.experts import Experts, route
from training.models.recomputation import Recomputation
from training.optimizer_settings import OptimizerSettings
from training.optimizers import parameter_groups

SETTINGS = ModelSettings(vocabulary_size=9, width=8, heads=2, feed_forward_width=12, experts=5, experts_per_token=2)


def experts(**changes: Any) -> Experts:
    torch.manual_seed(0)
    settings = SETTINGS.model_copy(update=changes)
    return Experts(settings, lambda: FeedForward(settings))


def balances(model: LanguageModel, tokens: Tensor, targets: Tensor, **options: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Objective and nats of a model, and the balance of each of its layers."""
    found: list[Tensor] = []
    hooks = [
        module.register_forward_hook(lambda _, inputs, output: found.append(output[1]))
        for module in model.modules()
        if isinstance(module, Experts)
    ]
    objective, nats = model(tokens, targets, **options)
    for hook in hooks:
        hook.remove()
    return objective, nats, torch.stack(found)


@pytest.mark.parametrize("chosen", [1, 2, 5])
def test_each_token_goes_to_its_experts_one_by_one(chosen: int) -> None:
    layer = experts(experts_per_token=chosen)
    x = torch.randn(2, 7, 8)
    expected = torch.zeros_like(x)
    for row in range(2):
        for place in range(7):
            token = x[row, place]
            shares = F.softmax(layer.router(token), -1)
            best = shares.topk(chosen).indices.tolist()
            total = sum(shares[number] for number in best)
            for number in best:
                expected[row, place] += layer.experts[number](token) * shares[number] / total
    torch.testing.assert_close(layer(x)[0], expected, rtol=1e-4, atol=1e-6)


def test_a_token_does_not_feel_its_neighbours() -> None:
    layer = experts()
    x = torch.randn(1, 40, 8)
    order = torch.randperm(40)
    mixed, _ = layer(x)
    torch.testing.assert_close(layer(x[:, order])[0], mixed[:, order])
    torch.testing.assert_close(layer(x[:, :1])[0], mixed[:, :1])


def test_balance_by_hand() -> None:
    scores = torch.randn(30, 5)
    routes = route(scores, 2)
    probabilities = F.softmax(scores, -1)
    choices = probabilities.topk(2).indices.flatten().tolist()
    assert routes.counts.tolist() == [choices.count(number) for number in range(5)]
    shares = torch.tensor([choices.count(number) / 60 for number in range(5)])
    assert float(routes.balance) == pytest.approx(float(5 * (shares * probabilities.mean(0)).sum()), rel=1e-5)


def test_balance_is_one_when_even_and_the_number_of_experts_when_one_gets_all() -> None:
    assert float(route(torch.zeros(40, 5), 1).balance) == pytest.approx(1.0)
    assert float(route(10 * torch.eye(5).repeat(8, 1), 1).balance) == pytest.approx(1.0)
    assert float(route(100 * torch.eye(5)[:1].repeat(40, 1), 1).balance) == pytest.approx(5.0)


def test_following_the_balance_spreads_the_tokens() -> None:
    layer = experts(experts=4)
    x = torch.randn(1, 400, 8) + 1.0
    with torch.no_grad():
        layer.router.weight[0] += 0.5
    before = route(layer.router(x[0]), 2).counts
    optimizer = torch.optim.SGD([layer.router.weight], lr=0.5)
    for _ in range(200):
        optimizer.zero_grad()
        layer(x)[1].backward()
        optimizer.step()
    after = route(layer.router(x[0]), 2).counts
    assert int(before.max()) > 380
    assert int(after.max()) < 260
    assert int(after.min()) > 140


def test_choices_and_balance_of_a_model_in_bfloat16_are_computed_in_float32() -> None:
    layer = experts().bfloat16()
    mixed, balance = layer(torch.randn(1, 9, 8, dtype=torch.bfloat16))
    assert (mixed.dtype, balance.dtype) == (torch.bfloat16, torch.float32)


def test_the_objective_has_the_balance_of_every_layer_whatever_the_targets_are_divided_by() -> None:
    model = family_model("experts").train()
    tokens = random_tokens(4, 17)
    objective, nats, each = balances(model, tokens[:, :-1], tokens[:, 1:])
    assert len(each) == 3
    assert float(objective) == pytest.approx(float(nats + 0.01 * each.sum()), rel=1e-5)
    divisor = torch.tensor(4 * 16 * 2.0)
    objective, half, again = balances(model, tokens[:, :-1], tokens[:, 1:], divisor=divisor)
    assert float(half) == pytest.approx(float(nats) / 2, rel=1e-5)
    assert float(objective) == pytest.approx(float(half + 0.01 * again.sum()), rel=1e-5)


def test_objectives_of_micro_batches_have_the_mean_of_their_balances() -> None:
    model = family_model("experts").train()
    parts = random_tokens(4, 17).split(2)
    targets = [part[:, 1:].clone() for part in parts]
    targets[1][:, 3:] = -100
    divisor = torch.tensor((2 * 16 + 2 * 3) / 2)
    found = [
        balances(model, part[:, :-1], wanted, divisor=divisor) for part, wanted in zip(parts, targets, strict=True)
    ]
    objective, nats, each = (torch.stack([values[place] for values in found]) for place in range(3))
    assert float(objective.mean()) == pytest.approx(float(nats.mean() + 0.01 * each.sum(-1).mean()), rel=1e-5)


def test_router_and_used_experts_learn() -> None:
    layer = experts()
    with torch.no_grad():
        layer.router.weight[3] = -100.0
    x = torch.rand(1, 20, 8)
    choices = set(route(layer.router(x[0]), 2).choices.flatten().tolist())
    mixed, _ = layer(x)
    mixed.square().sum().backward()
    assert layer.router.weight.grad is not None
    assert layer.router.weight.grad.abs().max() > 0
    assert 3 not in choices
    for number, expert in enumerate(layer.experts):
        for name, weight in expert.named_parameters():
            assert weight.grad is not None, name
            assert bool(weight.grad.abs().max() > 0) == (number in choices), (number, name)


@pytest.mark.parametrize("recomputation", ["selective", "full"])
def test_activation_checkpointing_gives_the_gradients_and_keeps_nothing_of_the_graph(
    recomputation: Recomputation,
) -> None:
    plain = family_model("experts").train()
    again = build_model(plain.settings, recomputation=recomputation).train()
    again.load_state_dict(plain.state_dict())
    tokens = random_tokens(4, 17)
    for model in (plain, again):
        objective, _ = model(tokens[:, :-1], tokens[:, 1:])
        objective.backward()
    for (name, one), other in zip(plain.named_parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, msg=name)
    holders = [
        module
        for module in again.modules()
        if any(isinstance(value, Tensor) and value.grad_fn is not None for value in vars(module).values())
    ]
    assert holders == [again]


@pytest.mark.parametrize("chosen", [1, 3])
@pytest.mark.parametrize("tied", [False, True])
def test_a_qwen3_moe_of_others_is_read(tmp_path: Path, chosen: int, tied: bool) -> None:
    configuration = Qwen3MoeConfig(
        vocab_size=50,
        hidden_size=32,
        intermediate_size=99,
        moe_intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        num_experts=6,
        num_experts_per_tok=chosen,
        norm_topk_prob=True,
        max_position_embeddings=32,
        initializer_range=0.2,
        tie_word_embeddings=tied,
    )
    torch.manual_seed(0)
    peer = Qwen3MoeForCausalLM(configuration).eval()
    peer.save_pretrained(tmp_path)
    model = load_model(tmp_path)
    settings = model.settings
    assert (settings.experts, settings.experts_per_token, settings.feed_forward_width) == (6, chosen, 24)
    tokens = random_tokens(2, 16)
    with torch.no_grad():
        theirs = peer(tokens).logits
        assert theirs.std() > 0.1
        torch.testing.assert_close(model(tokens), theirs, rtol=0, atol=1e-4)
    content = json.loads((tmp_path / "config.json").read_text())
    for change, message in (
        ({"norm_topk_prob": False}, "norm_topk_prob is False"),
        ({"mlp_only_layers": [1]}, "mlp_only_layers is"),
    ):
        (tmp_path / "config.json").write_text(json.dumps(content | change))
        with pytest.raises(ExportError, match=message):
            load_model(tmp_path)
    del content["norm_topk_prob"]
    (tmp_path / "config.json").write_text(json.dumps(content))
    with pytest.raises(ExportError, match="norm_topk_prob is False"):
        load_model(tmp_path)


def test_first_weights_are_those_of_their_roles() -> None:
    def weights(name: str, **changes: Any) -> list[Tensor]:
        model = family_model("experts", width=64, feed_forward_width=256, experts=32, **changes)
        return [weight.detach() for key, weight in model.named_parameters() if key.endswith(f"{name}.weight")]

    assert all(not weight.any() for weight in weights("down", zero_output_projections=True))
    scaled = torch.stack(weights("down", depth_scaling=True))
    assert float(scaled.std()) == pytest.approx(0.2 / (2 * 3) ** 0.5, rel=0.02)
    for name, power in (("gate", 0.5), ("router", 1.0)):
        under_mup = torch.stack(weights(name, initialisation="mup", base_width=16))
        assert float(under_mup.std()) == pytest.approx(0.2 * 0.25**power, rel=0.03)


def test_muon_gets_the_matrices_of_single_experts() -> None:
    model = family_model("experts", experts=3)
    groups = parameter_groups(model, model.settings, OptimizerSettings(name="muon"))
    orthogonalised = {id(weight) for group in groups if group["use_muon"] for weight in group["params"]}
    matrices: list[nn.Parameter] = [
        weight for name, weight in model.named_parameters() if ".feed_forward.experts." in name
    ]
    assert len(matrices) == 3 * 3 * 3
    assert all(weight.dim() == 2 and id(weight) in orthogonalised for weight in matrices)


def test_an_expert_without_a_token_counts_as_dead() -> None:
    model = family_model("experts", experts=4, experts_per_token=2)
    with torch.no_grad():
        for block in model.blocks:
            # All scores are alike: the same two experts are taken for every token.
            block.feed_forward.router.weight.zero_()
    found = activations(model, random_tokens(1, 12))
    assert found["blocks.1"]["dead_share"] == pytest.approx(0.5, abs=0.01)


def test_only_the_chosen_experts_count_as_operations() -> None:
    few, many = (family_model("experts", experts=count, experts_per_token=2) for count in (2, 6))
    router = 3 * 32 * 4 * 6
    assert many.flops_per_token() - few.flops_per_token() == router
    assert many.parameter_count() - few.parameter_count() == 3 * 4 * (32 + 3 * 32 * 48)
    assert parameter_count(many.settings) == many.parameter_count()
