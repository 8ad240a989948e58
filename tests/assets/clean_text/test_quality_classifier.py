from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.clean_text.errors import CleanTextError
from assets.clean_text.quality.features import hashed_features
from assets.clean_text.quality.linear import LinearModel
from assets.clean_text.quality.models import load_quality_model
from assets.clean_text.quality.texts import read_texts
from assets.clean_text.quality.training import QualityReport, QualityTrainingSettings, train_quality

SETTINGS = QualityTrainingSettings(bits=14, seed=1)
GOOD = [
    "the river ran quietly past the old mill",
    "她在窗前静静地看着雨落下来",
    "a letter from the sea arrived at dawn",
]
BAD = ["buy cheap watches now click here", "点击这里免费领取大奖", "error 404 page not found retry"]


def array(texts: list[str]) -> pa.StringArray:
    return pa.array(texts, pa.string())


def variations(texts: list[str], count: int) -> list[str]:
    return [f"{texts[n % len(texts)]} {n} {texts[(n // 3) % len(texts)]}" for n in range(count)]


def trained(*, seed: int = 1, reverse: bool = False, batch: int = 1000) -> tuple[LinearModel, QualityReport]:
    def batches(texts: list[str]) -> list[pa.StringArray]:
        ordered = texts[::-1] if reverse else texts
        return [array(ordered[begin : begin + batch]) for begin in range(0, len(ordered), batch)]

    changed = SETTINGS.model_copy(update={"seed": seed})
    return train_quality(batches(variations(GOOD, 90)), batches(variations(BAD, 150)), settings=changed)


def test_features_are_words_and_pairs_or_characters_and_pairs() -> None:
    matrix = hashed_features(array(["One two, ONE?", "一二一", "", "!"]), bits=20).toarray()
    # one, two, one, "one two", "two one": five in all.
    assert sorted(matrix[0][matrix[0] > 0].tolist()) == pytest.approx([0.2, 0.2, 0.2, 0.4])
    assert sorted(matrix[1][matrix[1] > 0].tolist()) == pytest.approx([0.2, 0.2, 0.2, 0.4])
    assert not matrix[2:].any()
    same = hashed_features(array(["two ＯＮＥ", "two one three"]), bits=20, tokens=2).toarray()
    assert (same[0] == same[1]).all()
    assert (same[0] != hashed_features(array(["one two"]), bits=20).toarray()[0]).any()


@settings(max_examples=60)
@given(st.lists(st.text(st.sampled_from("ab 一二.\n") | st.characters(exclude_categories=["Cs"])), max_size=5))
def test_scoring_is_the_product_with_the_features(texts: list[str]) -> None:
    weights = np.random.default_rng(0).normal(size=1 << 10).astype(np.float32)
    model = LinearModel(weights, bias=-0.5)
    features = hashed_features(array(texts), bits=10)
    assert (np.abs(features.sum(axis=1).A1 - 1) < 1e-5).tolist() == [features[n].nnz > 0 for n in range(len(texts))]
    expected = 1 / (1 + np.exp(0.5 - features.astype(np.float64) @ weights))
    assert model.score(array(texts)) == pytest.approx(expected, abs=1e-5)


def test_long_texts_across_the_scanners_buffers() -> None:
    text = " ".join(f"w{n}" for n in range(3000))
    weights = np.arange(1 << 10, dtype=np.float32)
    odds = (hashed_features(array([text]), bits=10).astype(np.float64) @ weights)[0] / 1000
    assert LinearModel(weights / 1000, 0).score(array([text]))[0] == pytest.approx(1 / (1 + math.exp(-odds)), abs=1e-5)


def test_new_texts_are_told_apart_in_both_languages() -> None:
    model, report = trained()
    good, bad = ["the old mill past the river", "静静地看着雨"], ["click here for cheap watches", "免费领取大奖"]
    scores = model.score(array([*good, *bad]))
    assert scores[:2].min() > 0.6 > 0.4 > scores[2:].max()
    assert report.auc > 0.95
    assert report.precision > 0.9
    assert report.recall > 0.9
    assert report.good + report.bad + report.held_out == 240
    assert report.thresholds[0].recall >= 0.99
    assert [each.score for each in report.thresholds] == sorted(each.score for each in report.thresholds)


def test_neither_order_nor_batches_matter_but_the_seed_does() -> None:
    one, other, reseeded = trained()[0], trained(reverse=True, batch=7)[0], trained(seed=2)[0]
    assert one.weights.tobytes() == other.weights.tobytes()
    assert one.bias == other.bias
    assert one.weights.tobytes() != reseeded.weights.tobytes()


def test_a_saved_model_scores_the_same(tmp_path: Path) -> None:
    model, report = trained()
    model.save(tmp_path / "model")
    model.save(tmp_path / "again")
    opened = load_quality_model(tmp_path / "model")
    texts = array([*GOOD, *BAD, ""])
    assert opened.score(texts).tolist() == model.score(texts).tolist()
    assert opened.digest == load_quality_model(tmp_path / "again").digest
    described = json.loads((tmp_path / "model" / "quality.json").read_text())
    assert described["report"]["auc"] == report.auc
    assert described["settings"]["seed"] == 1
    with pytest.raises(CleanTextError, match="already holds a trained model"):
        model.save(tmp_path / "model")


def test_another_model_has_another_digest(tmp_path: Path) -> None:
    LinearModel(np.zeros(8, np.float32), 0.0).save(tmp_path / "one")
    LinearModel(np.zeros(8, np.float32), 0.5).save(tmp_path / "other")
    assert load_quality_model(tmp_path / "one").digest != load_quality_model(tmp_path / "other").digest


def test_damage_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    LinearModel(np.zeros(8, np.float32), 0.0).save(folder)
    weights = folder / "quality.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + b"\x01")
    with pytest.raises(CleanTextError, match=r"quality\.safetensors is damaged"):
        load_quality_model(folder)
    weights.unlink()
    with pytest.raises(CleanTextError, match=r"quality\.safetensors cannot be read"):
        load_quality_model(folder)
    (folder / "quality.json").write_text("{")
    with pytest.raises(CleanTextError, match="holds no whole model"):
        load_quality_model(folder)
    (folder / "quality.json").unlink()
    with pytest.raises(CleanTextError, match=r"quality\.json cannot be read"):
        load_quality_model(folder)


def test_too_few_documents_are_refused() -> None:
    with pytest.raises(CleanTextError, match="3 different bad documents are too few"):
        train_quality([array(variations(GOOD, 50))], [array(BAD * 30)], settings=SETTINGS)


def test_the_sample_has_the_asked_size() -> None:
    few = SETTINGS.model_copy(update={"documents": 40})
    _, report = train_quality([array(variations(GOOD, 300))], [array(variations(BAD, 300))], settings=few)
    assert report.good + report.bad + report.held_out == 80


def test_texts_are_read_from_files_and_folders(tmp_path: Path) -> None:
    (tmp_path / "mixed" / "deep").mkdir(parents=True)
    (tmp_path / "mixed" / "a.txt").write_text("first  \n\n\n\nparagraph\n\n\nsecond", encoding="utf-8")
    (tmp_path / "mixed" / "deep" / "b.jsonl").write_text('{"body": "三"}\n\n{"body": "四"}\n', encoding="utf-8")
    pq.write_table(pa.table({"body": ["fünf"]}), tmp_path / "mixed" / "c.parquet")
    (tmp_path / "stage").mkdir()
    pq.write_table(pa.table({"text": ["six", None]}), tmp_path / "stage" / "documents-00000.parquet")
    pq.write_table(pa.table({"other": [1]}), tmp_path / "stage" / "signals-00000.parquet")

    def read(path: Path, **options: str) -> list[str]:
        return [str(text) for batch in read_texts([path], **options) for text in batch.to_pylist()]  # type: ignore[arg-type]

    assert read(tmp_path / "mixed", text_field="body") == ["三", "四", "fünf", "first\n\nparagraph\n\nsecond"]
    assert read(tmp_path / "mixed" / "a.txt", split="line") == ["first", "paragraph", "second"]
    assert read(tmp_path / "stage") == ["six"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.txt", None, "there is no file or folder"),
        ("empty.txt", b"", "empty.txt: source 'text' has no document"),
        ("bad.parquet", b"PAR1", "bad.parquet is no Parquet file or is damaged"),
        ("folder", None, "there is no file or folder"),
    ],
)
def test_texts_that_cannot_be_read_are_named(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CleanTextError, match=message):
        list(read_texts([tmp_path / name]))


def test_a_folder_without_texts_is_named(tmp_path: Path) -> None:
    (tmp_path / "picture.png").write_bytes(b"x")
    with pytest.raises(CleanTextError, match="holds no text"):
        list(read_texts([tmp_path]))
