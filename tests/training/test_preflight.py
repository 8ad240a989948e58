from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from training.artifact import file_sha256
from training.preflight import check_run, open_data, run_fingerprint
from training.run_settings import RunSettings, TrainingSettings
from training.sample_order import SampleOrderError
from training.settings import SettingsError
from training.shards import ShardError, Shards, ShardWriter, open_shards

TRAINING: dict[str, Any] = {
    "model": {"width": 16, "layers": 1, "heads": 2, "key_value_heads": 2, "feed_forward_width": 16, "context": 8},
    "batch": 4,
    "parallel": {"micro_batch": 2},
}
LONG = list(range(1, 20))


def write_shards(
    folder: Path,
    vocabulary: Path,
    *,
    train: Sequence[Sequence[int]] = (LONG,),
    validation: Sequence[Sequence[int]] = (),
) -> Shards:
    folder.mkdir(parents=True)
    with ShardWriter(
        folder,
        vocabulary_hash=file_sha256(vocabulary / "tokenizer.json"),
        vocabulary_size=50,
        end_of_document=0,
        language="en",
        source="house",
        dump=folder.name,
    ) as writer:
        for number, ids in enumerate(train):
            writer.add("train", f"train{number}", ids, bytes=len(ids))
        for number, ids in enumerate(validation):
            writer.add("validation", f"validation{number}", ids, bytes=len(ids))
    return open_shards(folder)


@pytest.fixture
def vocabulary(tmp_path: Path) -> Path:
    folder = tmp_path / "vocabulary"
    folder.mkdir()
    (folder / "tokenizer.json").write_text("{}")
    return folder


def run(tmp_path: Path, *sources: str, training: dict[str, Any] | None = None) -> RunSettings:
    return RunSettings.model_validate(
        {
            "training": TRAINING | (training or {}),
            "data": [{"folder": str(tmp_path / source)} for source in sources],
            "vocabulary": str(tmp_path / "vocabulary"),
            "output": str(tmp_path / "runs" / "run"),
        }
    )


def model(**changes: object) -> dict[str, Any]:
    return {"model": TRAINING["model"] | changes}


def test_a_good_run_passes_with_the_vocabularys_size(tmp_path: Path, vocabulary: Path) -> None:
    write_shards(tmp_path / "en", vocabulary, validation=[[1]])
    write_shards(tmp_path / "zh", vocabulary)
    settings = run(tmp_path, "zh", "en")
    training, sources = check_run(settings, ranks=2)
    assert [source.dump for source in sources] == ["zh", "en"]
    assert training.model.vocabulary_size == 50
    assert training.model_dump(exclude={"model": {"vocabulary_size"}}) == settings.training.model_dump(
        exclude={"model": {"vocabulary_size"}}
    )
    assert (tmp_path / "runs" / "run").is_dir()
    assert check_run(run(tmp_path, "zh", "en", training=model(vocabulary_size=50)), ranks=1)[0] == training


def test_another_vocabulary_size_is_refused(tmp_path: Path, vocabulary: Path) -> None:
    write_shards(tmp_path / "en", vocabulary, validation=[[1]])
    with pytest.raises(SettingsError, match=r"'model\.vocabulary_size' = 51, but the shards have 50; write 0"):
        check_run(run(tmp_path, "en", training=model(vocabulary_size=51)), ranks=1)


def test_a_missing_tokenizer_is_refused(tmp_path: Path, vocabulary: Path) -> None:
    write_shards(tmp_path / "en", vocabulary, validation=[[1]])
    (vocabulary / "tokenizer.json").unlink()
    with pytest.raises(SettingsError, match=r"'vocabulary': there is no .*vocabulary/tokenizer\.json"):
        open_data(run(tmp_path, "en"))


def test_another_vocabulary_is_refused(tmp_path: Path, vocabulary: Path) -> None:
    write_shards(tmp_path / "en", vocabulary, validation=[[1]])
    (vocabulary / "tokenizer.json").write_text("[]")
    write_shards(tmp_path / "zh", vocabulary, validation=[[1]])
    with pytest.raises(ShardError, match=r"en/shards\.json was encoded with vocabulary"):
        open_data(run(tmp_path, "zh", "en"))


def test_missing_shards_are_refused(tmp_path: Path, vocabulary: Path) -> None:
    with pytest.raises(ShardError, match=r"en has no shards\.json"):
        check_run(run(tmp_path, "en"), ranks=1)
    assert not (tmp_path / "runs").exists()


def test_a_context_longer_than_the_data_is_refused(tmp_path: Path, vocabulary: Path) -> None:
    write_shards(tmp_path / "en", vocabulary, validation=[[1]])
    check_run(run(tmp_path, "en", training=model(context=19)), ranks=1)
    with pytest.raises(ShardError, match="en has 20 training tokens, too few for one window of 21; shorten"):
        check_run(run(tmp_path, "en", training=model(context=20)), ranks=1)


def test_no_validation_document_is_refused(tmp_path: Path, vocabulary: Path) -> None:
    write_shards(tmp_path / "en", vocabulary)
    write_shards(tmp_path / "zh", vocabulary)
    with pytest.raises(ShardError, match="no source has a validation document; give token_shards a larger"):
        open_data(run(tmp_path, "en", "zh"))


def test_a_batch_that_cannot_be_divided_is_refused(tmp_path: Path, vocabulary: Path) -> None:
    write_shards(tmp_path / "en", vocabulary, validation=[[1]])
    with pytest.raises(SettingsError, match=r"batch 4 is no multiple of micro_batch 2 times 3 rank\(s\) = 6"):
        check_run(run(tmp_path, "en"), ranks=3)


def test_a_weight_too_small_for_any_sample_is_refused(tmp_path: Path, vocabulary: Path) -> None:
    for name in ("en", "zh"):
        write_shards(tmp_path / name, vocabulary, validation=[[1]])
    settings = run(tmp_path, "en", "zh")
    light = settings.data[0].model_copy(update={"weight": 1e-9})
    with pytest.raises(SampleOrderError, match="weight is 1e-09 of all weights"):
        check_run(settings.model_copy(update={"data": [light, settings.data[1]]}), ranks=1)


def test_checkpoints_larger_than_the_disk_are_refused(tmp_path: Path, vocabulary: Path) -> None:
    write_shards(tmp_path / "en", vocabulary, validation=[[1]])
    with pytest.raises(SettingsError, match=r"checkpoints need about \d+\.\d GB .* lower 'keep_checkpoints'"):
        check_run(run(tmp_path, "en", training=model(layers=10**12)), ranks=1)


# Another value of every setting of a training, and whether a checkpoint can be gone on from with it.
ANOTHER: dict[str, tuple[object, bool]] = {
    "model.vocabulary_size": (50, False),
    "model.width": (32, False),
    "model.layers": (2, False),
    "model.heads": (4, False),
    "model.key_value_heads": (1, False),
    "model.head_width": (4, False),
    "model.feed_forward_width": (32, False),
    "model.context": (16, False),
    "model.rope_base": (5000.0, False),
    "model.norm_epsilon": (1e-5, False),
    "model.tied_embedding": (True, False),
    "model.initial_std": (0.1, False),
    "model.zero_output_projections": (False, False),
    "optimizer.learning_rate": (0.1, False),
    "optimizer.beta1": (0.5, False),
    "optimizer.beta2": (0.5, False),
    "optimizer.epsilon": (1e-6, False),
    "optimizer.weight_decay": (0.0, False),
    "optimizer.gradient_clipping": (0.0, False),
    "schedule.shape": ("linear", False),
    "schedule.warmup": (0.5, False),
    "schedule.decay": (0.5, False),
    "schedule.final": (0.5, False),
    "parallel.zero_stage": (2, False),
    "parallel.offload_optimizer": (True, True),
    "parallel.micro_batch": (1, True),
    "parallel.activation_checkpointing": (True, True),
    "parallel.precision": ("bfloat16", False),
    "parallel.compile": (False, True),
    "steps": (10, False),
    "batch": (8, False),
    "seed": (1, False),
    "log_every": (1, True),
    "validate_every": (1, True),
    "validation_documents": (1, True),
    "checkpoint_every": (1, True),
    "keep_checkpoints": (1, True),
}


def leaves(values: dict[str, Any], prefix: str = "") -> set[str]:
    return {
        name
        for key, value in values.items()
        for name in (leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}"})
    }


def test_the_fingerprint_ignores_how_the_work_is_spread_and_reported(tmp_path: Path, vocabulary: Path) -> None:
    sources = [write_shards(tmp_path / "en", vocabulary)]
    values = TrainingSettings.model_validate(TRAINING).model_dump(mode="json")
    assert leaves(values) == set(ANOTHER)
    original = run_fingerprint(TrainingSettings.model_validate(values), sources, [1.0])
    for path, (value, ignored) in ANOTHER.items():
        *group, key = path.split(".")
        other = {name: dict(inner) if isinstance(inner, dict) else inner for name, inner in values.items()}
        (other[group[0]] if group else other)[key] = value
        assert other != values, path
        found = run_fingerprint(TrainingSettings.model_validate(other), sources, [1.0])
        assert (found == original) == ignored, path


def test_the_fingerprint_knows_the_data(tmp_path: Path, vocabulary: Path) -> None:
    settings = TrainingSettings.model_validate(TRAINING)
    one = write_shards(tmp_path / "one", vocabulary)
    same = write_shards(tmp_path / "same", vocabulary, validation=[[1, 2]])
    other = write_shards(tmp_path / "other", vocabulary, train=[LONG[::-1]])
    original = run_fingerprint(settings, [one, other], [1.0, 1.0])
    assert run_fingerprint(settings, [same, other], [1.0, 1.0]) == original
    assert run_fingerprint(settings, [other, one], [1.0, 1.0]) != original
    assert run_fingerprint(settings, [one, other], [1.0, 2.0]) != original
    assert run_fingerprint(settings, [one], [1.0]) != original
    (vocabulary / "tokenizer.json").write_text("[]")
    encoded_otherwise = write_shards(tmp_path / "again", vocabulary)
    assert run_fingerprint(settings, [encoded_otherwise, other], [1.0, 1.0]) != original
