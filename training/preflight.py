"""Everything about a training that can be known to be wrong before it starts; needs no DeepSpeed and no accelerator."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from training.artifact import file_sha256, fingerprint
from training.loader import check_same_vocabulary
from training.models import parameter_count
from training.plan import FLOAT_BYTES, WEIGHT_BYTES, optimizer_bytes
from training.run_settings import RunSettings, TrainingSettings
from training.samples import PACKING, earlier_runs, training_samples
from training.settings import SettingsError
from training.shards import RemoteFolder, ShardError, Shards, is_remote, open_shards, verify_once

CACHE, CHECKPOINTS, VERIFIED = "shards", "checkpoints", ".verified-shards"


def check_run(settings: RunSettings, *, ranks: int) -> tuple[TrainingSettings, list[Shards]]:
    """Open the data and check that this training can be done with it on that many ranks.

    Local shards are read as a whole where nobody has verified them yet, by one of the processes that check at once.

    Returns:
        The settings with the vocabulary's size filled in, and the shards in the order of ``settings.data``.

    Raises:
        SettingsError, ShardError: Naming the folder or key that is wrong.
    """
    training, sources = open_data(settings)
    for phase in training.phases:
        training.gradient_accumulation(phase.batch or 0, ranks)
    output = Path(settings.output)
    output.mkdir(parents=True, exist_ok=True)
    # Before anything is made of their indexes.
    _check_files(settings, sources, output)
    training_samples(
        training,
        sources,
        [source.weight for source in settings.data],
        vocabulary=Path(settings.vocabulary),
        plans=output / PACKING,
        earlier=earlier_runs(settings),
    )
    check_disk(output, training)
    return training, sources


def open_data(settings: RunSettings) -> tuple[TrainingSettings, list[Shards]]:
    """Open the shards and check everything about them before anything is computed.

    Returns:
        The settings with the vocabulary's size filled in, and the shards in the order of ``settings.data``.

    Raises:
        SettingsError, ShardError: Naming the folder or key that is wrong.
    """
    vocabulary = Path(settings.vocabulary) / "tokenizer.json"
    if not vocabulary.is_file():
        raise SettingsError(f"'vocabulary': there is no {vocabulary}")
    cache = Path(settings.cache) if settings.cache else Path(settings.output) / CACHE
    limit = int(settings.cache_gigabytes * 1e9)
    sources = [
        open_shards(
            RemoteFolder(source.folder, cache, limit_bytes=limit) if is_remote(source.folder) else Path(source.folder),
            vocabulary_hash=file_sha256(vocabulary),
        )
        for source in settings.data
    ]
    check_same_vocabulary(sources)
    if not any(source.validation.document_count for source in sources):
        raise ShardError(
            "no source has a validation document; add documents, split files into smaller ones ('documents' in the "
            "catalogue), or give token_shards a larger 'validation_share'"
        )
    size = sources[0].vocabulary_size
    model = settings.training.model
    if model.vocabulary_size not in (0, size):
        raise SettingsError(f"'model.vocabulary_size' = {model.vocabulary_size}, but the shards have {size}; write 0")
    filled = model.model_copy(update={"vocabulary_size": size})
    return settings.training.model_copy(update={"model": filled}), sources


def _check_files(settings: RunSettings, sources: list[Shards], output: Path) -> None:
    """Verify local files, which is remembered for all runs beside this one, and read an index of each split."""
    beside = os.access(output.parent, os.W_OK) and not output.is_mount()
    memory = (output.parent if beside else output) / VERIFIED
    for entry, source in zip(settings.data, sources, strict=True):
        if settings.verify_data and not is_remote(entry.folder):
            verify_once(source, memory)
        for split in (source.train, source.validation):
            if split.token_count:
                split.spans(0, 1)


def run_fingerprint(settings: RunSettings, sources: list[Shards]) -> str:
    """What must be the same for a checkpoint to be gone on from: what is computed, not how it is spread or reported."""
    what = settings.training.model_dump(
        mode="json",
        exclude={
            "parallel": {
                "zero_stage",
                "micro_batch",
                "sequence_ranks",
                "tensor_ranks",
                "compile",
                "activation_checkpointing",
                "offload_optimizer",
            },
            "log_every": True,
            "inspect_every": True,
            "patience": True,
            "keep_best": True,
            "profile": True,
            "watchdog": True,
            "validate_every": True,
            "validation_documents": True,
            "checkpoint_every": True,
            "keep_checkpoints": True,
            "keep_every": True,
            "verify_every": True,
        },
    )
    data = [
        [source.dump, source.vocabulary_hash, entry.weight, [file.sha256 for file in source.train.files]]
        for source, entry in zip(sources, settings.data, strict=True)
    ]
    before = earlier_runs(settings)
    return fingerprint({"training": what, "data": data, "earlier": [run.model_dump(mode="json") for run in before]})


def checkpoint_bytes(settings: TrainingSettings) -> int:
    """About what a checkpoint takes: weights in bfloat16, masters, optimizer's states, average of weights."""
    per_parameter = WEIGHT_BYTES + FLOAT_BYTES + (FLOAT_BYTES if settings.averaging else 0)
    return per_parameter * parameter_count(settings.model) + optimizer_bytes(settings)


def check_disk(run: Path, settings: TrainingSettings) -> None:
    """Refuse to start when the checkpoints will not fit, of which some may be there.

    Raises:
        SettingsError: With the space needed and free.
    """
    kept = (
        settings.keep_checkpoints
        + settings.keep_best
        + 1
        + (settings.steps // settings.keep_every if settings.keep_every else 0)
    )
    there = sum(path.stat().st_size for path in (run / CHECKPOINTS).rglob("*") if path.is_file())
    needed = checkpoint_bytes(settings) * kept - there
    free = shutil.disk_usage(run).free
    if needed > free:
        raise SettingsError(
            f"checkpoints need about {needed / 1e9:.1f} GB and the disk of {run} has {free / 1e9:.1f} GB free; "
            "free some, lower 'keep_checkpoints', or name another 'output'"
        )
