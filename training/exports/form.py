"""What an exported model is, for each architecture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from torch import Tensor

from training.models import ModelSettings


class ExportError(RuntimeError):
    """A model folder is incomplete or not one that can be read here; the message names the file."""


class ExportForm(Protocol):
    """How a kind of model is written in a folder, and read again."""

    @property
    def model_types(self) -> tuple[str, ...]:
        """What ``config.json`` calls it."""

    def reads(self, configuration: Mapping[str, Any]) -> bool:
        """Whether a folder with this ``config.json`` is in this form."""

    def writes(self, settings: ModelSettings) -> bool:
        """Whether models of these settings are written in this form."""

    def configuration(self, settings: ModelSettings) -> dict[str, Any]:
        """``config.json`` without the ids of special tokens."""

    def settings(self, configuration: Mapping[str, Any]) -> ModelSettings:
        """The shape by ``config.json``.

        Raises:
            ExportError: If it is something that our model does not compute.
            KeyError, TypeError, ValueError: If it is not complete.
        """

    def exported(self, weights: Mapping[str, Tensor], settings: ModelSettings) -> dict[str, Tensor]:
        """Our parameters by name as the folder's tensors; a tied output layer is left out."""

    def imported(self, tensors: Mapping[str, Tensor], settings: ModelSettings) -> dict[str, Tensor]:
        """The folder's tensors as our parameters by name.

        Raises:
            KeyError: If one is missing.
        """


def must_be(configuration: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    """Refuse a configuration with something that our model always has otherwise.

    Raises:
        ExportError: Naming the key.
    """
    for key, value in known.items():
        if configuration.get(key, value) != value:
            raise ExportError(f"{key} is {configuration[key]!r}; this program computes only {value!r}")
