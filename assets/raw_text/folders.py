"""The files below a folder, in its own folders and in those that symbolic links lead to."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from assets.raw_text.globs import WILDCARDS, matches


def files_below(folder: Path, glob: Sequence[str] = ("**",), *, unreadable: Callable[[Path], None]) -> list[Path]:
    """What is no folder and is matched; also broken links.

    A link to one of the folders that it lies in is not followed: what is there is found without it.

    Args:
        folder: Where to begin.
        glob: The parts of a path below it, with wildcards; ``**`` stands for any number of folders.
        unreadable: Called with each folder that may not be read; what is in it is not found.
    """
    parts = (*glob, "*") if glob[-1] == "**" else tuple(glob)
    return sorted(set(_expand(folder, parts, (), unreadable)))


def _expand(
    folder: Path,
    parts: tuple[str, ...],
    above: tuple[tuple[int, int], ...],
    unreadable: Callable[[Path], None],
) -> Iterator[Path]:
    try:
        status = folder.stat()
        entries = _entries(folder)
    except (FileNotFoundError, NotADirectoryError):
        return
    except PermissionError:
        unreadable(folder)
        return
    place = (status.st_dev, status.st_ino)
    first, rest = parts[0], parts[1:]
    if first == "**":
        if place in above:
            return
        yield from _expand(folder, rest, above, unreadable)
        found = [(name, parts) for name, is_folder in entries.items() if is_folder]
    elif WILDCARDS.search(first):
        found = [(name, rest) for name in entries if matches(name, ["/" + first])]
    else:
        found = [(first, rest)]
    for name, left in found:
        # '..' is in no folder's list.
        is_folder = entries.get(name, True)
        if left and is_folder:
            yield from _expand(folder / name, left, (*above, place), unreadable)
        elif not left and not is_folder:
            yield folder / name


def _entries(folder: Path) -> dict[str, bool]:
    """Whether each thing in the folder is a folder, or a link to one."""
    with os.scandir(folder) as found:
        return {entry.name: (folder / entry.name).is_dir() if entry.is_symlink() else entry.is_dir() for entry in found}
