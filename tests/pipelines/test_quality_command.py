from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
import typer
from typer.testing import CliRunner

from assets.clean_text.errors import CleanTextError
from assets.clean_text.quality.character_model import load_character_model
from assets.clean_text.quality.models import load_quality_model
from pipelines.quality_command import train_perplexity, train_quality
from training.settings import SettingsError

app = typer.Typer()
app.command()(train_quality)
app.command()(train_perplexity)


def run(*arguments: str | Path) -> str:
    result = CliRunner().invoke(app, list(map(str, arguments)), env={"COLUMNS": "150"})
    if result.exception:
        raise result.exception
    return result.output


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    (tmp_path / "good.txt").write_text(
        "\n".join(f"雨落在河上 {n} the river ran past the mill" for n in range(60)), "utf-8"
    )
    (tmp_path / "bad.txt").write_text("\n".join(f"点击领奖 {n} click here [now]" for n in range(60)), "utf-8")
    return tmp_path


def test_train_quality_prints_what_it_measured_and_writes_a_model(texts: Path) -> None:
    options = ("--good", texts / "good.txt", "--bad", texts / "bad.txt", "--split", "line", "--bits", "12")
    shown = run("train-quality", *options, "--out", texts / "model")
    assert "AUC 1.0000" in shown
    assert "click here [now]" in shown
    scores = load_quality_model(texts / "model").score(pa.array(["the river ran", "点击领奖"], pa.string()))
    assert scores[0] > 0.5 > scores[1]
    with pytest.raises(CleanTextError, match="already holds a trained model"):
        run("train-quality", *options, "--out", texts / "model")
    with pytest.raises(SettingsError, match="'bits' = 12345"):
        run("train-quality", *options[:-1], "12345", "--out", texts / "other")


def test_train_perplexity_writes_a_model(texts: Path) -> None:
    shown = run("train-perplexity", "--text", texts / "good.txt", "--out", texts / "model", "--order", "4")
    assert "n-grams of" in shown
    known, unknown = load_character_model(texts / "model").score(pa.array(["the river ran", "vwxyz qqqq"], pa.string()))
    assert 2 * known < unknown
    with pytest.raises(CleanTextError, match="there is no file or folder"):
        run("train-perplexity", "--text", texts / "none", "--out", texts / "other")
