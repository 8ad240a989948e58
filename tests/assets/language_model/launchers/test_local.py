from __future__ import annotations

import base64
import json
import socket
from pathlib import Path

import pytest

from assets.language_model.launchers.local import local_command
from assets.language_model.launchers.settings import LaunchSettings
from training.settings import SettingsError


def test_a_port_in_use_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=f"port {port} is in use"):
            local_command(tmp_path / "config.json", LaunchSettings(processes=1, port=port))


@pytest.mark.parametrize(
    ("visible", "devices"), [(None, [0, 1]), ("", [0, 1]), ("2,3,5", [2, 3]), ("GPU-a, 7", ["GPU-a", 7])]
)
def test_ranks_use_the_gpus_that_are_visible(tmp_path: Path, visible: str | None, devices: list[int | str]) -> None:
    command = local_command(tmp_path / "config.json", LaunchSettings(processes=2), visible=visible)
    world = next(word for word in command if word.startswith("--world_info=")).removeprefix("--world_info=")
    assert json.loads(base64.urlsafe_b64decode(world)) == {"localhost": devices}


def test_fewer_visible_gpus_than_ranks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="CUDA_VISIBLE_DEVICES names 1: 3"):
        local_command(tmp_path / "config.json", LaunchSettings(processes=2), visible="3")
