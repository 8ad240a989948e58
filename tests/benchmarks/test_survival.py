from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_trainings_disturbed_at_random_end_as_if_undisturbed(tmp_path: Path) -> None:
    """Another seed than those of the results in benchmarks/README.md."""
    out = tmp_path / "survival.json"
    command = [sys.executable, "-m", "benchmarks.survival", "--runs", "6", "--seed", "77", "--json", str(out)]
    done = subprocess.run(
        [*command, "--folder", str(tmp_path), "--verbose"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    measures = {row["name"]: row["value"] for row in json.loads(out.read_text())["measures"]}
    assert (measures["trainings"], measures["that did not survive"]) == (6, 0)
    assert measures["share of useful steps"] > 0.8
