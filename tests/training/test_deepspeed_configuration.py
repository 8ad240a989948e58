from __future__ import annotations

from typing import Any

import pytest

from training.deepspeed_configuration import bucket_size, conflicts, deepspeed_configuration, merged
from training.models import ModelSettings
from training.run_settings import TrainingSettings
from training.settings import SettingsError

MODEL = {"width": 16, "layers": 1, "heads": 2, "feed_forward_width": 16, "context": 8, "vocabulary_size": 32}


def configured(ranks: int = 2, deepspeed: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    parallel = {"zero_stage": 2, "micro_batch": 2, "precision": "bfloat16", "deepspeed": deepspeed or {}}
    settings = {"model": MODEL, "batch": 8, "parallel": parallel, **changes}
    return deepspeed_configuration(TrainingSettings.model_validate(settings), ranks)


def test_the_settings_become_deepspeeds_own() -> None:
    found = configured()
    assert found["train_batch_size"] == 8
    assert (found["train_micro_batch_size_per_gpu"], found["gradient_accumulation_steps"]) == (2, 2)
    assert found["zero_optimization"]["stage"] == 2
    assert found["bf16"] == {"enabled": True}
    assert found["gradient_clipping"] == 1.0
    assert configured(optimizer={"name": "muon"})["gradient_clipping"] == 0.0


def test_a_users_file_adds_what_no_setting_says() -> None:
    theirs = {
        "train_batch_size": "auto",
        "zero_optimization": {"stage": 2, "overlap_comm": True, "reduce_bucket_size": 12345},
        "comms_logger": {"enabled": True},
    }
    found = configured(deepspeed=theirs)
    assert found["train_batch_size"] == 8
    assert found["zero_optimization"]["overlap_comm"] is True
    assert found["zero_optimization"]["reduce_bucket_size"] == 12345
    assert found["comms_logger"] == {"enabled": True}


def test_every_conflict_is_named() -> None:
    theirs = {
        "train_micro_batch_size_per_gpu": 4,
        "zero_optimization": {"stage": 3},
        "optimizer": {"type": "AdamW"},
        "fp16": {"enabled": True},
        "zero_allow_untested_optimizer": False,
    }
    with pytest.raises(SettingsError) as error:
        configured(deepspeed=theirs)
    message = str(error.value)
    assert "'train_micro_batch_size_per_gpu' is 4 there and 2 by our settings; change it or 'parallel.mi" in message
    assert "'zero_optimization.stage' is 3 there and 2 by our settings; change it or 'parallel.zero_stage'" in message
    assert "'optimizer' is set here by 'optimizer'; leave it out" in message
    assert "'fp16' is set here by 'parallel.precision'" in message
    assert "'zero_allow_untested_optimizer' is False there and True by our settings; leave it out" in message


def test_offloading_is_a_setting_of_ours_and_the_place_may_be_a_disk() -> None:
    nvme = {"zero_optimization": {"offload_optimizer": {"device": "nvme", "nvme_path": "/scratch"}}}
    with pytest.raises(SettingsError, match=r"offload_optimizer.device' is 'nvme' there and 'none' by our settings"):
        configured(deepspeed=nvme)
    parallel = {"zero_stage": 2, "micro_batch": 2, "offload_optimizer": True, "deepspeed": nvme}
    found = configured(parallel=parallel)["zero_optimization"]["offload_optimizer"]
    assert (found["device"], found["nvme_path"]) == ("nvme", "/scratch")


def test_what_is_off_or_auto_is_no_conflict() -> None:
    assert conflicts({"a": 1}, {"fp16": {"enabled": False}, "a": "auto"}) == []
    found = merged({"a": 1, "b": {"c": 2}}, {"a": "auto", "b": {"d": "auto", "e": 3}})
    assert found == {"a": 1, "b": {"c": 2, "e": 3}}


def test_a_small_model_has_small_buckets() -> None:
    assert bucket_size(ModelSettings.model_validate(MODEL)) == 1 << 16
    large = ModelSettings(width=8192, layers=80, heads=64, feed_forward_width=28672, vocabulary_size=128256)
    assert bucket_size(large) == 500_000_000
