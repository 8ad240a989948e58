"""From the settings of a training and its token shards to the reader of its samples."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from training.fill_in_the_middle import FillInTheMiddle
from training.loader import SampleReader
from training.mixture import MixedSource, check_epochs, mixture_shares
from training.models import ModelSettings
from training.packing import plan_packing
from training.permutation import SampleOrderError
from training.report import REPORT
from training.rows import CutRows, PackedRows
from training.run_settings import RunSettings, TrainingSettings
from training.sample_order import OrderedSource, Phase, SampleOrder, windows_asked
from training.settings import SettingsError, nearest
from training.shards import ShardError, Shards

RUN = "run.json"
PACKING = "packing"
_OF_LEARNING = {
    "dropout",
    "truncation",
    "expert_balance",
    "initialisation",
    "initial_std",
    "zero_output_projections",
    "depth_scaling",
    "previous_token_heads",
    "base_width",
}
"""What a model that goes on may have otherwise: how it learns and began, not what it computes."""
PREFIX, MIDDLE, SUFFIX = "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>"


def training_samples(
    settings: TrainingSettings,
    sources: Sequence[Shards],
    weights: Sequence[float],
    *,
    vocabulary: Path,
    plans: Path,
    earlier: Sequence[RunSettings] = (),
) -> SampleReader:
    """The reader of all samples of a training.

    Args:
        settings: The training's.
        sources: Token shards by source.
        weights: Of the sources.
        vocabulary: Folder of the tokenizer.json.
        plans: Folder for packing plans, which are made where they are missing.
        earlier: Runs that this one continues, the first one first; the order begins with theirs.

    Raises:
        ShardError: If a training split is too short for one row, or two sources are of one dump.
        SampleOrderError: If the mixture is not possible.
        SettingsError: If fill_in_the_middle lacks its tokens, a phase names an unknown dump, or the sources of an
            earlier run are not here as they were.
    """
    names = [source.dump for source in sources]
    if len(set(names)) != len(names):
        raise ShardError(f"two of the sources are of one dump: {', '.join(names)}; leave one of them out")
    context = settings.model.context
    rows = [_rows(source, settings, plans) for source in sources]
    for source, cut in zip(sources, rows, strict=True):
        if not cut.windows:
            raise ShardError(
                f"{source.folder} has {source.train.token_count} training tokens, too few for one sequence of "
                f"{context}; shorten the context, add documents to '{source.dump}', or leave it out"
            )
    phases: list[Phase] = []
    for run in earlier:
        phases += _phases(run.training, sources, _earlier_weights(run, sources), phases)
    phases += _phases(settings, sources, dict(zip(names, weights, strict=True)), phases)
    chunk = settings.samples.shuffle_chunk_tokens
    order = SampleOrder(
        [OrderedSource(source.dump, cut.windows) for source, cut in zip(sources, rows, strict=True)],
        phases,
        seed=settings.seed,
        chunk_windows=-(-chunk // context),
    )
    sizes = [_pass_windows(source, cut, context) for source, cut in zip(sources, rows, strict=True)]
    check_epochs(names, _passes(order, sizes), settings.samples.mixture)
    return SampleReader(sources, rows, order, context, middle=_middle(settings, vocabulary))


def earlier_runs(settings: RunSettings) -> list[RunSettings]:
    """The runs that a run continues, the first one first.

    Raises:
        SettingsError: If one of them is not there or not finished, or has another model or order of samples than this
            one goes on with.
    """
    if settings.continue_from is None:
        return []
    folder = Path(settings.continue_from)
    before = finished_run(folder)
    was, now = (
        run.training.model_dump(include={"seed", "samples"}, exclude={"samples": {"mixture": {"max_epochs"}}})
        for run in (before, settings)
    )
    for name in now:
        if was[name] != now[name]:
            raise SettingsError(f"'continue_from': {folder} was trained with another '{name}'; use the same")
    shape_then, shape_now = (_shape(run.training.model) for run in (before, settings))
    for name, value in shape_now.items():
        if shape_then[name] != value:
            raise SettingsError(f"'continue_from': {folder} was trained with another 'model.{name}'; use the same")
    return [*earlier_runs(before), before]


def _shape(model: ModelSettings) -> dict[str, Any]:
    """What a model computes with its weights, whatever is said and whatever follows from it; the shards say its ids."""
    shape = model.model_dump(exclude={*_OF_LEARNING, "vocabulary_size"})
    return shape | {"key_value_heads": model.key_value_count, "head_width": model.head_size}


def finished_run(folder: Path) -> RunSettings:
    """The settings of a finished run.

    Raises:
        SettingsError: If the folder holds none.
    """
    settings = started_run(folder)
    if not (folder / REPORT).is_file():
        raise SettingsError(f"{folder} holds no finished training: there is no {REPORT} in it; train it to its end")
    return settings


def started_run(folder: Path) -> RunSettings:
    """The settings of a run, which may not be at its end.

    Raises:
        SettingsError: If the folder holds none.
    """
    path = folder / RUN
    try:
        return RunSettings.parse(json.loads(path.read_text(encoding="utf-8")), origin=str(path))
    except OSError:
        raise SettingsError(f"{folder} holds no training: there is no {RUN} in it") from None
    except ValueError as error:
        raise SettingsError(f"{path} is damaged: {error}") from None


def recorded(settings: RunSettings, sources: Sequence[Shards]) -> RunSettings:
    """The settings as ``run.json`` keeps them: with the dump and hash of every source."""
    data = [
        entry.model_copy(update={"dump": source.dump, "sha256": source.sha256})
        for entry, source in zip(settings.data, sources, strict=True)
    ]
    return settings.model_copy(update={"data": data})


def first_step(earlier: Sequence[RunSettings]) -> int:
    """Steps of the runs that a run continues."""
    return sum(run.training.steps for run in earlier)


def _rows(source: Shards, settings: TrainingSettings, plans: Path) -> CutRows | PackedRows:
    if settings.samples.packing == "cut":
        return CutRows(source.train, settings.model.context)
    return PackedRows(plan_packing(source.train, settings.model.context, plans))


def _pass_windows(source: Shards, rows: CutRows | PackedRows, context: int) -> float:
    """Windows that hold all tokens of a source once: of a cut ring, also the fraction behind the last whole one."""
    return max(rows.windows, source.train.token_count / context)


def _passes(order: SampleOrder, sizes: Sequence[float]) -> list[float]:
    """How often the phases of an order read each source, without what the rounding of its share adds."""
    samples = sum(phase.steps * phase.batch for phase in order.phases)
    both = zip(order.windows_used(samples), windows_asked(order.phases), sizes, strict=True)
    return [min(used, asked) / size for used, asked, size in both]


def _phases(
    settings: TrainingSettings, sources: Sequence[Shards], weights: Mapping[str, float], before: Sequence[Phase]
) -> list[Phase]:
    """The phases of a run that goes on after those before."""
    names = [source.dump for source in sources]
    read = windows_asked(before, continued=True) if before else [0.0] * len(names)
    mixed = [
        MixedSource(source.dump, weights[source.dump], source.train.token_count, windows * settings.model.context)
        for source, windows in zip(sources, read, strict=True)
        if source.dump in weights
    ]
    shares = dict(
        zip(
            [source.name for source in mixed],
            mixture_shares(mixed, settings.samples.mixture, budget=settings.tokens),
            strict=True,
        )
    )
    phases = []
    for number, phase in enumerate(settings.phases):
        chosen = shares
        if phase.weights is not None:
            for name in phase.weights:
                if name not in names:
                    raise SettingsError(f"'curriculum.{number}.weights' names '{name}', {nearest(name, names)}")
            chosen = phase.weights
        assert phase.batch is not None
        assert phase.context is not None
        phases.append(
            Phase(
                phase.steps,
                phase.batch,
                settings.model.context // phase.context,
                tuple(chosen.get(name, 0.0) for name in names),
            )
        )
    return phases


def _earlier_weights(run: RunSettings, sources: Sequence[Shards]) -> dict[str, float]:
    """Weights of a run that is continued, by dump.

    Raises:
        SettingsError: If its sources are not among these, the same and in their order.
    """
    by_dump = {source.dump: source for source in sources}
    for source in run.data:
        now = by_dump.get(source.dump)
        if now is None:
            raise SettingsError(f"'continue_from': its source '{source.dump}' is missing in 'data'; name it here too")
        if now.sha256 != source.sha256:
            raise SettingsError(
                f"'continue_from': {now.folder} is not what '{source.dump}' was then; name the same shards"
            )
    then = [source.dump for source in run.data]
    if [dump for dump in by_dump if dump in then] != then:
        raise SettingsError(
            f"'continue_from': its sources were in the order {', '.join(then)}, on which the order of samples depends; "
            "name them in this order in 'data', others wherever you like"
        )
    return {source.dump: source.weight for source in run.data}


def _middle(settings: TrainingSettings, vocabulary: Path) -> FillInTheMiddle | None:
    if not settings.samples.fill_in_the_middle:
        return None
    tokenizer = Tokenizer.from_file(str(vocabulary / "tokenizer.json"))
    known = ((token, tokenizer.token_to_id(token)) for token in (PREFIX, MIDDLE, SUFFIX))
    ids = {token: number for token, number in known if number is not None}
    if missing := [token for token in (PREFIX, MIDDLE, SUFFIX) if token not in ids]:
        raise SampleOrderError(
            f"'samples.fill_in_the_middle' needs the tokens {', '.join(missing)}, which {vocabulary} has not: add them "
            "to the vocabulary's 'special_tokens'"
        )
    return FillInTheMiddle(
        rate=settings.samples.fill_in_the_middle,
        suffix_first=settings.samples.suffix_first,
        prefix=ids[PREFIX],
        middle=ids[MIDDLE],
        suffix=ids[SUFFIX],
        seed=settings.seed,
    )
