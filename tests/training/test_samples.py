"""From settings and shards to an order: how often sources may be read, and runs that go on from others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models

from tests.training.test_shards import write
from training.loader import SampleReader
from training.permutation import SampleOrderError
from training.run_settings import TrainingSettings
from training.samples import training_samples
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
    how = TrainingSettings.model_validate({"model": MODEL, "batch": 8, "parallel": {"micro_batch": 2}} | training)
    return training_samples(how, sources, weights, vocabulary=folder, plans=folder / "plans")


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
