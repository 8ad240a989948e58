"""From a settings class to the typed fields, defaults and help texts of Dagster's launchpad."""

from __future__ import annotations

import types
import typing
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import dagster as dg
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from training.settings import Settings


def launchpad_schema(settings: type[Settings], *, without: frozenset[str] = frozenset()) -> dict[str, dg.Field]:
    """Config schema of an asset whose settings are this class.

    Args:
        settings: Settings class; its fields' descriptions become the launchpad's help.
        without: Fields that the pipeline fills in itself (paths, sizes known from upstream).

    Raises:
        TypeError: For a field type that the launchpad cannot show.
    """
    return {
        name: _field(f"{settings.__name__}.{name}", field)
        for name, field in settings.model_fields.items()
        if name not in without
    }


def _field(name: str, field: FieldInfo) -> dg.Field:
    description = field.description
    nested = field.annotation if isinstance(field.annotation, type) and issubclass(field.annotation, Settings) else None
    if nested is not None:
        return dg.Field(_shape(nested), is_required=False, description=description)
    default = field.get_default(call_default_factory=True)
    required = default is PydanticUndefined
    kind = _config_type(name, field.annotation)
    if required:
        return dg.Field(kind, is_required=True, description=description)
    if isinstance(default, Settings):
        default = default.model_dump(mode="json")
    if isinstance(default, tuple):
        default = list(default)
    return dg.Field(kind, is_required=False, default_value=default, description=description)


def _config_type(name: str, annotation: Any) -> Any:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation in (int, float, bool, str):
        return annotation
    if annotation is Path:
        return str
    if origin is Literal:
        if all(isinstance(value, int) for value in arguments):
            return int  # Dagster's enumerations hold strings only; the settings class checks the value.
        return dg.Enum(name.replace(".", "_"), [dg.EnumValue(value) for value in arguments])
    if origin in (typing.Union, types.UnionType) and type(None) in arguments:
        (inner,) = (argument for argument in arguments if argument is not type(None))
        return dg.Noneable(_config_type(name, inner))
    if origin in (list, tuple):
        return dg.Array(_config_type(name, arguments[0]))
    if annotation == dict[str, Any]:
        return dg.Permissive()  # type: ignore[no-untyped-call]
    if origin is dict:
        return dg.Map(str, _config_type(name, arguments[1]))  # type: ignore[no-untyped-call]
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return _shape(annotation)
    raise TypeError(f"the launchpad cannot show {name}: {annotation}")


def _shape(settings: type[Settings]) -> dg.Shape:
    return dg.Shape(launchpad_schema(settings))  # type: ignore[no-untyped-call]
