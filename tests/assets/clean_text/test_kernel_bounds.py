"""The compiled loops check no index. Here they do, while their own tests run: all of Unicode, megabytes, slices."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
TESTED = (
    *(f"clean_text/test_{name}.py" for name in ("pieces", "ngrams", "line_measures", "character_measures")),
    *(f"vocabulary/test_{name}.py" for name in ("encoders", "whole_characters", "merge_table", "byte_bpe")),
)
PROBE = """
import numpy as np
from assets.clean_text.kernels.compiled import compiled

@compiled
def write(array, place):
    array[place] = 1
    return 0

write(np.zeros(3), 5)
"""


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    root = HERE.parents[2]
    environment = {**os.environ, "NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(folder), "PYTHONPATH": str(root)}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_no_loop_leaves_its_arrays(tmp_path: Path) -> None:
    probe = tmp_path / "probe.py"
    probe.write_text(PROBE, encoding="utf-8")
    assert "IndexError" in run(tmp_path, str(probe)).stderr
    finished = run(tmp_path, "-m", "pytest", "-q", *(str(HERE.parent / name) for name in TESTED))
    assert finished.returncode == 0, finished.stdout
