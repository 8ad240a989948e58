from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tokenizers import Tokenizer, models

from training.artifact import file_sha256
from training.permutation import SampleOrderError
from training.preflight import (
    check_disk,
    check_run,
    checkpoint_bytes,
    open_data,
    run_fingerprint,
)
from training.run_settings import RunSettings, TrainingSettings
from training.samples import recorded
from training.settings import SettingsError
from training.shards import ShardError, Shards, ShardWriter, Split, open_shards

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
    with pytest.raises(ShardError, match="en has 20 training tokens, too few for one sequence of 20; shorten"):
        check_run(run(tmp_path, "en", training=model(context=20)), ranks=1)


def test_no_validation_document_is_refused(tmp_path: Path, vocabulary: Path) -> None:
    write_shards(tmp_path / "en", vocabulary)
    write_shards(tmp_path / "zh", vocabulary)
    with pytest.raises(ShardError, match="no source has a validation document; add documents, split"):
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
    with pytest.raises(SampleOrderError, match="weight of 'en' is 1e-09 of all weights"):
        check_run(settings.model_copy(update={"data": [light, settings.data[1]]}), ranks=1)


def test_checkpoints_larger_than_the_disk_are_refused(tmp_path: Path, vocabulary: Path) -> None:
    write_shards(tmp_path / "en", vocabulary, validation=[[1]])
    with pytest.raises(SettingsError, match=r"checkpoints need about \d+\.\d GB .* lower 'keep_checkpoints'"):
        check_run(run(tmp_path, "en", training=model(layers=10**12)), ranks=1)


def test_a_run_s_own_checkpoints_are_no_reason_to_refuse_it(
    tmp_path: Path, vocabulary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_shards(tmp_path / "en", vocabulary, validation=[[1]])
    settings = run(tmp_path, "en")
    training, _ = check_run(settings, ranks=1)
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=0))
    with pytest.raises(SettingsError, match="checkpoints need about"):
        check_disk(Path(settings.output), training)
    checkpoint = Path(settings.output) / "checkpoints" / "step-0000000250"
    checkpoint.mkdir(parents=True)
    (checkpoint / "weights.pt").write_bytes(bytes(3 * checkpoint_bytes(training)))
    check_disk(Path(settings.output), training)


def test_the_best_checkpoint_needs_room_beside_the_newest(
    tmp_path: Path, vocabulary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_shards(tmp_path / "en", vocabulary, validation=[[1]])
    training, _ = check_run(run(tmp_path, "en"), ranks=1)
    # The newest two, and one that is being written.
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=3 * checkpoint_bytes(training)))
    check_disk(tmp_path, training)
    with pytest.raises(SettingsError, match="checkpoints need about"):
        check_disk(tmp_path, training.model_copy(update={"keep_best": True}))


def test_only_a_finished_run_is_continued(tmp_path: Path, vocabulary: Path) -> None:
    write_shards(tmp_path / "en", vocabulary, validation=[[1]])
    first = run(tmp_path, "en")
    _, sources = check_run(first, ranks=1)
    folder = Path(first.output)
    (folder / "run.json").write_text(recorded(first, sources).model_dump_json())
    second = first.model_copy(update={"continue_from": str(folder), "output": str(tmp_path / "second")})
    with pytest.raises(SettingsError, match=r"run holds no finished training: there is no report\.json in it"):
        check_run(second, ranks=1)
    (folder / "report.json").write_text("{}")
    check_run(second, ranks=1)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"layers": 2}, "layers"),
        ({"heads": 1, "key_value_heads": 1, "head_width": 16}, "heads"),
        ({"query_key_norm": False}, "query_key_norm"),
        ({"tied_embedding": True}, "tied_embedding"),
        ({"rope_base": 5000.0}, "rope_base"),
        ({"context": 16}, "context"),
        ({"dropout": 0.1, "initial_std": 0.1, "key_value_heads": None, "head_width": 8}, None),
    ],
)
def test_a_run_is_continued_with_its_own_model(
    tmp_path: Path, vocabulary: Path, changes: dict[str, Any], named: str | None
) -> None:
    write_shards(tmp_path / "en", vocabulary, validation=[[1]])
    first = run(tmp_path, "en")
    training, sources = check_run(first, ranks=1)
    folder = Path(first.output)
    record = recorded(first.model_copy(update={"training": training}), sources)
    (folder / "run.json").write_text(record.model_dump_json())
    (folder / "report.json").write_text("{}")
    second = run(tmp_path, "en", training=model(**changes)).model_copy(
        update={"continue_from": str(folder), "output": str(tmp_path / "second")}
    )
    if named is None:
        check_run(second, ranks=1)
        return
    with pytest.raises(SettingsError, match=rf"was trained with another 'model\.{named}'; use the same"):
        check_run(second, ranks=1)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(bytes(content))


def end_of_document_inside(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(bytes(2) + content[2:])


def garbage(path: Path) -> None:
    path.write_bytes(b"PAR1")


def of_another_shard(path: Path) -> None:
    path.write_bytes((path.parents[1] / "zh" / path.name).read_bytes())


@pytest.mark.parametrize(
    ("damage", "name", "message"),
    [
        (flip, "train-00000.bin", "is damaged: its bytes do not match the hash"),
        (flip, "validation-00000.bin", "is damaged: its bytes do not match the hash"),
        (end_of_document_inside, "train-00000.bin", "is damaged: its bytes do not match the hash"),
        (flip, "train-00000.index.parquet", "is damaged: its bytes do not match the hash"),
        (garbage, "train-00000.index.parquet", "is damaged: its bytes do not match the hash"),
        (garbage, "validation-00000.index.parquet", "is damaged: its bytes do not match the hash"),
        (of_another_shard, "train-00000.index.parquet", "is damaged: its bytes do not match the hash"),
    ],
)
@pytest.mark.parametrize("packing", ["cut", "best_fit"])
def test_damaged_shards_are_refused(
    tmp_path: Path, vocabulary: Path, damage: Callable[[Path], None], name: str, message: str, packing: str
) -> None:
    write_shards(tmp_path / "en", vocabulary, validation=[[1]])
    write_shards(tmp_path / "zh", vocabulary, train=[LONG[::-1]], validation=[[2]])
    damage(tmp_path / "en" / name)
    with pytest.raises(ShardError, match=rf"en/{re.escape(name)} {message}"):
        check_run(run(tmp_path, "zh", "en", training={"samples": {"packing": packing}}), ranks=1)


def test_shards_need_not_be_verified(tmp_path: Path, vocabulary: Path) -> None:
    write_shards(tmp_path / "en", vocabulary, validation=[[1]])
    settings = run(tmp_path, "en").model_copy(update={"verify_data": False})
    flip(tmp_path / "en" / "train-00000.bin")
    check_run(settings, ranks=1)
    garbage(tmp_path / "en" / "validation-00000.index.parquet")
    with pytest.raises(ShardError, match=r"validation-00000\.index\.parquet cannot be read"):
        check_run(settings, ranks=1)


def test_the_next_training_does_not_read_the_shards_again(
    tmp_path: Path, vocabulary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_shards(tmp_path / "en", vocabulary, validation=[[1]])
    verified: list[str] = []
    monkeypatch.setattr(Split, "verify_file", lambda split, number: verified.append(split.name))
    first = run(tmp_path, "en")
    for name in ("run", "run", "next"):
        check_run(first.model_copy(update={"output": str(tmp_path / "runs" / name)}), ranks=1)
    assert sorted(verified) == ["train", "validation"]


def test_shards_on_object_storage_are_not_fetched_to_be_verified(tmp_path: Path, vocabulary: Path) -> None:
    write_shards(tmp_path / "en", vocabulary, validation=[[1]])
    local = run(tmp_path, "en", training={"samples": {"shuffle_chunk_tokens": 1 << 20}})
    source = local.data[0].model_copy(update={"folder": (tmp_path / "en").as_uri()})
    check_run(local.model_copy(update={"data": [source]}), ranks=1)
    assert not list((tmp_path / "runs").rglob("*.bin"))


# Another value of every setting of a training, and whether a checkpoint can be gone on from with it.
ANOTHER: dict[str, tuple[object, bool]] = {
    "model.vocabulary_size": (50, False),
    "model.architecture": ("gpt2", False),
    "model.dropout": (0.1, False),
    "model.query_key_norm": (False, False),
    "model.experts": (2, False),
    "model.experts_per_token": (1, False),
    "model.expert_balance": (0.5, False),
    "model.norm_first": (True, False),
    "model.residual": (True, False),
    "model.layer_norm": (True, False),
    "model.truncation": (2, False),
    "model.initialisation": ("xavier", False),
    "model.depth_scaling": (False, False),
    "model.base_width": (8, False),
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
    "model.previous_token_heads": (1, False),
    "model.zero_output_projections": (False, False),
    "optimizer.name": ("muon", False),
    "optimizer.other_learning_rate": (0.1, False),
    "optimizer.momentum": (0.5, False),
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
    "schedule.drops": ([0.1], False),
    "loss.z_loss": (0.1, False),
    "loss.label_smoothing": (0.1, False),
    "parallel.zero_stage": (2, True),
    "parallel.offload_optimizer": (True, True),
    "parallel.micro_batch": (1, True),
    "parallel.activation_checkpointing": ("full", True),
    "parallel.precision": ("bfloat16", False),
    "parallel.compile": (False, True),
    "parallel.sequence_ranks": (2, True),
    "parallel.tensor_ranks": (2, True),
    "parallel.deepspeed": ({"wall_clock_breakdown": True}, False),
    "samples.mixture.by": ("tokens", False),
    "samples.mixture.temperature": (3.0, False),
    "samples.mixture.max_epochs": (9.0, False),
    "samples.packing": ("best_fit", False),
    "samples.document_mask": (True, False),
    "samples.fill_in_the_middle": (0.5, False),
    "samples.suffix_first": (0.1, False),
    "samples.shuffle_chunk_tokens": (1 << 20, False),
    "curriculum": ([{"steps": 1000}], False),
    "averaging": (0.9, False),
    "steps": (10, False),
    "batch": (8, False),
    "seed": (1, False),
    "log_every": (1, True),
    "inspect_every": (1, True),
    "patience": (3, True),
    "keep_best": (True, True),
    "keep_every": (100, True),
    "verify_every": (3, True),
    "spikes.deviations": (0.0, False),
    "spikes.window": (50, False),
    "spikes.least": (1.0, False),
    "spikes.most_skipped": (1, False),
    "watchdog.factor": (5.0, True),
    "watchdog.least_seconds": (5.0, True),
    "watchdog.pause_seconds": (5.0, True),
    "profile.steps": (1, True),
    "profile.after": (1, True),
    "validate_every": (1, True),
    "validation_documents": (1, True),
    "checkpoint_every": (1, True),
    "keep_checkpoints": (1, True),
}


# Settings that not every architecture, initialisation or optimizer has.
ARCHITECTURE = {
    "model.architecture": "decoder",
    "model.norm_first": "transformer",
    "model.residual": "lstm",
    "model.layer_norm": "lstm",
    "model.truncation": "lstm",
}
INITIALISATION = {"model.base_width": "mup"}
OPTIMIZER = {"optimizer.other_learning_rate": "muon", "optimizer.momentum": "muon"}


def leaves(values: dict[str, Any], prefix: str = "") -> set[str]:
    return {
        name
        for key, value in values.items()
        for name in (leaves(value, f"{prefix}{key}.") if isinstance(value, dict) and value else {f"{prefix}{key}"})
    }


def test_the_fingerprint_ignores_how_the_work_is_spread_and_reported(tmp_path: Path, vocabulary: Path) -> None:
    sources = [write_shards(tmp_path / "en", vocabulary)]
    values = TrainingSettings.model_validate(TRAINING).model_dump(mode="json")
    assert leaves(values) == set(ANOTHER)
    settings = run(tmp_path, "en")

    def found(training: dict[str, Any]) -> str:
        return run_fingerprint(
            settings.model_copy(update={"training": TrainingSettings.model_validate(training)}), sources
        )

    for path, (value, ignored) in ANOTHER.items():
        *groups, key = path.split(".")
        before = deepcopy(values)
        if path in ARCHITECTURE:
            before["model"] |= {"architecture": ARCHITECTURE[path], "key_value_heads": None}
        if path in INITIALISATION:
            before["model"] |= {"initialisation": INITIALISATION[path]}
        if path in OPTIMIZER:
            before["optimizer"] |= {"name": OPTIMIZER[path]}
        other = deepcopy(before)
        inner = other
        for group in groups:
            inner = inner[group]
        inner[key] = value
        assert other != before, path
        assert (found(other) == found(before)) == ignored, path


def test_the_fingerprint_knows_the_data(tmp_path: Path, vocabulary: Path) -> None:
    one = write_shards(tmp_path / "one", vocabulary)
    same = write_shards(tmp_path / "copy" / "one", vocabulary, validation=[[1, 2]])
    other = write_shards(tmp_path / "other", vocabulary, train=[LONG[::-1]])

    def found(sources: list[Shards], weights: list[float]) -> str:
        data = [
            {"folder": str(source.folder), "weight": weight} for source, weight in zip(sources, weights, strict=True)
        ]
        settings = RunSettings.model_validate(
            {"training": TRAINING, "data": data, "vocabulary": str(vocabulary), "output": str(tmp_path / "run")}
        )
        return run_fingerprint(settings, sources)

    original = found([one, other], [1.0, 1.0])
    assert found([same, other], [1.0, 1.0]) == original
    assert found([other, one], [1.0, 1.0]) != original
    assert found([one, other], [1.0, 2.0]) != original
    assert found([one], [1.0]) != original
    (vocabulary / "tokenizer.json").write_text("[]")
    encoded_otherwise = write_shards(tmp_path / "again" / "one", vocabulary)
    assert found([encoded_otherwise, other], [1.0, 1.0]) != original


def test_two_sources_of_one_dump_are_refused(tmp_path: Path, vocabulary: Path) -> None:
    write_shards(tmp_path / "en", vocabulary, validation=[[1]])
    write_shards(tmp_path / "other" / "en", vocabulary)
    with pytest.raises(ShardError, match="two of the sources are of one dump: en, en"):
        check_run(run(tmp_path, "en", "other/en"), ranks=1)


def test_phases_are_checked(tmp_path: Path, vocabulary: Path) -> None:
    write_shards(tmp_path / "en", vocabulary, validation=[[1]])
    phases = [{"steps": 990}, {"steps": 10, "batch": 6}]
    with pytest.raises(SettingsError, match=r"batch 6 is no multiple of micro_batch 2 times 2 rank\(s\) = 4"):
        check_run(run(tmp_path, "en", training={"curriculum": phases}), ranks=2)
    phases = [{"steps": 1000, "weights": {"zh": 1.0}}]
    with pytest.raises(SettingsError, match=r"'curriculum\.0\.weights' names 'zh', known: en"):
        check_run(run(tmp_path, "en", training={"curriculum": phases}), ranks=1)
    phases = [{"steps": 1000, "weights": {"en": 0.0}}]
    with pytest.raises(SampleOrderError, match="phase 0 reads no source"):
        check_run(run(tmp_path, "en", training={"curriculum": phases}), ranks=1)


def test_more_epochs_than_the_limit_are_refused(tmp_path: Path, vocabulary: Path) -> None:
    write_shards(tmp_path / "en", vocabulary, validation=[[1]])
    samples = {"mixture": {"max_epochs": 2.0}}
    with pytest.raises(SampleOrderError, match=r"source 'en' would be read .* more than 'max_epochs' = 2"):
        check_run(run(tmp_path, "en", training={"samples": samples}), ranks=1)


def test_fill_in_the_middle_needs_its_tokens(tmp_path: Path, vocabulary: Path) -> None:
    tokenizer = Tokenizer(models.WordLevel({"a": 0, "<|fim_prefix|>": 1}, unk_token="a"))
    tokenizer.save(str(vocabulary / "tokenizer.json"))
    write_shards(tmp_path / "en", vocabulary, validation=[[1]])
    samples = {"fill_in_the_middle": 0.5}
    with pytest.raises(SampleOrderError, match=r"needs the tokens <\|fim_middle\|>, <\|fim_suffix\|>, which"):
        check_run(run(tmp_path, "en", training={"samples": samples}), ranks=1)
