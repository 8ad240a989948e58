"""A model of any checkpoint: ``python -m training.export_checkpoint CHECKPOINT OUT``.

The checkpoint's folder lies in that of its run, whose record says what model it is and where its vocabulary was.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint
from safetensors import SafetensorError
from torch import Tensor

from training.averaging import read_average
from training.checkpoint import FOLDER, Checkpoint, CheckpointError, open_checkpoint, step_of
from training.export import export_model
from training.models import build_model
from training.parameter_states import PLAIN
from training.preflight import open_data
from training.resumption import make_universal
from training.run_settings import RunSettings
from training.samples import finished_run
from training.settings import SettingsError
from training.shards import ShardError
from training.snapshot import DamagedFileError, load_data, only_data
from training.tensor_parallel import joined


def checkpoint_weights(folder: Path, checkpoint: Checkpoint, settings: RunSettings) -> dict[str, Tensor]:
    """The weights of a checkpoint, float32 on the CPU: their average where the run exports that.

    Raises:
        CheckpointError: If they are not all there, or a file holds more than data.
    """
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in build_model(settings.training.model).named_parameters()}
    try:
        if settings.training.averaging:
            return read_average(folder, shapes, tensor_ranks=checkpoint.tensor_ranks)
        if checkpoint.zero_stage and checkpoint.tensor_ranks > 1:
            with TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as made:
                universal = Path(made) / "universal"
                make_universal(folder, universal)
                weights = {name: load_data(universal / "zero" / name / "fp32.pt")["param"] for name in shapes}
        elif checkpoint.zero_stage:
            with only_data(folder):
                weights = get_fp32_state_dict_from_zero_checkpoint(str(folder.parent), tag=folder.name)
        else:
            parts = [load_data(folder / PLAIN.format(part=part))["module"] for part in range(checkpoint.tensor_ranks)]
            weights = {name: joined(name, [part[name] for part in parts]) for name in parts[0]}
    except DamagedFileError as error:
        raise CheckpointError(str(error)) from error
    missing = sorted(shapes.keys() - weights.keys())
    if missing:
        raise CheckpointError(f"{folder} lacks the weights {', '.join(missing[:3])}")
    return {name: weights[name].float().reshape(shape) for name, shape in shapes.items()}


def export_checkpoint(folder: Path, out: Path) -> None:
    """Write the model of a checkpoint into a folder that transformers opens.

    Args:
        folder: Of the checkpoint, in its run's folder.
        out: A new or empty folder.

    Raises:
        CheckpointError, SettingsError, ShardError: If the checkpoint, the run or its vocabulary is not there, or
            ``out`` has something in it or cannot be written.
    """
    folder = folder.absolute()
    try:
        step = step_of(folder)
    except ValueError:
        step = -1
    if step < 0 or folder.parent.name != FOLDER:
        raise CheckpointError(f"{folder} is no checkpoint; name a folder such as RUN/checkpoints/step-0000000250")
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise SettingsError(f"{out} is there already; name a new folder")
    run = folder.parents[1]
    folder, checkpoint = open_checkpoint(run, step)
    settings = finished_run(run)
    training, sources = open_data(settings)
    weights = checkpoint_weights(folder, checkpoint, settings.model_copy(update={"training": training}))
    partial = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        export_model(
            weights,
            training.model,
            vocabulary=Path(settings.vocabulary),
            end_of_document=sources[0].end_of_document,
            folder=partial,
        )
        partial.replace(out)
    # safetensors has errors of its own for a full disk.
    except (OSError, SafetensorError) as error:
        raise SettingsError(f"{out} cannot be written: {error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def main() -> int:
    """Parse the command line and export."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="a folder such as checkpoints/step-0000000250")
    parser.add_argument("out", type=Path, help="folder of the model")
    options = parser.parse_args()
    os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
    try:
        export_checkpoint(options.checkpoint, options.out.absolute())
    except (CheckpointError, SettingsError, ShardError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
