"""Going on from a checkpoint: with the ranks and the stage that wrote it, or with others.

DeepSpeed reads its own files where nothing has changed. Under stages 1 and 2 its universal form lies between numbers
of ranks: a folder for each parameter (Lian et al., arXiv:2406.18820), with the two states of Adam and no others. Stage
0 does not know that form, which in float32 is plain PyTorch; and stage 3 reads it wrong (0.19: all groups of parameters
get the first one's weight decay, and share one count of steps). From and to them, with other optimizers, and where
layers are or were shared by ranks, weights and states are put over one parameter at a time.
"""

from __future__ import annotations

import io
import shutil
from argparse import Namespace
from collections.abc import Iterator, Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, Literal

import deepspeed
import deepspeed.comm as dist
import torch
from deepspeed.utils import safe_set_full_fp32_param, safe_set_full_optimizer_state
from torch import Tensor, nn

from training.averaging import WeightAverage
from training.checkpoint import Checkpoint, CheckpointError
from training.full_weights import masters_without_zero
from training.models import ModelSettings
from training.optimizer_settings import OptimizerSettings
from training.parameter_states import (
    STEP,
    WEIGHT,
    ParameterState,
    partitioned_states,
    plain_states,
    sliced_states,
    whole_shapes,
)
from training.run_settings import TrainingSettings
from training.snapshot import DamagedFileError, only_data
from training.tensor_parallel import LayerShare

Conversion = Literal["none", "universal", "by parameter"]
"""Between a checkpoint and the engine that goes on from it: DeepSpeed's universal form, or all is put over by us."""
_UNIVERSAL = ("adamw", "adam")
"""Optimizers whose states that form has."""


def conversion(checkpoint: Checkpoint, settings: TrainingSettings, *, ranks: int) -> Conversion:
    """What is needed to go on so with that many ranks."""
    parallel = settings.parallel
    zero_stage = parallel.zero_stage
    same = checkpoint.zero_stage == zero_stage and checkpoint.tensor_ranks == parallel.tensor_ranks
    if same and (zero_stage == 0 or checkpoint.ranks == ranks):
        return "none"
    whole = checkpoint.tensor_ranks == parallel.tensor_ranks == 1
    universal = whole and {checkpoint.zero_stage, zero_stage} <= {1, 2} and settings.optimizer.name in _UNIVERSAL
    return "universal" if universal else "by parameter"


def load_checkpoint(
    engine: Any,
    folder: Path,
    checkpoint: Checkpoint,
    *,
    fingerprint: str,
    needed: Conversion,
    model: ModelSettings,
    optimizer: OptimizerSettings,
    average: WeightAverage | None = None,
    share: LayerShare | None = None,
) -> None:
    """Put weights and optimizer states back, by all ranks together.

    Args:
        engine: DeepSpeed's engine; built for the universal form where that is needed.
        folder: Of the checkpoint.
        checkpoint: Its record.
        fingerprint: Of this run.
        needed: See ``conversion``.
        model, optimizer: Of this run.
        average: Filled from the checkpoint, too.
        share: Of this rank, where ranks share layers.

    Raises:
        CheckpointError: If it is of another run, or DeepSpeed cannot load it, or something in it is no data.
    """
    if checkpoint.fingerprint != fingerprint:
        raise CheckpointError(
            f"{folder} belongs to a training with other settings or data; name another 'output' folder for this one"
        )
    if average is not None:
        average.load(folder, tensor_ranks=checkpoint.tensor_ranks)
    try:
        if needed == "by parameter":
            _put_over(engine, folder, checkpoint, model, optimizer, share)
        elif needed == "universal":
            with _Universal(folder) as universal:
                _read(engine, universal)
        else:
            _read(engine, folder)
    except DamagedFileError as error:
        raise CheckpointError(str(error)) from error
    dist.barrier()


def _read(engine: Any, folder: Path) -> None:
    loaded, _ = engine.load_checkpoint(str(folder.parent), tag=folder.name)
    if loaded is None:
        raise CheckpointError(f"DeepSpeed could not load {folder}; remove it to go on from an earlier one")


class _Universal:
    """The universal form of a checkpoint, made by the first rank, while the context is open."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made = folder.with_name(f".{folder.name}.universal")

    def __enter__(self) -> Path:
        if dist.get_rank() == 0:
            shutil.rmtree(self._made, ignore_errors=True)
            make_universal(self._folder, self._made)
        dist.barrier()
        return self._made

    def __exit__(self, *_: object) -> None:
        dist.barrier()
        if dist.get_rank() == 0:
            shutil.rmtree(self._made, ignore_errors=True)


def make_universal(folder: Path, out: Path) -> None:
    """Put the universal form of a checkpoint of stages 1 and 2 into a new folder: ``zero/NAME/fp32.pt`` and others."""
    from deepspeed.checkpoint import ds_to_universal

    arguments = Namespace(
        input_folder=str(folder),
        output_folder=str(out),
        num_extract_workers=1,
        num_merge_workers=1,
        keep_temp_folder=False,
        strict=True,
        inject_missing_state=True,
    )
    with only_data(folder), redirect_stdout(io.StringIO()):
        ds_to_universal.main(arguments)
    (folder.parent / "latest_universal").unlink(missing_ok=True)


def _put_over(
    engine: Any,
    folder: Path,
    checkpoint: Checkpoint,
    model: ModelSettings,
    optimizer: OptimizerSettings,
    share: LayerShare | None,
) -> None:
    """Parameter by parameter."""
    if optimizer.name == "muon":
        raise CheckpointError(
            f"{folder} was written by {checkpoint.ranks} rank(s) under ZeRO stage {checkpoint.zero_stage}; with muon a "
            f"training goes on with no others: start as many, with 'parallel.zero_stage' = {checkpoint.zero_stage}"
        )
    with torch.no_grad():
        if checkpoint.zero_stage == 0:
            parts = checkpoint.tensor_ranks
            _put_all(engine, plain_states(folder, engine.module, model, optimizer, parts=parts), share)
        elif checkpoint.zero_stage == 3:
            _put_all(engine, partitioned_states(folder, engine.module, ranks=checkpoint.ranks), share)
        else:
            parameters = dict(engine.module.named_parameters())
            states = sliced_states(folder, whole_shapes(model), ranks=checkpoint.ranks, parts=checkpoint.tensor_ranks)
            _put_all(engine, ((parameters[name], state) for name, state in states), share)


def _put_all(engine: Any, states: Iterator[ParameterState], share: LayerShare | None) -> None:
    optimizer = engine.optimizer
    masters = masters_without_zero(optimizer)
    names = {id(parameter): name for name, parameter in engine.module.named_parameters()}
    for number, (parameter, whole) in enumerate(states):
        values = whole if share is None else _part(names[id(parameter)], whole, share)
        if isinstance(optimizer, torch.optim.Optimizer):
            _put_into_plain(parameter, optimizer.state[parameter], values)
        elif masters:
            master = masters[id(parameter)]
            _put_into_plain(master, optimizer.optimizer.state[master], values)
            parameter.copy_(master)
        else:
            if not number:
                _make_states(optimizer, values)
            _put_into_zero(engine, parameter, values)


def _part(name: str, whole: Mapping[str, Any], share: LayerShare) -> dict[str, Any]:
    """What of a parameter's states this rank has, where ranks share layers."""
    return {key: value if key == STEP else share.part(name, value) for key, value in whole.items()}


def _make_states(zero: Any, like: Mapping[str, Tensor]) -> None:
    """States of the flat masters, which DeepSpeed makes in the first step otherwise; empty but for the steps done."""
    of_stage_3 = hasattr(zero, "fp32_partitioned_groups_flat")
    for flat in zero.fp32_partitioned_groups_flat if of_stage_3 else zero.single_partition_of_fp32_groups:
        zero.optimizer.state[flat] = {
            key: _as_step(value, flat.device) if key == STEP else torch.zeros_like(flat)
            for key, value in like.items()
            if key != WEIGHT
        }
    if not of_stage_3:
        zero._lazy_init_hp_params_optimizer_state()


def _as_step(value: Any, device: torch.device) -> Tensor:
    """A count of steps, in a tensor of its own."""
    return torch.as_tensor(value, dtype=torch.float32).to(device, copy=True)


def _put_into_zero(engine: Any, parameter: nn.Parameter, values: Mapping[str, Tensor]) -> None:
    for key, value in values.items():
        if key == WEIGHT:
            moved = value.float().to(engine.device)
            safe_set_full_fp32_param(parameter, moved)
            sharded = [parameter] if hasattr(parameter, "ds_id") else []
            with deepspeed.zero.GatheredParameters(sharded, modifier_rank=0, enabled=bool(sharded)):
                if not sharded or dist.get_rank() == 0:
                    parameter.data.copy_(moved.view_as(parameter))
        elif key != STEP:
            safe_set_full_optimizer_state(parameter, value.float().to(engine.device), key)


def _put_into_plain(parameter: nn.Parameter, state: dict[str, Tensor], values: Mapping[str, Tensor]) -> None:
    for key, value in values.items():
        if key == WEIGHT:
            parameter.copy_(value.view_as(parameter))
        elif key == STEP:
            state[key] = _as_step(value, torch.device("cpu"))
        else:
            state[key] = value.to(parameter.device, parameter.dtype, copy=True).view_as(parameter)
