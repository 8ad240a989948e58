"""A model with its record, shards and sample order: all that a trace is computed from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assets.home import home_folder, outputs_folder
from assets.trace.errors import TraceError
from assets.vocabulary.tokenizer import Vocabulary, open_vocabulary
from training.artifact import file_sha256
from training.loader import SampleReader
from training.preflight import open_data
from training.report import REPORT
from training.run_settings import DataSource, RunSettings
from training.samples import PACKING, RUN, earlier_runs, finished_run, first_step, training_samples
from training.settings import SettingsError
from training.shards import DESCRIPTION, ShardError, Shards, is_remote


@dataclass(frozen=True)
class TracedRun:
    """What a model was trained by.

    Attributes:
        settings: Of the run that made the model.
        sources: Its token shards.
        reader: Reads its samples.
        vocabulary: Its vocabulary.
        steps_before: Steps of the runs that it continues, which count from 0.
        steps: Steps in all, with those before.
        ranks: Processes of the run.
        skipped: Steps, numbered like the others, that the model has not learned from: left out because of spikes, or of
            a run before it after the weights that were gone on from.
    """

    settings: RunSettings
    sources: list[Shards]
    reader: SampleReader
    vocabulary: Vocabulary
    steps_before: int
    steps: int
    ranks: int
    skipped: frozenset[int]

    @property
    def samples(self) -> int:
        """Samples that the model has seen."""
        return self.reader.order.step(self.steps).first

    def source(self, dump: str) -> int:
        """Number of a source.

        Raises:
            TraceError: If the model was not trained on it.
        """
        names = [shards.dump for shards in self.sources]
        if dump not in names:
            raise TraceError(f"the model was not trained on '{dump}', but on {', '.join(names)}")
        return names.index(dump)


def open_run(model: Path) -> TracedRun:
    """Open everything that a model's record names.

    Args:
        model: Folder of a model, with ``run.json``, ``report.json`` and ``tokenizer.json``.

    Raises:
        TraceError: If the record is missing, or the shards it names are gone or were changed.
    """
    try:
        settings = finished_run(model)
        report = _report(model)
        data = [_where_it_is(source) for source in settings.data]
        found = settings.model_copy(update={"data": data, "vocabulary": str(model)})
        training, sources = open_data(found)
        earlier = earlier_runs(settings)
        reader = training_samples(
            training,
            sources,
            [source.weight for source in settings.data],
            vocabulary=model,
            plans=home_folder() / PACKING,
            earlier=earlier,
        )
    except (SettingsError, ShardError) as error:
        raise TraceError(f"{model} cannot be traced: {error}") from error
    except (OSError, ValueError) as error:
        raise TraceError(f"{model} cannot be traced, since {RUN} or {REPORT} is missing or damaged: {error}") from error
    before = first_step(earlier)
    return TracedRun(
        found,
        sources,
        reader,
        open_vocabulary(model),
        before,
        before + report["best_step"],
        report["ranks"],
        frozenset(_skipped(report, settings)),
    )


def _skipped(report: dict[str, Any], settings: RunSettings) -> Iterator[int]:
    """The steps, from 0, that a run and those before it have left out, or that came after the weights that go on."""
    start = first_step(earlier_runs(settings))
    yield from (start + step - 1 for step in report["skipped_steps"])
    if settings.continue_from is not None:
        before = Path(settings.continue_from)
        earlier, report_before = finished_run(before), _report(before)
        yield from _skipped(report_before, earlier)
        yield from range(start - earlier.training.steps + report_before["best_step"], start)


def _report(folder: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((folder / REPORT).read_text(encoding="utf-8"))
    return report


def _where_it_is(source: DataSource) -> DataSource:
    """The shards where they were, or the same ones elsewhere in this home."""
    if is_remote(source.folder):
        return source
    places = [Path(source.folder), *sorted(outputs_folder("token_shards", source.dump).glob("[!.]*"))]
    for place in places:
        if (place / DESCRIPTION).is_file() and file_sha256(place / DESCRIPTION) == source.sha256:
            return source.model_copy(update={"folder": str(place)})
    raise TraceError(
        f"the token shards of '{source.dump}' that the model was trained on are neither in {source.folder} nor below "
        f"{outputs_folder('token_shards', source.dump)}; bring them back, or run token_shards as it was run then"
    )
