"""Where numba keeps what it has compiled: a folder for each state of the code.

Numba itself looks at the file of a function only, not at those of the functions that it calls: after an update machine
code of before would go on running in those whose own file is the same.
"""

from __future__ import annotations

import os
from pathlib import Path

from training.artifact import code_hash

CACHE_DIR = "NUMBA_CACHE_DIR"


def set_compiled_cache(package: Path) -> None:
    """Name the folder for numba, which reads the variable when it is imported; one that is given stays.

    Args:
        package: Folder of the Python files; those count that are compiled or call what is.
    """
    if CACHE_DIR in os.environ:
        return
    beside = package / "__pycache__"
    parent = beside if os.access(package, os.W_OK) else Path.home() / ".cache" / "corpusline"
    state = code_hash(package, filter(_is_compiled, package.rglob("*.py")))
    os.environ[CACHE_DIR] = str(parent / f"numba-{state}")


def _is_compiled(path: Path) -> bool:
    """Whether a file has functions that are compiled, or calls such."""
    content = path.read_bytes()
    return b"numba" in content or b"kernels" in content
