"""What a training will take, before anybody starts it: parameters, memory of an accelerator, operations, hours."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal

import psutil
import torch

from training.models import ModelSettings, parameter_count, training_flops_per_token
from training.models.loss import chunk_tokens
from training.models.settings import RECURRENT
from training.run_settings import TrainingSettings

ZeroStage = Literal[0, 1, 2, 3]
STAGES: tuple[ZeroStage, ...] = (0, 1, 2, 3)

# Rajbhandari et al. 2020 (arXiv:1910.02054), section 3.1: weights and gradients in 16 bits, and in float32 the master
# weights and the optimizer's states.
WEIGHT_BYTES, GRADIENT_BYTES = 2, 2
ACTIVATION_BYTES, FLOAT_BYTES, INDEX_BYTES = 2, 4, 8


@dataclass(frozen=True)
class Accelerator:
    """A processor by its data sheet.

    Attributes:
        name: As its maker calls it.
        memory: Bytes.
        flops: bfloat16 matrix operations a second with float32 sums, without sparsity.
    """

    name: str
    memory: int
    flops: float


ACCELERATORS: tuple[Accelerator, ...] = (
    Accelerator("RTX 3090", 24 << 30, 71e12),
    Accelerator("RTX 4090", 24 << 30, 165e12),
    Accelerator("L40S", 48 << 30, 362e12),
    Accelerator("A100 80GB", 80 << 30, 312e12),
    Accelerator("H100 SXM", 80 << 30, 989e12),
    Accelerator("H200", 141 << 30, 989e12),
    Accelerator("B200", 180 << 30, 2250e12),
)


def this_processor() -> Accelerator:
    """This machine's CPU, by the best of a few products of float32 matrices."""
    size, best = 1024, float("inf")
    left, right = torch.rand(size, size), torch.rand(size, size)
    for _ in range(8):
        begin = time.perf_counter()
        left @ right
        best = min(best, time.perf_counter() - begin)
    return Accelerator("this CPU", psutil.virtual_memory().total, 2 * size**3 / best)


@dataclass(frozen=True)
class Memory:
    """Bytes of one accelerator.

    Attributes:
        states: Weights, gradients, optimizer states and average of the weights that lie on it.
        gathered: Weights of the largest block and of the embedding, which stage 3 brings together while it computes.
        activations: What the forward pass keeps for the backward pass of one micro-batch.
        logits: Scores of one micro-batch over the vocabulary, with their gradient.
    """

    states: int
    gathered: int
    activations: int
    logits: int

    @property
    def total(self) -> int:
        """All of it; the allocator and the libraries take a few per cent more."""
        return self.states + self.gathered + self.activations + self.logits


def memory(settings: TrainingSettings, *, stage: ZeroStage, ranks: int, low_precision: bool = True) -> Memory:
    """Memory of an accelerator under a ZeRO stage.

    Args:
        settings: The model's ``vocabulary_size`` has to be set.
        stage: Of ZeRO.
        ranks: Accelerators.
        low_precision: In bfloat16 with float32 masters; otherwise all in float32, of which only ZeRO keeps masters.
    """
    parallel = settings.parallel
    model = settings.model if parallel.tensor_ranks == 1 else settings.model.part(parallel.tensor_ranks)
    parameters = parameter_count(model)
    ranks = max(1, ranks // parallel.tensor_ranks)
    wider = 1 if low_precision else 2
    weights = wider * WEIGHT_BYTES * parameters // (ranks if stage == 3 else 1)
    gradients = wider * GRADIENT_BYTES * parameters // (ranks if stage >= 2 else 1)
    masters = FLOAT_BYTES * parameters if low_precision or stage else 0
    states = optimizer_bytes(settings.model_copy(update={"model": model}))
    optimizer = (masters + states) // (ranks if stage >= 1 else 1)
    if parallel.offload_optimizer and stage:
        optimizer = 0
    average = FLOAT_BYTES * parameters // ranks if settings.averaging else 0
    gathered = 0
    if stage == 3 and ranks > 1:
        gathered = wider * WEIGHT_BYTES * (_in_blocks(model) // model.layers + model.vocabulary_size * model.width)
    tokens = parallel.micro_batch * model.context // parallel.sequence_ranks
    kept = model.layers * block_activation_bytes(model)
    if parallel.activation_checkpointing != "none" and model.architecture not in RECURRENT:
        # One block at a time is computed again, and has all of its own for a moment.
        kept = model.layers * ACTIVATION_BYTES * model.width + block_activation_bytes(model)
        if parallel.activation_checkpointing == "selective":
            kept += model.layers * product_bytes(model)
    return Memory(
        states=weights + gradients + optimizer + average,
        gathered=gathered,
        activations=wider * tokens * kept,
        logits=logit_bytes(model, tokens, wider * ACTIVATION_BYTES),
    )


def optimizer_bytes(settings: TrainingSettings) -> int:
    """Bytes of the optimizer's states over all ranks, in float32, without master weights.

    Two numbers a parameter for Adam; one for Lion, for SGD with momentum, and in the blocks under Muon, where the
    second ones of a few vectors are not counted.
    """
    parameters, optimizer = parameter_count(settings.model), settings.optimizer
    numbers = {
        "lion": parameters,
        "sgd": parameters if optimizer.beta1 else 0,
        "muon": 2 * parameters - _in_blocks(settings.model),
    }
    return FLOAT_BYTES * numbers.get(optimizer.name, 2 * parameters)


def _in_blocks(model: ModelSettings) -> int:
    """Parameters without those of embedding and output layer."""
    return parameter_count(model) - model.vocabulary_size * model.width * (1 if model.tied_embedding else 2)


def logit_bytes(model: ModelSettings, tokens: int, number: int) -> int:
    """Of ``training.models.loss``: one chunk's logits, and the gradient of the output layer.

    Args:
        model: The shape.
        tokens: Of a micro-batch.
        number: Bytes of an activation.
    """
    chunk = min(tokens, chunk_tokens(model.vocabulary_size))
    # The logits and their gradient, and in float32 their copy and its logarithms.
    logits = chunk * model.vocabulary_size * (2 * number + 2 * FLOAT_BYTES)
    return logits + model.vocabulary_size * model.width * (FLOAT_BYTES + number)


def block_activation_bytes(model: ModelSettings) -> int:
    """Bytes that a block keeps of a token for its backward pass, in bfloat16, as it is written and not compiled.

    Counted from ``training.models.decoder``: a norm keeps its input in float32, its scaled input and its scale; a
    projection its input; a rotation nothing of its own; attention its queries, keys, values and result, and in float32
    a logarithm a head; SwiGLU the gate before and after its activation, the other factor, and their product. Of a
    mixture each chosen expert does, with its input and what it makes, its number, its place in the order and back, and
    its weight in both types; and in float32 the probabilities of all and the sum of the chosen weights.
    """
    if model.architecture in RECURRENT:
        # Four gates, each before and after its function, the state, and the cell.
        return ACTIVATION_BYTES * 10 * model.width
    queries, keys = model.heads * model.head_size, model.key_value_count * model.head_size
    norms = 2 * model.width * (FLOAT_BYTES + 2 * ACTIVATION_BYTES) + 2 * FLOAT_BYTES
    head_norms = (queries + keys) * (FLOAT_BYTES + ACTIVATION_BYTES) + (
        model.heads + model.key_value_count
    ) * FLOAT_BYTES
    attention = ACTIVATION_BYTES * (2 * queries + 2 * keys) + FLOAT_BYTES * model.heads
    feed_forward = 4 * ACTIVATION_BYTES * model.feed_forward_width
    if model.experts:
        routing = 3 * INDEX_BYTES + FLOAT_BYTES + ACTIVATION_BYTES
        feed_forward = model.experts_per_token * (feed_forward + 2 * ACTIVATION_BYTES * model.width + routing)
        feed_forward += FLOAT_BYTES * (model.experts + 1)
    return norms + head_norms + attention + feed_forward


def product_bytes(model: ModelSettings) -> int:
    """Bytes of a token that matrix products and attention of a block give, in bfloat16.

    That is queries, keys, values, attention's result with a logarithm a head in float32, and its projection; the gate,
    the other factor, and what the last product gives.
    """
    queries, keys = model.heads * model.head_size, model.key_value_count * model.head_size
    attention = 2 * queries + 2 * keys + model.width
    feed_forward = 2 * model.feed_forward_width + model.width
    if model.experts:
        feed_forward *= model.experts_per_token
    return ACTIVATION_BYTES * (attention + feed_forward) + FLOAT_BYTES * model.heads


def total_flops(settings: TrainingSettings) -> float:
    """Floating-point operations of the whole training; see ``training.models.training_flops_per_token``."""
    return float(settings.tokens) * training_flops_per_token(settings.model)


def hours(settings: TrainingSettings, accelerator: Accelerator, *, count: int, utilisation: float) -> float:
    """Expected hours on ``count`` accelerators.

    Args:
        settings: The training.
        accelerator: Which.
        count: How many.
        utilisation: Share of the data sheet's operations that a training reaches (MFU, Chowdhery et al.,
            arXiv:2204.02311, section 4.1).
    """
    return total_flops(settings) / (accelerator.flops * utilisation * count) / 3600
