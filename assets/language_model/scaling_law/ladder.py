"""Which trainings a ladder is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from assets.language_model.scaling_law.settings import ScalingLawSettings
from training.models import ModelSettings, parameter_count
from training.run_settings import TrainingSettings
from training.settings import SettingsError

_MULTIPLE = 8


@dataclass(frozen=True)
class Rung:
    """A training of the ladder, or the target.

    Attributes:
        training: Its settings, the vocabulary's size filled in.
        parameters: Of the model.
        tokens: Trained on.
    """

    training: TrainingSettings
    parameters: int
    tokens: int

    @property
    def name(self) -> str:
        """Layers, width and tokens."""
        return f"{self.training.model.layers}x{self.training.model.width}-{self.tokens}"


def ladder(settings: ScalingLawSettings, training: TrainingSettings) -> list[Rung]:
    """The trainings that the law is fitted to, the smallest first.

    Args:
        settings: The ladder.
        training: The preset's, the vocabulary's size filled in.

    Raises:
        SettingsError: If a size is impossible, or two are alike.
    """
    if settings.models:
        shapes = [
            _changed(training.model, changes, origin=f"'models.{place}'")
            for place, changes in enumerate(settings.models)
        ]
    else:
        shapes = [_smaller(training.model, share) for share in settings.shares]
    rungs = [
        _rung(settings, training, shape, ratio)
        for shape in sorted(shapes, key=parameter_count)
        for ratio in sorted(settings.tokens_per_parameter)
    ]
    names = [rung.name for rung in rungs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SettingsError(
            f"two trainings of the ladder are {twice[0]} (layers x width - tokens): give other 'shares', 'models' or "
            "'tokens_per_parameter'"
        )
    return rungs


def target(settings: ScalingLawSettings, training: TrainingSettings) -> Rung:
    """The training that is predicted.

    Raises:
        SettingsError: If its model is impossible.
    """
    shape = _changed(training.model, settings.target.model, origin="'target.model'")
    return _rung(settings, training, shape, settings.target.tokens_per_parameter)


def _smaller(model: ModelSettings, share: float) -> ModelSettings:
    if not 0 < share < 1:
        raise SettingsError(f"'shares': {share:g} is not between 0 and 1")
    heads = max(1, round(model.heads * share))
    width = heads * (model.width // model.heads)
    groups = model.heads // model.key_value_count
    changes: dict[str, Any] = {
        "width": width,
        "layers": max(1, round(model.layers * width / model.width)),
        "heads": heads,
        "feed_forward_width": max(
            _MULTIPLE, round(model.feed_forward_width * width / model.width / _MULTIPLE) * _MULTIPLE
        ),
    }
    if model.key_value_heads is not None:
        changes["key_value_heads"] = heads // groups if heads % groups == 0 else heads
    return _changed(model, changes, origin=f"'shares', {share:g}")


def _changed(model: ModelSettings, changes: Mapping[str, Any], *, origin: str) -> ModelSettings:
    return ModelSettings.parse(model.model_dump() | dict(changes), origin=origin)


def _rung(settings: ScalingLawSettings, training: TrainingSettings, shape: ModelSettings, ratio: float | None) -> Rung:
    if shape.initialisation == "mup" and shape.base_width is None:
        # Learning rates were tuned at the preset's width, and hold for the others by it.
        shape = shape.model_copy(update={"base_width": training.model.width})
    parameters = parameter_count(shape)
    steps = training.steps
    if ratio is not None:
        steps = max(1, round(ratio * parameters / (training.batch * shape.context)))
    faster = (training.model.width / shape.width) ** settings.learning_rate_power
    optimizer = training.optimizer
    other = optimizer.other_learning_rate
    changes = {
        "model": shape.model_dump(),
        "steps": steps,
        "optimizer": optimizer.model_dump()
        | {
            "learning_rate": optimizer.learning_rate * faster,
            "other_learning_rate": None if other is None else other * faster,
        },
        "validate_every": steps,
        "validation_documents": settings.validation_documents or training.validation_documents,
        "patience": 0,
        "keep_best": False,
        "keep_checkpoints": 1,
    }
    rung = TrainingSettings.parse(training.model_dump() | changes, origin="scaling-law")
    return Rung(rung, parameters, rung.tokens)
