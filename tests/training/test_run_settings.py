from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from training.run_settings import ParallelSettings, PhaseSettings, RunSettings, TrainingSettings, load_run_settings
from training.settings import SettingsError

RUN: dict[str, Any] = {
    "training": {"model": {"width": 64, "context": 32}, "steps": 7, "batch": 12, "parallel": {"micro_batch": 3}},
    "data": [{"folder": "shards/en"}, {"folder": "/far/zh", "weight": 2}],
    "vocabulary": "../vocabulary",
    "output": "run",
}


def write(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content) if path.suffix == ".json" else yaml.safe_dump(content), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["run.yaml", "run.json"])
def test_relative_folders_start_from_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    path = write(tmp_path / "runs" / name, RUN)
    monkeypatch.chdir(tmp_path)
    for given in (path, path.relative_to(tmp_path)):
        settings = load_run_settings(given)
        assert [source.folder for source in settings.data] == [str(tmp_path / "runs/shards/en"), "/far/zh"]
        assert Path(settings.vocabulary).resolve() == tmp_path / "vocabulary"
        assert settings.output == str(tmp_path / "runs/run")
        assert [source.weight for source in settings.data] == [1.0, 2.0]
        assert (settings.training.model.width, settings.training.steps) == (64, 7)


def test_exponents_are_numbers_in_yaml_too(tmp_path: Path) -> None:
    path = write(tmp_path / "run.yaml", RUN)
    path.write_text(path.read_text() + "\n", encoding="utf-8")
    text = path.read_text().replace("training:", "training:\n  optimizer:\n    learning_rate: 3e-4", 1)
    path.write_text(text)
    assert load_run_settings(path).training.optimizer.learning_rate == 3e-4


def changed(*keys: str, to: object) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(json.dumps(RUN))
    inner = content
    for key in keys[:-1]:
        inner = inner.setdefault(key, {})
    inner[keys[-1]] = to
    return content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (changed("training", "step", to=3), "unknown key 'training.step', did you mean 'steps'?"),
        (
            changed("training", "model", "widht", to=3),
            "unknown key 'training.model.widht', did you mean 'width'?",
        ),
        (changed("trainings", to={}), "unknown key 'trainings', did you mean 'training'?"),
        (changed("data", to=[{"folder": "a", "wait": 3}]), "unknown key 'data.0.wait', did you mean 'weight'?"),
        (changed("data", to=[]), "'data' = []"),
        (changed("data", to=[{"folder": "a", "weight": 0}]), "'data.0.weight' = 0"),
        (changed("data", to=[{"folder": "a"}, {"folder": "a"}]), "'data' names a folder twice: raise its weight"),
        (changed("training", "schedule", "shape", to="steps"), "'training.schedule.shape' = 'steps'"),
        (changed("training", "parallel", "zero_stage", to=4), "'training.parallel.zero_stage' = 4"),
        (changed("training", "model", "heads", to=3), "width 64 is no multiple of heads 3"),
        ({key: value for key, value in RUN.items() if key != "output"}, "'output' is missing"),
        ([RUN], "write the keys training, data, vocabulary and output"),
        ("run", "write the keys training, data, vocabulary and output"),
        (None, "write the keys training, data, vocabulary and output"),
    ],
)
def test_a_wrong_file_is_named_with_its_key(tmp_path: Path, content: object, message: str) -> None:
    path = write(tmp_path / "run.yaml", content)
    with pytest.raises(SettingsError) as error:
        load_run_settings(path)
    assert str(path) in str(error.value)
    assert message in str(error.value)


@pytest.mark.parametrize("content", [b"a: [", b"\xff\xfe", b"\t- x: y: z"])
def test_a_file_that_is_no_yaml_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "run.yaml"
    with pytest.raises(SettingsError, match=r"run\.yaml cannot be read as YAML or JSON"):
        load_run_settings(path)
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=r"run\.yaml cannot be read as YAML or JSON"):
        load_run_settings(path)


@pytest.mark.parametrize("other", ["shards/./en", "shards/en/", "zh/../shards/en"])
def test_a_folder_is_the_same_however_it_is_written(tmp_path: Path, other: str) -> None:
    path = write(tmp_path / "run.yaml", changed("data", to=[{"folder": "shards/en"}, {"folder": other}]))
    with pytest.raises(SettingsError, match="'data' names a folder twice"):
        load_run_settings(path)


def test_what_was_loaded_can_be_written_and_loaded_again(tmp_path: Path) -> None:
    settings = load_run_settings(write(tmp_path / "run.yaml", RUN))
    again = load_run_settings(write(tmp_path / "elsewhere" / "run.json", settings.model_dump(mode="json")))
    assert again == settings
    assert isinstance(again, RunSettings)


def training(batch: int, micro_batch: int) -> TrainingSettings:
    return TrainingSettings(batch=batch, parallel=ParallelSettings(micro_batch=micro_batch))


@pytest.mark.parametrize(
    ("batch", "micro_batch", "ranks", "micro_batches"), [(16, 16, 1, 1), (16, 4, 2, 2), (24, 3, 4, 2), (5, 5, 1, 1)]
)
def test_a_batch_is_divided_over_ranks_and_micro_batches(
    batch: int, micro_batch: int, ranks: int, micro_batches: int
) -> None:
    assert training(batch, micro_batch).gradient_accumulation(batch, ranks) == micro_batches


@pytest.mark.parametrize(("batch", "micro_batch", "ranks"), [(16, 3, 1), (16, 16, 2), (16, 4, 3), (4, 8, 1)])
def test_a_micro_batch_that_does_not_divide_is_refused(batch: int, micro_batch: int, ranks: int) -> None:
    message = (
        f"batch {batch} is no multiple of micro_batch {micro_batch} times {ranks} rank(s) = {micro_batch * ranks}: "
        "change one of them"
    )
    with pytest.raises(SettingsError) as error:
        training(batch, micro_batch).gradient_accumulation(batch, ranks)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"heads": 6, "width": 240}, "'parallel.sequence_ranks' = 4 is no divisor of 'model.heads' = 6"),
        (
            {"heads": 8, "key_value_heads": 2},
            "'parallel.sequence_ranks' = 4 is no divisor of 'model.key_value_heads' = 2",
        ),
        ({"context": 62}, "'parallel.sequence_ranks' = 4 is no divisor of the context 62"),
        ({"architecture": "lstm"}, "'parallel.sequence_ranks' = 4: lstm reads one token after the other"),
    ],
)
def test_sequences_that_cannot_be_shared_are_refused(model: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        TrainingSettings.model_validate({"model": model, "parallel": {"sequence_ranks": 4}})


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({"model": {"heads": 6, "width": 240}}, "is no divisor of 'model.heads' = 6"),
        ({"model": {"heads": 8, "key_value_heads": 2}}, "is no divisor of 'model.key_value_heads' = 2"),
        ({"model": {"feed_forward_width": 66}}, "is no divisor of 'model.feed_forward_width' = 66"),
        ({"model": {"architecture": "gru"}}, "'model.architecture' is gru, which has no heads to share"),
        ({"model": {"dropout": 0.1}}, "write 'model.dropout' = 0"),
        ({"optimizer": {"name": "muon"}}, "write another 'optimizer.name'"),
        ({"parallel": {"sequence_ranks": 2}}, "write 'parallel.sequence_ranks' = 1"),
        ({"parallel": {"zero_stage": 3}}, "write 'parallel.zero_stage' = 1 or 2"),
        ({"parallel": {"zero_stage": 0}}, "write 'parallel.zero_stage' = 1, or 'parallel.precision' = 'float32'"),
    ],
)
def test_layers_that_cannot_be_shared_are_refused(training: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=rf"'parallel.tensor_ranks' = 4.*{re.escape(message)}"):
        TrainingSettings.model_validate(training | {"parallel": {"tensor_ranks": 4, **training.get("parallel", {})}})


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"architecture": "lstm", "heads": 1, "key_value_heads": None}, "with lstm write 'bfloat16'"),
        ({"width": 72, "heads": 3, "key_value_heads": 3}, "model.width gives a rank 72"),
        ({"feed_forward_width": 72}, "model.feed_forward_width gives a rank 36"),
        ({"key_value_heads": 2, "head_width": 8}, "model.key_value_heads times head_width gives a rank 8"),
    ],
)
def test_float8_multiplies_in_sixteens(model: dict[str, Any], message: str) -> None:
    ranks = 1 if {"architecture", "width"} & set(model) else 2
    shape = {"width": 64, "heads": 4, "key_value_heads": 4, "feed_forward_width": 128} | model
    with pytest.raises(ValueError, match=re.escape(message)):
        TrainingSettings.model_validate(
            {"model": shape, "parallel": {"precision": "float8", "tensor_ranks": ranks, "zero_stage": 1}}
        )


@pytest.mark.parametrize("shared", ["sequence_ranks", "tensor_ranks"])
def test_ranks_that_share_sequences_or_layers_count_once(shared: str) -> None:
    parallel = ParallelSettings.model_validate({"micro_batch": 4, shared: 2})
    settings = TrainingSettings(batch=16, parallel=parallel)
    assert settings.gradient_accumulation(16, 4) == 2
    with pytest.raises(SettingsError, match=rf"3 rank\(s\) are no multiple of 'parallel.{shared}' = 2"):
        settings.gradient_accumulation(16, 3)
    with pytest.raises(SettingsError, match=r"batch 16 is no multiple of micro_batch 4 times 3 groups of 2 ranks = 12"):
        settings.gradient_accumulation(16, 6)


def test_tokens_of_a_training() -> None:
    assert TrainingSettings().tokens == 1000 * 16 * 256


def test_the_defaults_can_be_trained() -> None:
    settings = TrainingSettings()
    assert settings.gradient_accumulation(settings.batch, 1) == 1
    assert all(field.description for field in TrainingSettings.model_fields.values())


def test_tokens_of_phases() -> None:
    settings = TrainingSettings.model_validate(
        {
            "steps": 30,
            "batch": 4,
            "model": {"context": 64},
            "curriculum": [{"steps": 10, "context": 16}, {"steps": 20, "batch": 8}],
        }
    )
    assert settings.tokens == 10 * 4 * 16 + 20 * 8 * 64
    assert [settings.tokens_after(steps) for steps in (0, 10, 11)] == [0, 640, 640 + 8 * 64]
    assert TrainingSettings().phases == [PhaseSettings(steps=1000, batch=16, context=256)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"curriculum": [{"steps": 10}]}, "'steps' is 1000, but the phases of 'curriculum' have 10 together"),
        ({"curriculum": [{"steps": 1000, "context": 100}]}, r"'curriculum.0.context' = 100 is no divisor of .* 256"),
        (
            {"curriculum": [{"steps": 1000, "context": 128}], "samples": {"packing": "best_fit"}},
            "rows packed by best_fit have one length",
        ),
    ],
)
def test_phases_that_are_not_possible(changes: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        TrainingSettings.parse(changes, origin="test")
