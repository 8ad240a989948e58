"""Start the ranks of a training, one file for each place where they can run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from assets.language_model.launchers.kubernetes import launch_kubernetes
from assets.language_model.launchers.launched import Launched
from assets.language_model.launchers.local import launch_local
from assets.language_model.launchers.settings import Launcher, LaunchSettings
from assets.language_model.launchers.shared_memory import remove_abandoned_shared_memory
from assets.language_model.launchers.slurm import launch_slurm
from assets.language_model.launchers.ssh import launch_ssh
from assets.language_model.launchers.torchrun import launch_torchrun
from training.stop_run import stop_run

_LAUNCHERS: dict[Launcher, Callable[..., AbstractContextManager[Launched]]] = {
    "local": launch_local,
    "ssh": launch_ssh,
    "kubernetes": launch_kubernetes,
    "slurm": launch_slurm,
    "torchrun": launch_torchrun,
}


def launch(
    config: Path, settings: LaunchSettings, *, environment: Mapping[str, str], log: Path
) -> AbstractContextManager[Launched]:
    """Start the trainer; on leaving the context, no rank of it is alive, and those that could have saved their work.

    The machines are looked at first (``training/node_check.py``).

    Args:
        config: The trainer's configuration file, in the run's folder.
        settings: Where, and how many ranks.
        environment: All variables of the ranks.
        log: File to which the ranks' output is appended.

    Raises:
        SettingsError: If it cannot be started so.
    """
    return _LAUNCHERS[settings.launcher](config, settings, environment=environment, log=log)


def remove_left_over(config: Path, settings: LaunchSettings) -> None:
    """Stop the ranks on this machine whose launcher was killed, and remove what those have left that were killed."""
    if settings.launcher in ("local", "torchrun"):
        stop_run(config, grace_seconds=settings.grace_seconds)
        remove_abandoned_shared_memory()
