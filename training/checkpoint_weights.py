"""The weights of a checkpoint as one process reads them, whatever ranks and ZeRO stage have written it."""

from __future__ import annotations

from pathlib import Path

import torch
from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint
from torch import Tensor

from training.averaging import read_average
from training.checkpoint import Checkpoint, CheckpointError
from training.models import build_model
from training.parameter_states import PLAIN, WEIGHT, plain_weights, sliced_states
from training.run_settings import TrainingSettings
from training.snapshot import DamagedFileError, load_data, only_data
from training.tensor_parallel import joined


def checkpoint_weights(
    folder: Path, checkpoint: Checkpoint, settings: TrainingSettings, *, averaged: bool
) -> dict[str, Tensor]:
    """The weights of a checkpoint, or their average, float32 on the CPU.

    Args:
        folder: Of the checkpoint.
        checkpoint: Its record.
        settings: Of the training, with the vocabulary's size.
        averaged: Whether it is the average.

    Raises:
        CheckpointError: If they are not all there, or a file holds more than data.
    """
    with torch.device("meta"):
        module = build_model(settings.model)
    shapes = {name: value.shape for name, value in module.named_parameters()}
    try:
        if averaged:
            return read_average(folder, shapes, tensor_ranks=checkpoint.tensor_ranks)
        if checkpoint.zero_stage and checkpoint.tensor_ranks > 1:
            parts = checkpoint.tensor_ranks
            states = sliced_states(folder, shapes, ranks=checkpoint.ranks, parts=parts)
            weights = {name: state[WEIGHT] for name, state in states}
        elif checkpoint.zero_stage:
            with only_data(folder):
                weights = get_fp32_state_dict_from_zero_checkpoint(str(folder.parent), tag=folder.name)
        else:
            contents = [load_data(folder / PLAIN.format(part=part)) for part in range(checkpoint.tensor_ranks)]
            plain = [plain_weights(content, module, settings.model, settings.optimizer) for content in contents]
            weights = {name: joined(name, [part[name] for part in plain]) for name in plain[0]}
    except DamagedFileError as error:
        raise CheckpointError(str(error)) from error
    missing = sorted(shapes.keys() - weights.keys())
    if missing:
        raise CheckpointError(f"{folder} lacks the weights {', '.join(missing[:3])}")
    return {name: weights[name].float().reshape(shape) for name, shape in shapes.items()}
