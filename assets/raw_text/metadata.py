"""The ``metadata`` column: a JSON object with sorted keys."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

NO_METADATA = "{}"
_NO_JSON = re.compile("NaN|Infinity")


def metadata_json(fields: Mapping[str, Any]) -> str:
    """The fields that hold something, as they stand in the column.

    Null, empty strings and empty lists are left out; what JSON has no form for (a date) is written as its text; NaN and
    infinities become null; half a surrogate pair becomes ``?``.
    """
    chosen = {name: value for name, value in fields.items() if value not in (None, "", [], {})}
    if not chosen:
        return NO_METADATA
    text = _dump(chosen)
    if _NO_JSON.search(text):
        text = _dump(json.loads(text, parse_constant=lambda constant: None))
    return text.encode("utf-8", "replace").decode()


def _dump(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
