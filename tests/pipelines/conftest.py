"""A small catalogue in two languages, and a way to run jobs on it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from small_line import Jobs, review, tale

RUN_JOBS = Path(__file__).with_name("run_jobs.py")


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder with a catalogue of two dumps: tales.txt by blank line and reviews.jsonl; CORPUSLINE_SOURCES names it."""
    folder = tmp_path / "sources"
    folder.mkdir()
    (folder / "tales.txt").write_text("\n\n".join(tale(number) for number in range(60)))
    (folder / "reviews.jsonl").write_text(
        "".join(json.dumps({"text": review(number // 2)}, ensure_ascii=False) + "\n" for number in range(120))
    )
    entries = [
        {"name": "tales", "uri": "tales.txt", "documents": {"by": "blank_line"}, "language": "en", "licence": "CC0"},
        {"name": "reviews", "uri": "reviews.jsonl", "format": "jsonl", "language": "zh", "licence": "CC0"},
    ]
    catalogue = folder / "sources.yaml"
    catalogue.write_text(yaml.safe_dump({"sources": entries, "prompts": {"en": ["The "], "zh": ["我"]}}))
    monkeypatch.setenv("CORPUSLINE_SOURCES", str(catalogue))
    return folder


@pytest.fixture
def run_jobs(tmp_path: Path, sources: Path) -> Jobs:
    """Runs the steps of ``run_jobs.py`` in a process of its own; the home is this test's."""

    def run(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
        given, answer = tmp_path / "steps.json", tmp_path / "results.json"
        given.write_text(json.dumps(steps))
        process = subprocess.run(
            [sys.executable, "-W", "ignore", str(RUN_JOBS), str(given), str(answer)],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ,
            cwd=tmp_path,
        )
        assert process.returncode == 0, process.stderr[-4000:]
        results: list[dict[str, Any]] = json.loads(answer.read_text())
        return results

    return run
