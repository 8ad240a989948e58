from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CALLED = "import numba\n\n@numba.njit(cache=True)\ndef value():\n    return {}\n"
CALLER = """
import numba
from package.called import value

@numba.njit(cache=True)
def twice():
    return 2 * value()
"""
PROGRAM = """
import os, sys
from pathlib import Path
from assets.compiled_cache import CACHE_DIR, set_compiled_cache
del os.environ[CACHE_DIR]
if sys.argv[1:]:
    os.environ[CACHE_DIR] = sys.argv[1]
set_compiled_cache(Path("package"))
from package.caller import twice
print(twice())
"""


def run(folder: Path, *given: str) -> str:
    done = subprocess.run(
        [sys.executable, "-B", "-c", PROGRAM, *given],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{Path(__file__).parents[2]}"},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "package"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "called.py").write_text(CALLED.format(3))
    (folder / "caller.py").write_text(CALLER)
    return folder


def test_a_function_is_compiled_anew_when_one_that_it_calls_has_changed(tmp_path: Path, package: Path) -> None:
    assert [run(tmp_path), run(tmp_path)] == ["6", "6"]
    (package / "called.py").write_text(CALLED.format(5))
    assert run(tmp_path) == "10"


def test_a_folder_that_is_given_is_used(tmp_path: Path, package: Path) -> None:
    given = tmp_path / "given"
    assert run(tmp_path, str(given)) == "6"
    assert list(given.rglob("*.nbi"))
    assert not (package / "__pycache__").exists()
