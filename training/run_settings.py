"""What a training run is: the file that ``training/train.py --config`` reads, in YAML or JSON."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import Field, field_validator, model_validator

from training.models import LossSettings, ModelSettings
from training.models.recomputation import Recomputation
from training.models.settings import RECURRENT
from training.optimizer_settings import OptimizerSettings
from training.profiling import ProfileSettings
from training.rows import SampleSettings
from training.settings import Settings, SettingsError
from training.shards import is_remote
from training.spikes import SpikeSettings
from training.watchdog import WatchdogSettings

FLOAT8_MULTIPLE = 16
"""What both sizes of a matrix have to be multiples of to be multiplied in float8."""


class ScheduleSettings(Settings):
    """The learning rate over the steps, as a share of its peak."""

    shape: Literal["linear", "cosine", "warmup_stable_decay", "inverse_square_root", "step", "constant"] = Field(
        "cosine", description="How it falls after the warm-up."
    )
    warmup: float = Field(
        0.02,
        ge=0,
        le=1,
        description="Share of the steps in which it rises linearly from 0; it also warms up again a model that another "
        "training has made (continue_from).",
    )
    decay: float = Field(0.2, ge=0, le=1, description="warmup_stable_decay: share of the steps in which it falls.")
    final: float = Field(
        0.1,
        ge=0,
        le=1,
        description="What is left of the peak at the last step; inverse_square_root: the least; step: of each step.",
    )
    drops: list[float] = Field(
        default_factory=lambda: [0.5, 0.75], description="step: shares of the steps after which it falls by 'final'."
    )

    @field_validator("drops")
    @classmethod
    def _are_shares(cls, drops: list[float]) -> list[float]:
        if not all(0 <= drop <= 1 for drop in drops):
            raise ValueError("write shares of the steps, from 0 to 1")
        return drops


class ParallelSettings(Settings):
    """How DeepSpeed spreads the work."""

    zero_stage: Literal[0, 1, 2, 3] = Field(
        1, description="What ZeRO shards over the ranks: 1 optimizer states, 2 gradients too, 3 weights too."
    )
    offload_optimizer: bool = Field(False, description="Keep optimizer states in the host's memory (stages 1 to 3).")
    micro_batch: int = Field(16, ge=1, description="Sequences a rank works on at once.")
    sequence_ranks: int = Field(
        1,
        ge=1,
        description="Ranks that share a sequence, each with a stretch of its tokens and, in attention, a part of the "
        "heads (Ulysses): for contexts whose activations do not fit on one.",
    )
    tensor_ranks: int = Field(
        1,
        ge=1,
        description="Ranks that share every layer, each with a part of the heads and of the feed-forward's width: for "
        "models whose blocks do not fit on one. They read the same sequences.",
    )
    activation_checkpointing: Recomputation = Field(
        "none",
        description="What blocks compute again in the backward pass instead of keeping it: full is all, selective all "
        "but products of matrices and attention.",
    )
    precision: Literal["auto", "float32", "bfloat16", "float8"] = Field(
        "auto",
        description="Of weights and activations; masters and optimizer states are float32. auto is bfloat16 where the "
        "hardware multiplies it; float8 is bfloat16 with the products of the blocks' matrices in float8.",
    )
    compile: bool = Field(True, description="torch.compile: slower to start, faster to run; needs a C++ compiler.")
    deepspeed: dict[str, Any] = Field(
        default_factory=dict,
        description="DeepSpeed's own configuration, as its JSON has it, for what no setting here says; 'auto' is what "
        "the settings say, and a key that says otherwise is an error.",
    )

    @model_validator(mode="after")
    def _offloaded_states_are_sharded(self) -> Self:
        if self.offload_optimizer and not self.zero_stage:
            raise ValueError("'offload_optimizer' is for 'zero_stage' 1 to 3, not 0: change one of them")
        return self

    @property
    def sharing_ranks(self) -> int:
        """Ranks, one after the other, that work on the same sequences."""
        return self.sequence_ranks * self.tensor_ranks


class PhaseSettings(Settings):
    """A stretch of steps with a mixture, batch and context of its own."""

    steps: int = Field(ge=1, description="Steps of this phase; those of all phases add up to the training's.")
    batch: int | None = Field(None, ge=1, description="Sequences of a step; null is the training's batch.")
    context: int | None = Field(
        None, ge=1, description="Tokens of a sequence, a divisor of the model's context; null is the model's context."
    )
    weights: dict[str, float] | None = Field(
        None, description="Shares of the samples by dump, 0 or left out is not read; null is the training's mixture."
    )


class TrainingSettings(Settings):
    """Everything about a training but where its data lies."""

    model: ModelSettings = Field(default_factory=ModelSettings, description="Shape of the model.")
    optimizer: OptimizerSettings = Field(default_factory=OptimizerSettings, description="The optimizer.")
    schedule: ScheduleSettings = Field(default_factory=ScheduleSettings, description="The learning rate over time.")
    loss: LossSettings = Field(default_factory=LossSettings, description="What is minimised.")
    samples: SampleSettings = Field(
        default_factory=SampleSettings, description="What samples are made of, and their order."
    )
    curriculum: list[PhaseSettings] = Field(
        default_factory=list, description="Phases, one after the other; none is one phase of all steps."
    )
    parallel: ParallelSettings = Field(default_factory=ParallelSettings, description="DeepSpeed's part.")
    averaging: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Export an exponential moving average of the weights of which this share stays in a step, such as "
        "0.999; 0 exports the weights themselves.",
    )
    steps: int = Field(1000, ge=1, description="Optimizer steps.")
    batch: int = Field(16, ge=1, description="Sequences of a step, over all ranks and micro-batches.")
    seed: int = Field(0, ge=0, description="Of initial weights and sample order.")
    log_every: int = Field(10, ge=1, description="Steps between two records of loss and speed.")
    validate_every: int = Field(250, ge=1, description="Steps between two validations; the last step has one too.")
    validation_documents: int = Field(
        64, ge=1, description="Documents of each source in a validation while training; the evaluation takes all."
    )
    inspect_every: int = Field(
        250, ge=0, description="Steps between two records of norms, attention and dead units by layer; 0 is never."
    )
    patience: int = Field(
        0, ge=0, description="Stop after this many validations without a better one; 0 never stops early."
    )
    keep_best: bool = Field(
        False,
        description="Export the weights of the best validation instead of the last; a checkpoint keeps them.",
    )
    watchdog: WatchdogSettings = Field(
        default_factory=WatchdogSettings, description="When a training counts as hanging and is ended."
    )
    profile: ProfileSettings = Field(default_factory=ProfileSettings, description="Where the time of steps goes.")
    checkpoint_every: int = Field(250, ge=1, description="Steps between two checkpoints.")
    keep_checkpoints: int = Field(2, ge=1, description="Newest checkpoints kept.")
    keep_every: int = Field(
        0, ge=0, description="Checkpoints of a multiple of this step are kept for good; 0 keeps none so."
    )
    spikes: SpikeSettings = Field(
        default_factory=SpikeSettings, description="When a step is left out because of its loss or gradient."
    )
    verify_every: int = Field(
        250, ge=0, description="Steps between two comparisons of the weights of all ranks, bit by bit; 0 is never."
    )

    @model_validator(mode="after")
    def _phases_are_possible(self) -> Self:
        if self.curriculum and sum(phase.steps for phase in self.curriculum) != self.steps:
            total = sum(phase.steps for phase in self.curriculum)
            raise ValueError(f"'steps' is {self.steps}, but the phases of 'curriculum' have {total} together")
        for number, phase in enumerate(self.curriculum):
            if phase.context is not None and self.model.context % phase.context:
                raise ValueError(
                    f"'curriculum.{number}.context' = {phase.context} is no divisor of the model's {self.model.context}"
                )
            if phase.context not in (None, self.model.context) and self.samples.packing == "best_fit":
                raise ValueError(
                    f"'curriculum.{number}.context': rows packed by best_fit have one length; leave it out or cut"
                )
        return self

    @model_validator(mode="after")
    def _sequences_can_be_shared(self) -> Self:
        ranks = self.parallel.sequence_ranks
        if ranks == 1:
            return self
        if self.model.architecture in RECURRENT:
            raise ValueError(
                f"'parallel.sequence_ranks' = {ranks}: {self.model.architecture} reads one token after the other, so "
                "ranks cannot share a sequence; write 1"
            )
        for name, value in (("heads", self.model.heads), ("key_value_heads", self.model.key_value_count)):
            if value % ranks:
                raise ValueError(f"'parallel.sequence_ranks' = {ranks} is no divisor of 'model.{name}' = {value}")
        for phase in self.phases:
            if (phase.context or 0) % ranks:
                raise ValueError(f"'parallel.sequence_ranks' = {ranks} is no divisor of the context {phase.context}")
        return self

    @model_validator(mode="after")
    def _layers_can_be_shared(self) -> Self:
        ranks = self.parallel.tensor_ranks
        if ranks == 1:
            return self
        model, parallel = self.model, self.parallel
        refused = {
            f"'model.architecture' is {model.architecture}, which has no heads to share; write 1": (
                model.architecture in RECURRENT
            ),
            "each rank would drop other values; write 'model.dropout' = 0": model.dropout,
            "muon needs whole matrices; write another 'optimizer.name'": self.optimizer.name == "muon",
            "ranks share sequences or layers; write 'parallel.sequence_ranks' = 1": parallel.sequence_ranks > 1,
            "stage 3 has parts of all weights already; write 'parallel.zero_stage' = 1 or 2": parallel.zero_stage == 3,
            "without ZeRO, DeepSpeed measures gradients in bfloat16 wrong where parameters are parts; write "
            "'parallel.zero_stage' = 1, or 'parallel.precision' = 'float32'": (
                parallel.zero_stage == 0 and parallel.precision != "float32"
            ),
        }
        for why, so in refused.items():
            if so:
                raise ValueError(f"'parallel.tensor_ranks' = {ranks}: {why}")
        sizes = {
            "heads": model.heads,
            "key_value_heads": model.key_value_count,
            "feed_forward_width": model.feed_forward_width,
        }
        for name, value in sizes.items():
            if value % ranks:
                raise ValueError(f"'parallel.tensor_ranks' = {ranks} is no divisor of 'model.{name}' = {value}")
        return self

    @model_validator(mode="after")
    def _float8_can_multiply(self) -> Self:
        if self.parallel.precision != "float8":
            return self
        model, ranks = self.model, self.parallel.tensor_ranks
        if model.architecture in RECURRENT:
            raise ValueError(
                f"'parallel.precision' = 'float8' is for Transformers; with {model.architecture} write 'bfloat16'"
            )
        sizes = {
            "width": model.width,
            "heads times head_width": model.heads * model.head_size // ranks,
            "key_value_heads times head_width": model.key_value_count * model.head_size // ranks,
            # Experts stay in bfloat16.
            "feed_forward_width": 0 if model.experts else model.feed_forward_width // ranks,
        }
        for name, value in sizes.items():
            if value % FLOAT8_MULTIPLE:
                raise ValueError(
                    f"'parallel.precision' = 'float8' multiplies in sixteens, but model.{name} gives a rank {value}: "
                    "change it or write 'bfloat16'"
                )
        return self

    @property
    def phases(self) -> list[PhaseSettings]:
        """The phases with every batch and context filled in; one where there is no curriculum."""
        return [
            phase.model_copy(
                update={"batch": phase.batch or self.batch, "context": phase.context or self.model.context}
            )
            for phase in self.curriculum or [PhaseSettings(steps=self.steps)]
        ]

    @property
    def tokens(self) -> int:
        """Tokens that are trained on in all."""
        return self.tokens_after(self.steps)

    def tokens_after(self, steps: int) -> int:
        """Tokens that are trained on in the first steps."""
        tokens, left = 0, steps
        for phase in self.phases:
            taken = min(left, phase.steps)
            tokens += taken * (phase.batch or 0) * (phase.context or 0)
            left -= taken
        return tokens

    def gradient_accumulation(self, batch: int, ranks: int) -> int:
        """Micro-batches of a step of that many sequences on each of that many ranks.

        Raises:
            SettingsError: If the batch cannot be divided so.
        """
        sharing = self.parallel.sharing_ranks
        if ranks % sharing:
            name = "sequence_ranks" if self.parallel.sequence_ranks > 1 else "tensor_ranks"
            raise SettingsError(f"{ranks} rank(s) are no multiple of 'parallel.{name}' = {sharing}: change one of them")
        ranks //= sharing
        at_once = self.parallel.micro_batch * ranks
        if batch % at_once:
            raise SettingsError(
                f"batch {batch} is no multiple of micro_batch {self.parallel.micro_batch} times {ranks} "
                f"{'rank(s)' if sharing == 1 else f'groups of {sharing} ranks'} = {at_once}: change one of them"
            )
        return batch // at_once


class DataSource(Settings):
    """A dump's token shards and its share of the samples."""

    folder: str = Field(description="Folder of token shards, or a URI such as s3://bucket/shards.")
    weight: float = Field(1.0, gt=0, description="Share of the samples, relative to the other sources.")
    dump: str = Field("", description="Name of the dump; filled in in the record of a run.")
    sha256: str = Field("", description="Of the folder's shards.json; filled in in the record of a run.")


class RunSettings(Settings):
    """A training run: settings, data, and the folder it works in."""

    training: TrainingSettings = Field(default_factory=TrainingSettings, description="The training's settings.")
    data: list[DataSource] = Field(min_length=1, description="Token shards by source.")
    vocabulary: str = Field(description="Folder with the tokenizer.json that the shards were encoded with.")
    output: str = Field(description="Folder for checkpoints, metrics and the model; a run that is there is resumed.")
    cache: str | None = Field(
        None, description="Folder for shards that are fetched from object storage; null is inside 'output'."
    )
    cache_gigabytes: float = Field(
        100.0,
        gt=0,
        description="Most gigabytes of files in the cache; a removed one keeps its room on the disk until each rank "
        "that reads it asks for another.",
    )
    verify_data: bool = Field(
        True,
        description="Before the training, read all local shards that were not found intact before and compare them "
        "with their hashes, several files at a time; without it a damaged file may be trained on. Files from object "
        "storage are compared when they are fetched.",
    )
    continue_from: str | None = Field(
        None,
        description="Folder of a finished run: start from its model, and go on in its sample order, so that nothing it "
        "has seen in its last pass comes again before the rest; sources may be added.",
    )

    @model_validator(mode="after")
    def _sources_differ(self) -> Self:
        folders = [
            source.folder if is_remote(source.folder) else os.path.normpath(source.folder) for source in self.data
        ]
        if len(set(folders)) != len(folders):
            raise ValueError("'data' names a folder twice: raise its weight instead")
        if any(map(is_remote, folders)) and not self.training.samples.shuffle_chunk_tokens:
            raise ValueError(
                "'data' is on object storage, where 'training.samples.shuffle_chunk_tokens' = 0 would fetch a file for "
                "every sequence: set it to the tokens of a shard, and 'cache_gigabytes' to hold twenty shards"
            )
        return self


def load_run_settings(path: Path, *, deepspeed_file: Path | None = None) -> RunSettings:
    """Read a run file; relative folders in it start from the file's own.

    Args:
        path: YAML or JSON.
        deepspeed_file: JSON with DeepSpeed's own configuration, in place of ``training.parallel.deepspeed``.

    Raises:
        SettingsError: If a file cannot be read or a key is wrong.
    """
    content = _mapping(path, "write the keys training, data, vocabulary and output")
    settings = RunSettings.parse(content, origin=str(path))
    if deepspeed_file is not None:
        own = _mapping(deepspeed_file, "write DeepSpeed's configuration as an object")
        parallel = settings.training.parallel.model_copy(update={"deepspeed": own})
        training = settings.training.model_copy(update={"parallel": parallel})
        settings = settings.model_copy(update={"training": training})
    here = path.absolute().parent
    return settings.model_copy(
        update={
            "data": [
                source if is_remote(source.folder) else source.model_copy(update={"folder": str(here / source.folder)})
                for source in settings.data
            ],
            "cache": settings.cache and str(here / settings.cache),
            "vocabulary": str(here / settings.vocabulary),
            "output": str(here / settings.output),
            "continue_from": settings.continue_from and str(here / settings.continue_from),
        }
    )


def _mapping(path: Path, remedy: str) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"{path} cannot be read as YAML or JSON: {error}") from None
    if not isinstance(content, dict):
        raise SettingsError(f"{path}: {remedy}")
    return content
