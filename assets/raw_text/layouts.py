"""Records as other tools for text write them (jsonl or Parquet): where their metadata stand, and what is kept of it.

- ``datatrove``: text, id, media, metadata (an object; a JSON string in some Parquet files), or with
  ``expand_metadata`` each key beside the text; what its readers take for metadata is taken for it here
- ``dolma``: id, text, source, added, created, version, metadata (docs/data-format.md of dolma)

The documents' columns ``licence`` and ``language`` come from the catalogue, since the language chooses thresholds and
word splitter; what a record says of either stays in its metadata.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

LAYOUTS = ("datatrove", "dolma")

# Pictures, and spans of scores that dolma's taggers put beside a document: neither is text, either may be large.
_LEFT_OUT = frozenset(["media", "attributes"])


def layout_columns(names: Sequence[str]) -> list[str]:
    """The columns of a Parquet file that hold the text or metadata."""
    return [name for name in names if name not in _LEFT_OUT]


def layout_metadata(fields: Mapping[str, Any], layout: str, *, text_field: str = "text") -> dict[str, Any]:
    """The metadata of a record in one object.

    The record's ``id`` stands in it as ``id``; dolma's ``created`` also as ``date``, as web documents have it, unless
    there is a date. What a Parquet file holds null for, since another record has that key, is left out.

    Args:
        fields: The record.
        layout: One of ``LAYOUTS``.
        text_field: The field with the text, which is no metadata.
    """
    inner = _mapping(fields.get("metadata"))
    outer = {
        name: value for name, value in fields.items() if name not in _LEFT_OUT and name not in (text_field, "metadata")
    }
    # Where a key stands in both places, datatrove takes the one beside the text; dolma's own fields are of that kind.
    merged = {name: value for name, value in (inner | outer).items() if value is not None}
    if layout == "dolma" and "created" in merged:
        merged.setdefault("date", merged["created"])
    return merged


def _mapping(metadata: Any) -> dict[str, Any]:
    if isinstance(metadata, str):
        try:
            metadata = json.loads(metadata)
        except ValueError:
            return {"metadata": metadata}
    if isinstance(metadata, Mapping):
        return dict(metadata)
    return {} if metadata is None else {"metadata": metadata}
