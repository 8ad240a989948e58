"""Start the ranks of a training, one file for each place where they can run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from assets.language_model.launchers.launched import Launched
from assets.language_model.launchers.local import launch_local
from assets.language_model.launchers.settings import LaunchSettings

_LAUNCHERS: dict[str, Callable[..., AbstractContextManager[Launched]]] = {"local": launch_local}


def launch(
    config: Path, settings: LaunchSettings, *, environment: Mapping[str, str], log: Path
) -> AbstractContextManager[Launched]:
    """Start the trainer; on leaving the context, no rank of it is alive, and those that could have saved their work.

    Args:
        config: The trainer's configuration file.
        settings: Where, and how many ranks.
        environment: All variables of the ranks.
        log: File to which the ranks' output is appended.

    Raises:
        SettingsError: If it cannot be started so.
    """
    return _LAUNCHERS[settings.launcher](config, settings, environment=environment, log=log)
