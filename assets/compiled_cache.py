"""Where numba keeps what it has compiled: a folder for each state of the code.

Numba itself looks at the file of a function only, not at those of the functions that it calls: after an update machine
code of before would go on running in those whose own file is the same.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

CACHE_DIR = "NUMBA_CACHE_DIR"


def set_compiled_cache(package: Path) -> None:
    """Name the folder for numba, which reads the variable when it is imported; one that is given stays.

    Args:
        package: Folder of the Python files, all of which count.
    """
    if CACHE_DIR in os.environ:
        return
    beside = package / "__pycache__"
    parent = beside if os.access(package, os.W_OK) else Path.home() / ".cache" / "corpusline"
    os.environ[CACHE_DIR] = str(parent / f"numba-{code_hash(package.rglob('*.py'))}")


def code_hash(files: Iterable[Path]) -> str:
    """Twelve digits that change with any of the files' contents."""
    digest = hashlib.sha256()
    for path in sorted(files):
        content = path.read_bytes()
        # Only what is compiled, or calls what is.
        if b"numba" in content or b"kernels" in content:
            digest.update(path.name.encode() + b"\0" + content + b"\0")
    return digest.hexdigest()[:12]
