"""What docs/tuning.md shows is accepted, down to each training that would be done."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from assets.language_model.scaling_law.ladder import ladder, target
from assets.language_model.scaling_law.settings import ScalingLawSettings
from assets.language_model.tuning.search_space import check_search, preset_values
from assets.language_model.tuning.settings import TuneSettings
from pipelines.preset_trainings import open_preset
from training.run_settings import TrainingSettings

PAGE = (Path(__file__).parents[2] / "docs" / "tuning.md").read_text(encoding="utf-8")
EXAMPLES = [yaml.safe_load(block) for block in re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)]
SEARCHES = [example for example in EXAMPLES if "search" in example]
LAWS = [example for example in EXAMPLES if "search" not in example]


def training_of(preset: str) -> TrainingSettings:
    """A preset's, with a vocabulary's size as its token shards would give it."""
    training = open_preset(preset).model.training
    return training.model_copy(update={"model": training.model.model_copy(update={"vocabulary_size": 6144})})


def test_the_page_has_examples_of_both_commands() -> None:
    assert SEARCHES
    assert len(LAWS) == 2


@pytest.mark.parametrize("example", SEARCHES)
def test_a_search_is_possible(example: object) -> None:
    settings = TuneSettings.parse(example, origin="docs/tuning.md")
    training = training_of(settings.preset)
    check_search(settings, training)
    assert preset_values(settings, training) is not None, "the preset's own values are to be the first trial"


@pytest.mark.parametrize("example", LAWS)
def test_a_ladder_is_possible(example: object) -> None:
    settings = ScalingLawSettings.parse(example, origin="docs/tuning.md")
    training = training_of(settings.preset)
    sizes = {rung.parameters for rung in ladder(settings, training)}
    assert len(sizes) == 3
    assert target(settings, training).parameters > max(sizes)
