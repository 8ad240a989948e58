from __future__ import annotations

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
