from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from training.models import loss as loss_module
from training.models.loss import IGNORED, LossSettings, next_token_loss


def by_hand(hidden: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor, options: LossSettings) -> torch.Tensor:
    """The objective by torch's own cross-entropy, from whole logits."""
    logits = hidden @ weight.T
    smooth = F.cross_entropy(
        logits, targets, ignore_index=IGNORED, reduction="sum", label_smoothing=options.label_smoothing
    )
    return smooth + options.z_loss * logits.logsumexp(-1)[targets != IGNORED].square().sum()


@settings(max_examples=40, deadline=None)
@given(
    tokens=st.integers(1, 9),
    chunk=st.integers(1, 10),
    smoothing=st.sampled_from([0.0, 0.1]),
    z_loss=st.sampled_from([0.0, 0.3]),
    seed=st.integers(0, 9),
    scale=st.sampled_from([1.0, 0.25]),
)
def test_values_and_gradients_are_those_of_whole_logits(
    tokens: int, chunk: int, smoothing: float, z_loss: float, seed: int, scale: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(tokens, 6, generator=generator, dtype=torch.float32).requires_grad_()
    weight = torch.randn(11, 6, generator=generator).requires_grad_()
    targets = torch.randint(0, 11, (tokens,), generator=generator)
    targets[torch.rand(tokens, generator=generator) < 0.3] = IGNORED
    options = LossSettings(z_loss=z_loss, label_smoothing=smoothing)
    expected = by_hand(hidden, weight, targets, options)
    wanted = torch.autograd.grad(expected * scale, (hidden, weight))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loss_module, "_chunks", lambda count, _: [slice(i, i + chunk) for i in range(0, count, chunk)])
        objective, nats = next_token_loss(hidden, weight, targets, options)
        found = torch.autograd.grad(objective * scale, (hidden, weight))
        with torch.no_grad():
            evaluated = next_token_loss(hidden, weight, targets, options)
    torch.testing.assert_close(objective, expected)
    torch.testing.assert_close(nats, by_hand(hidden, weight, targets, LossSettings()))
    torch.testing.assert_close(evaluated, (objective, nats))
    assert not nats.requires_grad
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_targets_that_do_not_count_have_no_gradient() -> None:
    hidden = torch.randn(3, 4, requires_grad=True)
    weight = torch.randn(5, 4, requires_grad=True)
    objective, nats = next_token_loss(
        hidden, weight, torch.full((3,), IGNORED), LossSettings(z_loss=1.0, label_smoothing=0.2)
    )
    objective.backward()  # type: ignore[no-untyped-call]
    assert float(objective) == float(nats) == 0.0
    assert hidden.grad is not None
    assert not hidden.grad.any()


def test_the_memory_is_a_chunk_and_not_all_logits() -> None:
    """Two gigabytes of logits in a process that may take a quarter of that for them."""
    tokens, vocabulary = 1 << 13, 1 << 16
    assert len(loss_module._chunks(tokens, vocabulary)) == 8
    assert all(part.stop - part.start <= 1024 for part in loss_module._chunks(tokens, vocabulary))
    assert loss_module._chunks(5, 10) == [slice(0, 5)]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_is_summed_in_float32(dtype: torch.dtype) -> None:
    hidden = torch.randn(64, 8, dtype=dtype, requires_grad=True)
    weight = torch.randn(32, 8, dtype=dtype, requires_grad=True)
    targets = torch.randint(0, 32, (64,))
    objective, _ = next_token_loss(hidden, weight, targets, LossSettings())
    objective.backward()  # type: ignore[no-untyped-call]
    exact = by_hand(hidden.float(), weight.float(), targets, LossSettings())
    assert objective.dtype == torch.float32
    assert float(objective) == pytest.approx(float(exact), rel=0.01)
    assert weight.grad is not None
    assert weight.grad.dtype == dtype
