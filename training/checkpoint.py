"""Checkpoints: DeepSpeed's own files, and our record of what they are, written last.

Layout: ``checkpoints/step-0000000250/`` with DeepSpeed's files for every rank and ``checkpoint.json``: step, samples
seen, ranks, the run's fingerprint, and size and SHA-256 of each file. A folder without it, or with a file that does
not match it, is not resumed from. Sample order is a pure function of the step and training draws no other random
number, so step and weights are the whole state.
"""

from __future__ import annotations

import io
import json
import logging
import shutil
from argparse import Namespace
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import deepspeed.comm as dist

from training.artifact import FileEntry, file_sha256, write_atomically
from training.averaging import WeightAverage

RECORD = "checkpoint.json"
FOLDER = "checkpoints"
FORMAT = 1

log = logging.getLogger(__name__)


class CheckpointError(RuntimeError):
    """A checkpoint does not fit this run; the message names it and the remedy."""


@dataclass(frozen=True)
class Checkpoint:
    """The record of a complete checkpoint.

    Attributes:
        step: Optimizer steps done.
        samples: Samples seen.
        ranks: Ranks that wrote it.
        fingerprint: Of the settings and data of the run.
        files: What it is made of.
    """

    step: int
    samples: int
    ranks: int
    fingerprint: str
    files: tuple[FileEntry, ...]


def save_checkpoint(
    engine: Any,
    run: Path,
    *,
    step: int,
    samples: int,
    fingerprint: str,
    keep: int,
    best: int | None = None,
    average: WeightAverage | None = None,
) -> None:
    """Write a checkpoint by all ranks together; then remove all but the newest ``keep`` and that of step ``best``."""
    folder = run / FOLDER
    tag = _tag(step)
    first = dist.get_rank() == 0
    if first:
        # An unfinished one of a killed run.
        shutil.rmtree(folder / tag, ignore_errors=True)
    dist.barrier()
    engine.save_checkpoint(str(folder), tag=tag, save_latest=False)
    if average is not None:
        average.save(folder / tag)
    dist.barrier()
    if first:
        files = tuple(
            FileEntry(path.relative_to(folder / tag).as_posix(), path.stat().st_size, file_sha256(path))
            for path in sorted((folder / tag).rglob("*"))
            if path.is_file()
        )
        record = Checkpoint(step, samples, dist.get_world_size(), fingerprint, files)
        write_atomically(folder / tag / RECORD, json.dumps({"format": FORMAT} | asdict(record), indent=1))
        complete = [path.parent for path in sorted(folder.glob(f"step-*/{RECORD}"))]
        for old in complete[:-keep]:
            if best is not None and old.name == _tag(best):
                continue
            # The record goes first: what is left of a killed removal is no checkpoint.
            (old / RECORD).unlink()
            shutil.rmtree(old)
    dist.barrier()


def newest_checkpoint(run: Path) -> tuple[Path, Checkpoint] | None:
    """The newest checkpoint whose files are all as its record says; a damaged one is named in the log and left out."""
    for path in sorted((run / FOLDER).glob(f"step-*/{RECORD}"), reverse=True):
        try:
            return path.parent, _checked(path)
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("checkpoint %s is not used: %s", path.parent, error)
    return None


def open_checkpoint(run: Path, step: int) -> tuple[Path, Checkpoint]:
    """The checkpoint of a step.

    Raises:
        CheckpointError: If it is not there, or damaged.
    """
    folder = run / FOLDER / _tag(step)
    try:
        return folder, _checked(folder / RECORD)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{folder} cannot be used: {error}") from error


def _tag(step: int) -> str:
    return f"step-{step:010d}"


def _checked(path: Path) -> Checkpoint:
    """A record whose files are all as it says."""
    fields = json.loads(path.read_text(encoding="utf-8"))
    if fields.pop("format") != FORMAT:
        raise ValueError("unknown format")
    fields["files"] = tuple(FileEntry(**entry) for entry in fields["files"])
    checkpoint = Checkpoint(**fields)
    for entry in checkpoint.files:
        file = path.parent / entry.path
        if not file.is_file() or file.stat().st_size != entry.size or file_sha256(file) != entry.sha256:
            raise ValueError(f"{entry.path} is missing or damaged")
    return checkpoint


def needs_conversion(checkpoint: Checkpoint, *, ranks: int, zero_stage: int) -> bool:
    """Whether DeepSpeed's files, sharded for the ranks that wrote them, have to be joined for another number."""
    return checkpoint.ranks != ranks and zero_stage > 0


def load_checkpoint(
    engine: Any,
    folder: Path,
    checkpoint: Checkpoint,
    *,
    fingerprint: str,
    convert: bool,
    average: WeightAverage | None = None,
) -> None:
    """Put weights and optimizer states back, by all ranks together.

    Args:
        engine: DeepSpeed's engine; built with ``load_universal`` where the files are to be converted.
        folder: Of the checkpoint.
        checkpoint: Its record, against which its files were checked: they are DeepSpeed's own, which hold pickles.
        fingerprint: Of this run.
        convert: See ``needs_conversion``.
        average: Filled from the checkpoint, too.

    Raises:
        CheckpointError: If it is of another run, or DeepSpeed cannot load it.
    """
    if checkpoint.fingerprint != fingerprint:
        raise CheckpointError(
            f"{folder} belongs to a training with other settings or data; name another 'output' folder for this one"
        )
    converted = folder.with_name(f".{folder.name}.universal")
    if convert and dist.get_rank() == 0:
        shutil.rmtree(converted, ignore_errors=True)
        _convert(folder, converted)
    dist.barrier()
    if average is not None:
        average.load(folder)
    place = converted if convert else folder
    loaded, _ = engine.load_checkpoint(str(place.parent), tag=place.name)
    dist.barrier()
    if convert and dist.get_rank() == 0:
        shutil.rmtree(converted, ignore_errors=True)
    if loaded is None:
        raise CheckpointError(f"DeepSpeed could not load {folder}; remove it to go on from an earlier one")


def _convert(folder: Path, out: Path) -> None:
    """DeepSpeed's universal form: a folder for each parameter, for any number of ranks (arXiv:2406.18820)."""
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
    with redirect_stdout(io.StringIO()):
        ds_to_universal.main(arguments)
    (folder.parent / "latest_universal").unlink(missing_ok=True)
