from __future__ import annotations

import pytest
import torch

from training.models import ModelSettings, build_model, parameter_count
from training.optimizer_settings import OptimizerSettings
from training.plan import (
    ACCELERATORS,
    Accelerator,
    ZeroStage,
    block_activation_bytes,
    hours,
    logit_bytes,
    memory,
    this_processor,
    total_flops,
)
from training.run_settings import ParallelSettings, TrainingSettings
from training.tensor_parallel import parted_dimension

SHAPES = [
    {"width": 32, "heads": 4, "key_value_heads": 4, "feed_forward_width": 96},
    {"width": 64, "heads": 4, "key_value_heads": 2, "feed_forward_width": 96},
    {"width": 32, "heads": 8, "key_value_heads": 8, "head_width": 16, "feed_forward_width": 64},
    {"width": 64, "heads": 4, "key_value_heads": 2, "feed_forward_width": 96, "experts": 4},
    {"width": 32, "heads": 4, "key_value_heads": 4, "feed_forward_width": 96, "experts": 4, "experts_per_token": 4},
]


def settings(**parallel: object) -> TrainingSettings:
    return TrainingSettings(
        model=ModelSettings(vocabulary_size=1000, width=32, layers=2, feed_forward_width=96, context=16),
        parallel=ParallelSettings.parse({"micro_batch": 4, **parallel}, origin="test"),
        steps=10,
        batch=8,
    )


def kept_bytes(layers: int, shape: dict[str, int]) -> int:
    """What autograd really keeps in a forward pass in bfloat16, weights left out."""
    torch.manual_seed(0)
    model = build_model(ModelSettings(vocabulary_size=16, layers=layers, context=32, **shape)).to(torch.bfloat16)
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        stream = model.hidden(torch.randint(16, (2, 32)))
    assert stream.requires_grad
    return sum(kept.values())


@pytest.mark.parametrize("shape", SHAPES)
def test_activations_are_what_autograd_keeps(shape: dict[str, int]) -> None:
    tokens, more_layers = 2 * 32, 2
    measured = (kept_bytes(3, shape) - kept_bytes(1, shape)) / more_layers
    # Of all tokens together: a float32 share of each expert, for the balance.
    shares = 4 * shape.get("experts", 0)
    assert tokens * block_activation_bytes(ModelSettings(vocabulary_size=16, **shape)) + shares == measured


def test_states_are_sharded_as_the_stage_says() -> None:
    parameters = parameter_count(settings().model)
    states = [memory(settings(), stage=stage, ranks=4).states for stage in (0, 1, 2, 3)]
    assert states == [16 * parameters, 7 * parameters, int(5.5 * parameters), 4 * parameters]
    assert [memory(settings(), stage=stage, ranks=1).states for stage in (0, 1, 2, 3)] == [16 * parameters] * 4
    assert memory(settings(offload_optimizer=True), stage=1, ranks=1).states == 4 * parameters


def test_states_are_those_of_the_optimizer_and_the_average() -> None:
    def states(stage: ZeroStage, *, low_precision: bool = True, averaging: float = 0.0, **optimizer: object) -> int:
        changed = OptimizerSettings.parse(optimizer, origin="test")
        changes = {"optimizer": changed, "averaging": averaging}
        return memory(settings().model_copy(update=changes), stage=stage, ranks=4, low_precision=low_precision).states

    parameters = parameter_count(settings().model)
    assert states(0, name="adam") == states(0) == 16 * parameters
    assert states(0, name="lion") == states(0, name="sgd") == 12 * parameters
    assert states(0, name="sgd", beta1=0.0) == 8 * parameters
    assert states(3, name="lion") == 3 * parameters
    assert states(0, name="lion", low_precision=False) == 12 * parameters
    # Embedding and output layer keep the two of Adam.
    assert states(0, name="muon") == 12 * parameters + 4 * 2 * 1000 * settings().model.width
    assert states(0, averaging=0.9) == 17 * parameters
    assert states(3, averaging=0.9) == 5 * parameters


def test_checkpointing_trades_memory_and_only_stage_3_gathers() -> None:
    plain = settings()
    kept = memory(plain, stage=1, ranks=2)
    selective, full = (
        memory(settings(activation_checkpointing=kind), stage=1, ranks=2).activations for kind in ("selective", "full")
    )
    assert full < selective < kept.activations
    assert kept.gathered == 0
    assert memory(plain, stage=3, ranks=2).gathered > 0
    assert kept.logits == 4 * 16 * 1000 * (2 * 2 + 2 * 4) + 1000 * settings().model.width * (4 + 2)
    assert kept.total == kept.states + kept.activations + kept.logits


def test_the_logits_of_a_large_vocabulary_are_never_all_in_memory() -> None:
    model = ModelSettings(vocabulary_size=1 << 17, width=8, heads=1)
    assert logit_bytes(model, 1 << 20, 2) == logit_bytes(model, 512, 2)
    assert logit_bytes(model, 256, 2) < logit_bytes(model, 512, 2)


def test_float32_has_masters_of_its_own_only_under_zero() -> None:
    """As measured by ``benchmarks.zero_memory`` with float32: 16 and 20 bytes a parameter on one rank."""
    parameters = parameter_count(settings().model)
    assert memory(settings(), stage=0, ranks=1, low_precision=False).states == 16 * parameters
    for stage in (1, 2, 3):
        assert memory(settings(), stage=stage, ranks=1, low_precision=False).states == 20 * parameters
    assert memory(settings(), stage=1, ranks=4, low_precision=False).states == 11 * parameters


def test_hours_by_hand() -> None:
    slow = Accelerator("slow", 1 << 30, 1e6)
    assert hours(settings(), slow, count=2, utilisation=0.5) == pytest.approx(total_flops(settings()) / 1e6 / 3600)


def test_this_processor_is_measured() -> None:
    here = this_processor()
    assert 1e8 < here.flops < max(accelerator.flops for accelerator in ACCELERATORS)
    assert here.memory > 1 << 28


@pytest.mark.parametrize("kind", ["decoder", "experts", "gpt2", "transformer"])
@pytest.mark.parametrize("tied", [False, True])
def test_a_part_of_layers_has_a_part_of_their_parameters(kind: str, tied: bool) -> None:
    model = ModelSettings.model_validate(
        {
            "vocabulary_size": 50,
            "width": 32,
            "heads": 4,
            "feed_forward_width": 96,
            "tied_embedding": tied,
            **({"experts": 2} if kind == "experts" else {"architecture": kind}),
        }
    )
    with torch.device("meta"):
        names = [(name, value.shape) for name, value in build_model(model).named_parameters()]
        parts = dict(build_model(model.part(2)).named_parameters())
    for name, shape in names:
        expected, dimension = list(shape), parted_dimension(name)
        if dimension is not None:
            expected[dimension] //= 2
        assert list(parts[name].shape) == expected, name


def test_ranks_that_share_layers_have_less_of_them_each() -> None:
    alone = memory(settings(), stage=1, ranks=2)
    shared = memory(settings(tensor_ranks=2), stage=1, ranks=2)
    assert shared.activations < alone.activations
    assert shared.logits == alone.logits
    whole = parameter_count(settings().model)
    part = parameter_count(settings().model.part(2))
    assert shared.states == (2 + 2 + 12) * part
    assert alone.states == (2 + 2 + 6) * whole
