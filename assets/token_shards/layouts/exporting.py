"""Folders of our shards as token files of another tool."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from assets.token_shards.errors import TokenShardError
from assets.token_shards.layouts.registry import LAYOUTS
from training.shards import Shards, SplitName, open_shards


def export_tokens(
    folders: Sequence[Path],
    *,
    layout: str,
    splits: Sequence[SplitName],
    out: Path,
    without_loss_masks: bool = False,
) -> Iterator[Path]:
    """Write splits of shards as files that are named by dump and split, while the files are gone through.

    Args:
        folders: Of shards, each of another dump.
        layout: One of ``LAYOUTS``.
        splits: Which of each.
        out: A folder that is not there yet, or is empty.
        without_loss_masks: Write splits that have a loss mask too: who reads the files learns every token.

    Yields:
        Each file when it is written.

    Raises:
        ShardError: If a folder holds no shards.
        TokenShardError: If ``out`` is not empty, two folders are of one dump, a split has a loss mask, or a
            layout cannot hold the tokens.
    """
    if out.is_dir() and any(out.iterdir()):
        raise TokenShardError(f"{out} is not empty; name a new folder")
    opened = [open_shards(folder) for folder in folders]
    _check_dumps(opened)
    if not without_loss_masks:
        _check_loss_masks(opened, splits)
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


def _check_loss_masks(opened: Sequence[Shards], splits: Sequence[SplitName]) -> None:
    for shards in opened:
        for split in splits:
            if shards.split(split).has_loss_mask:
                raise TokenShardError(
                    f"{shards.folder}: tokens of {split} are not to be learned, and no layout can say so; with "
                    "--without-loss-masks they are written like the others, and learned"
                )
