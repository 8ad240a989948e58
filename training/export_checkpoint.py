"""A model of any checkpoint: ``python -m training.export_checkpoint CHECKPOINT OUT``.

The checkpoint's folder lies in that of its run, whose record says what model it is and where its vocabulary was.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

from safetensors import SafetensorError

from training.checkpoint import FOLDER, CheckpointError, open_checkpoint, step_of
from training.checkpoint_weights import checkpoint_weights
from training.export import export_model
from training.preflight import open_data
from training.samples import started_run
from training.settings import SettingsError
from training.shards import ShardError


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
    settings = started_run(run)
    training, sources = open_data(settings)
    weights = checkpoint_weights(folder, checkpoint, training, averaged=bool(training.averaging))
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
