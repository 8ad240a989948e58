"""From dotted keys and ranges to settings of a training."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from pydantic import ValidationError

from assets.language_model.tuning.settings import SearchRange, TuneSettings, Value
from training.run_settings import TrainingSettings
from training.settings import SettingsError, nearest

# What tuning itself decides, or what does not change what is learned.
DECIDED = ("steps", "validate_every", "validation_documents", "patience", "keep_best", "keep_checkpoints", "profile")
# A place within a range that is no round number.
_WITHIN = 0.381966


def distribution(search: SearchRange) -> BaseDistribution:
    """Optuna's form of a range."""
    if search.type == "choice":
        return CategoricalDistribution(search.choices or [])
    low, high = search.low or 0.0, search.high or 0.0
    if search.type == "int":
        return IntDistribution(int(low), int(high), log=search.log, step=search.step or 1)
    return FloatDistribution(low, high, log=search.log)


def with_values(training: TrainingSettings, values: Mapping[str, Any], *, origin: str) -> TrainingSettings:
    """A training's settings with other values at dotted keys.

    Raises:
        SettingsError: If there is no such key, or the settings are impossible; with ``origin``.
    """
    content = training.model_dump(mode="json")
    for key, value in values.items():
        set_value(content, key, value, origin=origin)
    return TrainingSettings.parse(content, origin=origin)


def set_value(content: dict[str, Any], key: str, value: Any, *, origin: str) -> None:
    """Set the value at a dotted key of nested settings.

    Raises:
        SettingsError: If there is no such key, or it is a group of settings.
    """
    *groups, last = key.split(".")
    for depth, name in enumerate([*groups, last]):
        if not isinstance(content, dict) or name not in content:
            known = list(content) if isinstance(content, dict) else []
            here = ".".join(key.split(".")[: depth + 1])
            help = nearest(name, known) if known else f"'{'.'.join(groups[:depth])}' is one value"
            raise SettingsError(f"{origin}: unknown key '{here}', {help}")
        if depth < len(groups):
            content = content[name]
    if isinstance(content[last], dict):
        raise SettingsError(
            f"{origin}: '{key}' is a group of settings; name one of it, {nearest('', list(content[last]))}"
        )
    content[last] = value


def value_at(training: TrainingSettings, key: str) -> Any:
    """The value at a dotted key, which has to be there."""
    content: Any = training.model_dump(mode="json")
    for name in key.split("."):
        content = content[name]
    return content


def check_search(settings: TuneSettings, training: TrainingSettings) -> None:
    """Refuse ranges of settings that do not exist or may not have such values.

    Whether values are possible together is only known by trial: those that are not are told and passed over.

    Raises:
        SettingsError: Naming the key and the value.
    """
    for key, search in settings.search.items():
        if key.split(".")[0] in DECIDED:
            raise SettingsError(f"'search': '{key}' is not searched for; tuning decides it, or it changes nothing")
        for value in _examples(search):
            content = training.model_dump(mode="json")
            set_value(content, key, value, origin="'search'")
            try:
                TrainingSettings.model_validate(content)
            except ValidationError as error:
                for detail in error.errors():
                    if ".".join(map(str, detail["loc"])).startswith(key):
                        raise SettingsError(f"'search.{key}': {value!r} is not possible, {detail['msg']}") from None


def preset_values(settings: TuneSettings, training: TrainingSettings) -> dict[str, Any] | None:
    """The preset's own values of what is searched; None if one is out of its range."""
    values = {key: value_at(training, key) for key in settings.search}
    possible = all(_within(settings.search[key], value) for key, value in values.items())
    return values if possible else None


def _within(search: SearchRange, value: Any) -> bool:
    if search.type == "choice":
        return json.dumps(value) in map(json.dumps, search.choices or [])
    if isinstance(value, bool) or not isinstance(value, int | float) or search.low is None or search.high is None:
        return False
    on_grid = search.type == "float" or (value - search.low) % (search.step or 1) == 0
    return search.low <= value <= search.high and on_grid


def _examples(search: SearchRange) -> list[Value]:
    if search.type == "choice":
        return list(search.choices or [])
    low, high = search.low or 0.0, search.high or 0.0
    if search.type == "int":
        return [int(low), int(high)]
    return [low, high, low + _WITHIN * (high - low)]
