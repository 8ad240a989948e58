"""The base of every settings class: immutable, checked before work starts, errors that name the field."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Self, get_args

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails


class SettingsError(ValueError):
    """A setting is unknown, missing or out of its range; the message names where it stands and what to write."""


class Settings(BaseModel):
    """Frozen pydantic model that refuses unknown keys.

    Subclasses declare typed fields with ``pydantic.Field(default, description=..., ge=...)``; the description is
    the help text shown in the Dagster launchpad.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def parse(cls, values: Mapping[str, Any], *, origin: str) -> Self:
        """Build from a mapping as read from YAML or JSON.

        Args:
            values: The keys and values of this settings class.
            origin: Where they come from (a file name, a launchpad section), for the error message.

        Raises:
            SettingsError: One line for each wrong key, with the nearest known key for an unknown one.
        """
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            lines = [_explain(cls, detail) for detail in error.errors()]
            raise SettingsError(f"{origin}: " + "; ".join(lines)) from None


def nearest(word: str, known: list[str]) -> str:
    """The sentence that helps someone who mistyped ``word``: the closest known word, or all of them."""
    close = difflib.get_close_matches(word, known, n=1)
    return f"did you mean '{close[0]}'?" if close else f"known: {', '.join(sorted(known))}"


def _explain(model: type[BaseModel], detail: ErrorDetails) -> str:
    location = detail["loc"]
    path = ".".join(str(part) for part in location)
    if detail["type"] == "extra_forbidden":
        known = list(_model_at(model, location[:-1]).model_fields)
        return f"unknown key '{path}', {nearest(str(location[-1]), known)}"
    if detail["type"] == "missing":
        return f"'{path}' is missing"
    message = detail["msg"].removeprefix("Value error, ")
    if not path:
        return message
    return f"'{path}' = {detail['input']!r}: {message}"


def _model_at(model: type[BaseModel], location: tuple[int | str, ...]) -> type[BaseModel]:
    for part in location:
        if isinstance(part, int) or part not in model.model_fields:
            continue
        annotation = model.model_fields[part].annotation
        candidates = [annotation, *get_args(annotation)]
        nested = [c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)]
        if nested:
            model = nested[0]
    return model
