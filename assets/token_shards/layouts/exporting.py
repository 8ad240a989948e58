"""Folders of our shards as token files of another tool."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from assets.token_shards.errors import TokenShardError
from assets.token_shards.layouts.registry import LAYOUTS
from training.shards import Shards, SplitName, open_shards


def export_tokens(folders: Sequence[Path], *, layout: str, splits: Sequence[SplitName], out: Path) -> Iterator[Path]:
    """Write splits of shards as files that are named by dump and split, while the files are gone through.

    Args:
        folders: Of shards, each of another dump.
        layout: One of ``LAYOUTS``.
        splits: Which of each.
        out: A folder that is not there yet, or is empty.

    Yields:
        Each file when it is written.

    Raises:
        ShardError: If a folder holds no shards.
        TokenShardError: If ``out`` is not empty, two folders are of one dump, or a layout cannot hold the tokens.
    """
    if out.is_dir() and any(out.iterdir()):
        raise TokenShardError(f"{out} is not empty; name a new folder")
    opened = [open_shards(folder) for folder in folders]
    _check_dumps(opened)
    out.mkdir(parents=True, exist_ok=True)
    for shards in opened:
        for split in splits:
            yield from LAYOUTS[layout].write(shards, shards.split(split), out / f"{shards.dump}-{split}")


def _check_dumps(opened: Sequence[Shards]) -> None:
    seen: dict[str, Path] = {}
    for shards in opened:
        if shards.dump in seen:
            raise TokenShardError(
                f"{seen[shards.dump]} and {shards.folder} are both of the dump {shards.dump}, so their files would "
                "have the same names; export each into a folder of its own"
            )
        seen[shards.dump] = shards.folder
