"""Files of one JSON object a line that processes append to, and may be killed while they do."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

Made = TypeVar("Made")


def append_lines(path: Path, values: Iterable[Mapping[str, Any]], *, sync: bool = False) -> None:
    """Add objects; a line that a killed process has left half written is ended first.

    Args:
        path: The file, made where it is missing.
        values: The objects.
        sync: Return only when they are on the disk.

    Raises:
        OSError: If they cannot be written.
    """
    data = b"".join(json.dumps(value, ensure_ascii=False).encode() + b"\n" for value in values)
    with path.open("a+b") as file:
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                data = b"\n" + data
        file.write(data)
        if sync:
            file.flush()
            os.fsync(file.fileno())


def read_lines(path: Path, made: Callable[..., Made]) -> list[Made]:
    """What is made of the objects, in their order; half a line is none, and a file that is not there has none."""
    if not path.is_file():
        return []
    found = []
    for line in path.read_bytes().split(b"\n"):
        try:
            found.append(made(**json.loads(line)))
        except (ValueError, TypeError):
            continue
    return found
