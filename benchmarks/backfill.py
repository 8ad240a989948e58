"""Backfills of the job text_stages on a catalogue of one's own, as processes to be followed and killed."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import yaml

from pipelines.instance_home import prepare_dagster_home

REPOSITORY = Path(__file__).parents[1]
DUMPS = ("tales", "reviews")
TALES_A_DOCUMENT, REVIEWS_A_DOCUMENT = 10, 5


@dataclass(frozen=True)
class Catalogue:
    """Two dumps, and the job's configuration.

    Attributes:
        sources: The catalogue's file.
        configuration: The run configuration's file.
    """

    sources: Path
    configuration: Path


@dataclass(frozen=True)
class Step:
    """When a stage was at work, in seconds since the epoch; ``end`` is infinite for one that never ended."""

    stage: str
    start: float
    end: float


def make_catalogue(folder: Path, *, tales: int, reviews: int) -> Catalogue:
    """Write a catalogue of English documents by blank line and of Chinese ones as jsonl, each of these twice.

    Args:
        folder: Is created.
        tales: English documents, of 4.4 kB.
        reviews: Chinese documents, of 1 kB.
    """
    made: dict[str, Any] = runpy.run_path(str(REPOSITORY / "tests" / "pipelines" / "small_line.py"))
    folder.mkdir(parents=True)

    def together(kind: str, number: int, count: int) -> str:
        return "\n".join(made[kind](number * count + place) for place in range(count))

    english = (together("tale", number, TALES_A_DOCUMENT) for number in range(tales))
    (folder / "tales.txt").write_text("\n\n".join(english), encoding="utf-8")
    chinese = (together("review", number // 2, REVIEWS_A_DOCUMENT) for number in range(reviews))
    lines = (json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in chinese)
    (folder / "reviews.jsonl").write_text("".join(lines), encoding="utf-8")
    entries = [
        {"name": "tales", "uri": "tales.txt", "documents": {"by": "blank_line"}, "language": "en", "licence": "CC0"},
        {"name": "reviews", "uri": "reviews.jsonl", "format": "jsonl", "language": "zh", "licence": "CC0"},
    ]
    catalogue = Catalogue(folder / "sources.yaml", folder / "configuration.json")
    catalogue.sources.write_text(yaml.safe_dump({"sources": entries}), encoding="utf-8")
    catalogue.configuration.write_text(json.dumps(made["text_configuration"]()), encoding="utf-8")
    return catalogue


class Backfill:
    """One home, in which the job is started as often as it takes.

    A process belongs to it if its environment names the home, so that one that lost its parent is found too.
    """

    def __init__(self, catalogue: Catalogue, home: Path) -> None:
        """Nothing is written before ``start``.

        Args:
            catalogue: What is read.
            home: For ``CORPUSLINE_HOME``.
        """
        self.home = home
        self.outputs = home / "outputs"
        self.log = home / "log.txt"
        self._catalogue = catalogue

    def start(self) -> subprocess.Popen[bytes]:
        """Start ``dagster job execute`` and return its process; what it says is added to ``log``."""
        os.environ["CORPUSLINE_HOME"] = str(self.home)
        environment = os.environ | {
            "CORPUSLINE_SOURCES": str(self._catalogue.sources),
            "DAGSTER_HOME": str(prepare_dagster_home()),
        }
        command = [sys.executable, "-W", "ignore", "-m", "dagster", "job", "execute", "-m", "pipelines.definitions"]
        command += ["-j", "text_stages", "-c", str(self._catalogue.configuration)]
        with self.log.open("ab") as log:
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, cwd=REPOSITORY
            )

    def processes(self) -> list[psutil.Process]:
        """All living processes that belong to it, by their number; a zombie is none."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.pid != os.getpid() and process.environ().get("CORPUSLINE_HOME") == str(self.home):
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def names(self) -> list[str]:
        """The command line of each."""
        lines = []
        for process in self.processes():
            try:
                lines.append(f"{process.pid} {' '.join(process.cmdline())}")
            except psutil.Error:
                continue
        return lines

    def kill_all(self) -> None:
        """SIGKILL to all, and to those they start meanwhile."""
        while found := self.processes():
            for process in found:
                try:
                    process.kill()
                except psutil.NoSuchProcess:
                    continue

    def wait_for_all(self, *, most: float) -> float:
        """Wait until none is left, for ``most`` seconds; how many it took."""
        begin = time.monotonic()
        while self.processes() and time.monotonic() - begin < most:
            time.sleep(0.1)
        return time.monotonic() - begin

    def steps_begun(self) -> int:
        """How many steps the runs have begun so far, by what they say."""
        return self.log.read_bytes().count(b" - STEP_START - ")

    def steps(self) -> list[Step]:
        """The steps of the last run, by their start."""
        with dg.DagsterInstance.from_config(str(self.home / "dagster")) as instance:
            runs = instance.get_runs(limit=1)
            found = instance.get_run_step_stats(runs[0].run_id) if runs else []
        steps = [
            Step(step.step_key, step.start_time, step.end_time or float("inf")) for step in found if step.start_time
        ]
        return sorted(steps, key=lambda step: step.start)
