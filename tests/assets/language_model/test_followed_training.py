from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from assets.language_model.followed_training import TrainingData, train_followed
from assets.language_model.settings import LanguageModelSettings
from assets.language_model.training_run import TrainingRun
from tests.training.trainer_runs import write_counting_documents


@pytest.mark.parametrize(
    ("training", "reason"),
    [
        ({"samples": {"mixture": {"max_epochs": 0.5}}, "batch": 512}, "more than 'max_epochs' = 0.5"),
        ({"batch": 7}, "batch 7 is no multiple of micro_batch 4"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_it_is_tracked(
    tmp_path: Path, training: dict[str, Any], reason: str
) -> None:
    written = write_counting_documents(tmp_path)
    model = {"width": 32, "layers": 1, "heads": 4, "feed_forward_width": 64, "context": 32}
    settings = LanguageModelSettings.parse(
        {"training": {"model": model, "steps": 100, "parallel": {"micro_batch": 4}} | training}, origin="test"
    )
    folders = [Path(source["folder"]) for source in written["data"]]
    shards: Any = {folder.name: SimpleNamespace(folder=folder) for folder in folders}
    vocabulary: Any = SimpleNamespace(folder=Path(written["vocabulary"]))
    family: Any = None
    ending = train_followed(
        TrainingRun(tmp_path / "run"),
        settings,
        TrainingData(shards, dict.fromkeys(shards, 1.0), vocabulary),
        family=family,
        name="trial 3",
        fingerprint="f",
    )
    assert (ending.state, ending.losses) == ("refused", {})
    assert reason in ending.reason
