"""Arrow columns as this room uses them: in one piece, texts without nulls."""

from __future__ import annotations

from typing import Any, cast

import pyarrow as pa


def strings(texts: pa.StringArray) -> list[str]:
    """The texts of an array without nulls as Python strings."""
    return cast("list[str]", texts.to_pylist())


def string_array(texts: list[str]) -> pa.StringArray:
    """An Arrow array of texts."""
    return pa.array(texts, pa.string())


def single_array(column: pa.ChunkedArray[Any]) -> Any:
    """A table's column as one ``pa.Array`` of its type; a column without rows may have no chunk."""
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
