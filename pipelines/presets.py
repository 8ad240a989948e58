"""The presets: run configurations as the launchpad shows them, in ``pipelines/configs``."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import yaml

from training.settings import SettingsError, nearest

CONFIGS = Path(__file__).parent / "configs"


def preset_names() -> list[str]:
    """The presets that there are, in the order of their names."""
    return sorted(path.stem for path in CONFIGS.glob("*.yaml"))


def load_preset(name: str, *, assets: Collection[str] | None = None) -> dict[str, Any]:
    """The run configuration of a preset, or of any YAML file named by its path.

    Args:
        name: Preset or path.
        assets: Leave out the settings of all other assets: a job refuses settings of assets that it does not hold.

    Raises:
        SettingsError: If there is no such preset or file, or it is not YAML or no run configuration.
    """
    path = CONFIGS / f"{name}.yaml"
    if not path.is_file():
        path = Path(name)
    if not path.is_file():
        raise SettingsError(f"no preset '{name}': {nearest(name, preset_names())}")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"{path} cannot be read as YAML: {error}") from None
    if not isinstance(content, dict) or not isinstance(content.get("ops"), dict):
        raise SettingsError(f"{path} is no run configuration: it has to be a mapping with the key 'ops'")
    for asset, settings in content["ops"].items():
        if not isinstance(settings, dict) or not isinstance(settings.get("config", {}), dict):
            raise SettingsError(f"{path}: 'ops.{asset}' has to be a mapping with the key 'config'")
    if assets is not None:
        content["ops"] = {asset: settings for asset, settings in content["ops"].items() if asset in assets}
    return content
