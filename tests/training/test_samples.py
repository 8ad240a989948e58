"""From settings and shards to an order: how often sources may be read, and runs that go on from others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, models

from tests.training.test_shards import write
from training.loader import SampleReader
from training.permutation import SampleOrderError
from training.run_settings import RunSettings, TrainingSettings
from training.samples import earlier_runs, recorded, training_samples
from training.settings import SettingsError
from training.shards import Shards

MODEL = {"width": 16, "layers": 1, "heads": 2, "key_value_heads": 2, "feed_forward_width": 16, "context": 16}


def shards_of(folder: Path, dump: str, tokens: int) -> Shards:
    """A source of so many training tokens, in documents of sixteen; at least two tokens in the last one."""
    whole, rest = divmod(tokens, 16)
    lengths = [15] * whole + [rest - 1] * bool(rest)
    pages = [("train", [1 + number % 900] * length) for number, length in enumerate(lengths)]
    return write(folder / dump, [*pages, ("validation", [5])], dump=dump)  # type: ignore[list-item]


def reader_of(folder: Path, sources: list[Shards], weights: list[float], **training: Any) -> SampleReader:
    Tokenizer(models.WordLevel({"a": 0}, unk_token="a")).save(str(folder / "tokenizer.json"))
    how = settings_of(**training)
    return training_samples(how, sources, weights, vocabulary=folder, plans=folder / "plans")


def settings_of(**training: Any) -> TrainingSettings:
    return TrainingSettings.model_validate({"model": MODEL, "batch": 8, "parallel": {"micro_batch": 2}} | training)


def trained(
    folder: Path, name: str, sources: list[Shards], *, continue_from: str | None = None, **training: Any
) -> SampleReader:
    """The reader of a run, of which the record is written as if it were finished."""
    Tokenizer(models.WordLevel({"a": 0}, unk_token="a")).save(str(folder / "tokenizer.json"))
    settings = RunSettings(
        training=settings_of(**training),
        data=[{"folder": str(source.folder)} for source in sources],  # type: ignore[list-item]
        vocabulary=str(folder),
        output=str(folder / name),
        continue_from=continue_from and str(folder / continue_from),
    )
    reader = training_samples(
        settings.training,
        sources,
        [1.0] * len(sources),
        vocabulary=folder,
        plans=folder / "plans",
        earlier=earlier_runs(settings),
    )
    (folder / name).mkdir()
    (folder / name / "run.json").write_text(recorded(settings, sources).model_dump_json())
    (folder / name / "report.json").write_text("{}")
    return reader


@pytest.mark.parametrize("packing", ["cut", "best_fit"])
@pytest.mark.parametrize("by", ["unimax", "weight"])
def test_the_rounding_of_shares_is_no_excess(tmp_path: Path, by: str, packing: str) -> None:
    """Of 1024 samples 20.6 would be two passes over the small source; a block holds 21 of them, which is 2.04."""
    sources = [shards_of(tmp_path, "en", 9600), shards_of(tmp_path, "zh", 165)]
    samples = {"packing": packing, "mixture": {"by": by, "max_epochs": 2}}
    reader = reader_of(tmp_path, sources, [1003.375, 20.625], steps=128, samples=samples)
    assert reader.order.samples(0, 1024).source.tolist().count(1) == 21


def test_an_excess_of_the_size_of_the_rounding_is_refused(tmp_path: Path) -> None:
    """21 of 1024 samples are asked for; 2.1 passes over ten windows."""
    sources = [shards_of(tmp_path, "en", 9600), shards_of(tmp_path, "zh", 160)]
    samples = {"mixture": {"max_epochs": 2}}
    with pytest.raises(SampleOrderError, match=r"'zh' would be read 2\.10 times, more than 'max_epochs' = 2"):
        reader_of(tmp_path, sources, [1003, 21], steps=128, samples=samples)


def test_a_window_that_a_phase_leaves_is_used_up_for_the_limit(tmp_path: Path) -> None:
    """Each of six phases reads about two of the eight parts of the only window of a source."""
    sources = [shards_of(tmp_path, "en", 1600), shards_of(tmp_path, "zh", 20)]
    curriculum = [{"steps": 1, "context": 2, "weights": {"en": 0.7, "zh": 0.3}}] * 6
    with pytest.raises(SampleOrderError, match=r"'zh' would be read 4\.\d\d times, more than 'max_epochs' = 2"):
        reader_of(tmp_path, sources, [1, 1], steps=6, curriculum=curriculum, samples={"mixture": {"max_epochs": 2}})


def unimax(limit: float) -> dict[str, Any]:
    return {"mixture": {"by": "unimax", "max_epochs": limit}}


def counts(reader: SampleReader, first: int, count: int) -> list[int]:
    """Samples by source."""
    return np.bincount(reader.order.samples(first, count).source, minlength=len(reader.order.sources)).tolist()


def test_a_run_goes_on_without_a_source_that_is_at_its_limit(tmp_path: Path) -> None:
    """1024 samples, of them two passes over the hundred windows of the small source; then others of the large one."""
    sources = [shards_of(tmp_path, "en", 32_000), shards_of(tmp_path, "zh", 1600)]
    one = trained(tmp_path, "one", sources, steps=128, samples=unimax(2))
    assert counts(one, 0, 1024) == [824, 200]
    two = trained(tmp_path, "two", sources, steps=32, samples=unimax(2), continue_from="one")
    assert counts(two, 0, 1024) == [824, 200]
    assert counts(two, 1024, 256) == [256, 0]
    with pytest.raises(SampleOrderError, match=r"'en' would be read 2\.46 times, more than 'max_epochs' = 2"):
        trained(tmp_path, "much", sources, steps=480, samples=unimax(2), continue_from="two")


def test_the_limit_of_passes_may_be_raised(tmp_path: Path) -> None:
    """One more pass over the small source, then two more in a third run."""
    sources = [shards_of(tmp_path, "en", 32_000), shards_of(tmp_path, "zh", 1600)]
    one = trained(tmp_path, "one", sources, steps=128, samples=unimax(2))
    two = trained(tmp_path, "two", sources, steps=128, samples=unimax(3), continue_from="one")
    assert two.order.samples(0, 1024).window.tolist() == one.order.samples(0, 1024).window.tolist()
    assert counts(two, 1024, 1024) == [924, 100]
    three = trained(tmp_path, "three", sources, steps=128, samples=unimax(5), continue_from="two")
    assert three.order.samples(0, 2048).window.tolist() == two.order.samples(0, 2048).window.tolist()
    assert counts(three, 2048, 1024) == [824, 200]
    for samples in (unimax(3) | {"packing": "best_fit"}, {"mixture": {"by": "tokens"}}):
        with pytest.raises(SettingsError, match="was trained with another 'samples'; use the same"):
            trained(tmp_path, "other", sources, samples=samples, continue_from="one")


def names(reader: SampleReader, samples: int) -> list[tuple[str, int, int]]:
    """Source, epoch and window of the first samples."""
    order = reader.order
    return [(order.sources[number].name, *rest) for number, *rest, _ in map(order.sample, range(samples))]  # type: ignore[misc]


def test_sources_are_added_anywhere_but_not_put_in_another_order(tmp_path: Path) -> None:
    en, zh, ja = (shards_of(tmp_path, dump, 3200) for dump in ("en", "zh", "ja"))
    one = trained(tmp_path, "one", [en, zh], steps=20)
    expected = names(one, 160)
    for number, sources in enumerate(([en, zh, ja], [en, ja, zh], [ja, en, zh])):
        assert names(trained(tmp_path, f"two-{number}", sources, steps=20, continue_from="one"), 160) == expected
    for sources in ([zh, en], [zh, ja, en]):
        with pytest.raises(
            SettingsError, match=r"sources were in the order en, zh, .*; name them in this order in 'data'"
        ):
            trained(tmp_path, "other", sources, steps=20, continue_from="one")
    # The order of the second run is that of all three.
    with pytest.raises(SettingsError, match="in the order en, ja, zh, on which"):
        trained(tmp_path, "other", [en, zh, ja], steps=20, continue_from="two-1")
    trained(tmp_path, "three", [en, ja, zh], steps=20, continue_from="two-1")
