"""The ``metadata`` column: a JSON object with sorted keys."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

NO_METADATA = "{}"
_NO_JSON = re.compile("NaN|Infinity")


def metadata_json(fields: Mapping[str, Any]) -> str:
    """The fields that hold something, as they stand in the column: without null, empty strings and empty lists."""
    return json_object({name: value for name, value in fields.items() if value not in (None, "", [], {})})


def add_metadata(metadata: str, fields: Mapping[str, Any]) -> str:
    """What stands in the column with further fields; those that are there stay as they are."""
    return json_object({**fields, **json.loads(metadata)}) if fields else metadata


def json_object(fields: Mapping[str, Any]) -> str:
    """All fields as they stand in the column.

    What JSON has no form for (a date) is written as its text; NaN and infinities become null; half a surrogate pair
    becomes ``?``.
    """
    if not fields:
        return NO_METADATA
    text = json_value(fields)
    if _NO_JSON.search(text):
        # Python writes and reads NaN and Infinity, which are no JSON.
        text = json_value(json.loads(text, parse_constant=lambda constant: None))
    return text.encode("utf-8", "replace").decode()


def json_value(value: Any) -> str:
    """Compact JSON with sorted keys; what it has no form for as its text."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
