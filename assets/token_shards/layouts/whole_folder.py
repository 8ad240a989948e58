"""A folder that is written whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from assets.token_shards.errors import TokenShardError

_PARTIAL = ".partial-"


@contextmanager
def whole_folder(out: Path, *, last: str) -> Iterator[Path]:
    """Gives a folder, whose files go to ``out`` when it is left normally. After an error ``out`` is as it was.

    The folder lies in ``out``, which may be where something is mounted, or the current one, and cannot be replaced.

    Args:
        out: A folder that is not there yet, or is empty.
        last: The file that makes it complete, so that it comes last.

    Raises:
        TokenShardError: If ``out`` is a file or is not empty.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise TokenShardError(f"{out} is not empty; name a new folder")
    made = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=_PARTIAL, dir=out))
    try:
        yield partial
        for path in sorted(partial.iterdir(), key=lambda path: path.name == last):
            path.rename(out / path.name)
        partial.rmdir()
    except BaseException:
        shutil.rmtree(out if made else partial)
        raise
