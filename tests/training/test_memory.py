from __future__ import annotations

import pytest
import torch

from training.memory import check_memory, free_memory
from training.optimizer_settings import OptimizerSettings
from training.plan import memory
from training.run_settings import TrainingSettings
from training.settings import SettingsError

SETTINGS = TrainingSettings.model_validate(
    {
        "model": {
            "vocabulary_size": 1000,
            "width": 64,
            "layers": 2,
            "heads": 2,
            "feed_forward_width": 64,
            "context": 64,
        },
        "parallel": {"precision": "float32", "zero_stage": 0},
    }
)


def test_what_fits_passes_and_what_does_not_says_what_to_change() -> None:
    check_memory(SETTINGS, ranks=1, free=1 << 30)
    with pytest.raises(SettingsError) as error:
        check_memory(SETTINGS, ranks=1, free=1 << 20)
    message = str(error.value)
    assert message.startswith("each rank needs about 0.")
    assert "and has 0.0 GiB free: lower 'parallel.micro_batch'" in message


def test_what_fits_with_an_optimizer_of_one_state_is_not_refused() -> None:
    lion = SETTINGS.model_copy(update={"optimizer": OptimizerSettings(name="lion")})
    free = memory(lion, stage=0, ranks=1, low_precision=False).total
    check_memory(lion, ranks=1, free=free)
    with pytest.raises(SettingsError):
        check_memory(SETTINGS, ranks=1, free=free)
    with pytest.raises(SettingsError):
        check_memory(lion.model_copy(update={"averaging": 0.9}), ranks=1, free=free)


def test_the_hosts_memory_is_shared_by_its_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = free_memory(torch.device("cpu"))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert free_memory(torch.device("cpu")) == pytest.approx(alone / 4, rel=0.2)
