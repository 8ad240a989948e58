from __future__ import annotations

from pathlib import Path

import pytest

from assets.language_model.training_run import TrainingRun, continued_identity
from training.run_settings import TrainingSettings, load_run_settings
from training.settings import SettingsError


def test_the_trainer_reads_what_was_configured(tmp_path: Path) -> None:
    run = TrainingRun(tmp_path / "run")
    configured = run.configure(
        TrainingSettings(steps=7),
        data={"zh": tmp_path / "zh"},
        weights={"zh": 2.0},
        vocabulary=tmp_path / "vocabulary",
        continue_from=tmp_path / "earlier",
    )
    assert load_run_settings(run.configuration) == configured
    assert configured.continue_from == str(tmp_path / "earlier")
    assert (configured.data[0].folder, configured.data[0].weight) == (str(tmp_path / "zh"), 2.0)


def test_a_run_that_is_continued_is_known_by_its_content(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"holds no finished training, there is no run\.json in it"):
        continued_identity(tmp_path)
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(SettingsError, match=r"there is no report\.json in it"):
        continued_identity(tmp_path)
    (tmp_path / "report.json").write_text("{}")
    with pytest.raises(SettingsError, match=r"there is no model\.safetensors in it"):
        continued_identity(tmp_path)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.safetensors").write_bytes(b"1")
    first = continued_identity(tmp_path)
    (tmp_path / "model" / "model.safetensors").write_bytes(b"2")
    assert continued_identity(tmp_path)["run"] == first["run"]
    assert continued_identity(tmp_path)["model"] != first["model"]
