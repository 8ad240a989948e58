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
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, Literal

import deepspeed.comm as dist
import torch

from training.averaging import WeightAverage
from training.checkpoint import Checkpoint, CheckpointError
from training.models import ModelSettings
from training.optimizer_settings import OptimizerSettings
from training.parameter_states import whole_states
from training.run_settings import TrainingSettings
from training.snapshot import DamagedFileError, only_data
from training.state_placement import put_all
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
    if settings.optimizer.name == "muon":
        # DeepSpeed keeps its momentum otherwise where states are offloaded, and would begin anew or fail.
        same = same and checkpoint.offload_optimizer == parallel.offload_optimizer
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
            with torch.no_grad():
                put_all(engine, whole_states(folder, checkpoint, engine.module, model, optimizer), share)
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
            _make_universal(self._folder, self._made)
        dist.barrier()
        return self._made

    def __exit__(self, *_: object) -> None:
        dist.barrier()
        if dist.get_rank() == 0:
            shutil.rmtree(self._made, ignore_errors=True)


def _make_universal(folder: Path, out: Path) -> None:
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
