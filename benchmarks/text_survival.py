"""Backfills of the text stages, each killed with -9 at a random moment and run again until done: the same bytes?

python -m benchmarks.text_survival --runs 50 --json FILE

A catalogue in English and Chinese is made in a scratch folder, and the job text_stages run on it once without
disturbance by ``dagster job execute``. Then, in a new home each time, it is started, disturbed at a random moment of a
random step, and started again until it succeeds. Disturbed is one of:

- ``tree``: every process of the run is killed, as when the machine goes.
- ``root``: only the process that was started, as the kernel or a person without patience does.
- ``worker``: one of the processes below it: a step's, one of a pool, or a server of multiprocessing.

It must hold each time: every file below ``outputs`` is there with the undisturbed run's bytes and no other file or
folder is; each dump's ledger has a row for each document read, kept or dropped; no process is left.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal

from assets.clean_text.conservation import check_conservation
from benchmarks.backfill import DUMPS, Backfill, make_catalogue
from training.artifact import MANIFEST, file_sha256, verify

Kind = Literal["tree", "root", "worker"]
KINDS: tuple[Kind, ...] = ("tree", "root", "worker")
TALES, REVIEWS = 4_000, 4_000
"""So many that the English dump has two row groups, which a pool of processes works on."""
MOST_STARTS = 3
"""Starts after the disturbance in which a backfill must succeed."""
POLL_SECONDS = 0.5
ORPHAN_SECONDS = 15.0
"""In which the processes of a run end whose first one is gone."""


@dataclass(frozen=True)
class Undisturbed:
    """The run that the others are compared with.

    Attributes:
        seconds: From its start to its end.
        steps: Seconds of each step, in the order in which they began.
        outputs: SHA-256 in hex by path below ``outputs``; an empty string for a folder.
    """

    seconds: float
    steps: tuple[float, ...]
    outputs: dict[str, str]


@dataclass(frozen=True)
class Disturbance:
    """One disturbed backfill.

    Attributes:
        kind: What was killed.
        moment: Seconds from the start to the kill.
        stages: The stages that were at work then; none between two steps.
        survived: Whether the run succeeded all the same, without another start.
        starts: Starts after the kill until it was done.
        orphan_seconds: From the end of the first process to that of the last.
        seconds: From the first start to the end of the last.
        problems: What does not hold, in sentences; empty if all is well.
    """

    kind: Kind
    moment: float
    stages: tuple[str, ...]
    survived: bool
    starts: int
    orphan_seconds: float
    seconds: float
    problems: tuple[str, ...]


def run_undisturbed(backfill: Backfill) -> Undisturbed:
    """Run a backfill to its end.

    Raises:
        RuntimeError: If it fails, or an output is not what its manifest says.
    """
    begin = time.time()
    process = backfill.start()
    if process.wait():
        raise RuntimeError(f"the undisturbed backfill failed: see {backfill.log}")
    seconds = time.time() - begin
    for manifest in backfill.outputs.rglob(MANIFEST):
        verify(manifest.parent)
    steps = tuple(step.end - step.start for step in backfill.steps())
    return Undisturbed(seconds, steps, hash_tree(backfill.outputs))


def disturb(backfill: Backfill, reference: Undisturbed, *, kind: Kind, chance: random.Random) -> Disturbance:
    """Start a backfill in a new home, kill something at a random moment, start it until it is done, and compare.

    Args:
        backfill: In a home that does not exist yet.
        reference: What the outputs must be.
        kind: What is killed.
        chance: Draws the moment and the victim.
    """
    begin = time.time()
    # By steps, since another run may be faster than the undisturbed one, which compiles.
    step = chance.randrange(len(reference.steps))
    process = backfill.start()
    while backfill.steps_begun() <= step and process.poll() is None:
        time.sleep(POLL_SECONDS)
    time.sleep(chance.uniform(0.0, reference.steps[step]))
    killed = time.time()
    if kind == "tree":
        backfill.kill_all()
    elif kind == "root":
        process.kill()
    else:
        below = [found for found in backfill.processes() if found.pid != process.pid]
        if below:
            chance.choice(below).kill()
    survived = process.wait() == 0
    orphan_seconds = backfill.wait_for_all(most=ORPHAN_SECONDS)
    problems = [f"left after {ORPHAN_SECONDS:g} s: {name}" for name in backfill.names()]
    backfill.kill_all()
    stages = tuple(step.stage for step in backfill.steps() if step.start <= killed <= step.end)
    starts, done = 0, survived
    while not done and starts < MOST_STARTS:
        done, starts = backfill.start().wait() == 0, starts + 1
        backfill.wait_for_all(most=ORPHAN_SECONDS)
        problems += [f"left by a run that ended: {name}" for name in backfill.names()]
    seconds = time.time() - begin
    problems += [] if done else [f"not done after {MOST_STARTS} more starts: see {backfill.log}"]
    problems += differences(reference.outputs, hash_tree(backfill.outputs))
    problems += _lost_or_doubled(backfill) if done else []
    return Disturbance(kind, killed - begin, stages, survived, starts, orphan_seconds, seconds, tuple(problems))


def hash_tree(folder: Path) -> dict[str, str]:
    """SHA-256 in hex of every file below a folder by its relative path; an empty string for each folder."""
    return {
        path.relative_to(folder).as_posix(): file_sha256(path) if path.is_file() else ""
        for path in sorted(folder.rglob("*"))
    }


def differences(expected: dict[str, str], found: dict[str, str]) -> list[str]:
    """What differs between two results of ``hash_tree``, a sentence each."""
    missing = [f"{path} is missing" for path in expected.keys() - found.keys()]
    more = [f"{path} is left over" for path in found.keys() - expected.keys()]
    other = [f"{path} has other bytes" for path in expected.keys() & found.keys() if expected[path] != found[path]]
    return sorted([*missing, *more, *other])


def main() -> None:
    """Parse the command line, run, print a table, write the measures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=50, help="disturbed backfills")
    parser.add_argument("--seed", type=int, default=0, help="draws what is killed, and when")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS, help="what may be killed")
    parser.add_argument("--tales", type=int, default=TALES, help="English documents of 4.4 kB")
    parser.add_argument("--reviews", type=int, default=REVIEWS, help="Chinese documents of 1 kB, each twice")
    parser.add_argument("--scratch", type=Path, help="folder for everything; by default a temporary one")
    parser.add_argument("--json", type=Path, help="where to write the measures")
    options = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="text-survival-", dir=options.scratch))
    catalogue = make_catalogue(scratch / "sources", tales=options.tales, reviews=options.reviews)
    backfill = Backfill(catalogue, scratch / "undisturbed")
    reference = run_undisturbed(backfill)
    print(f"undisturbed: {reference.seconds:.0f} s, {len(reference.outputs)} files and folders", flush=True)
    disturbances = []
    for number in range(options.runs):
        chance = random.Random(f"{options.seed}/{number}")
        backfill = Backfill(catalogue, scratch / f"disturbed-{number}")
        found = disturb(backfill, reference, kind=chance.choice(options.kinds), chance=chance)
        disturbances.append(found)
        _print(number, found)
        if not found.problems:
            shutil.rmtree(backfill.home)
    measures = summary(reference, disturbances)
    for name, value in measures.items():
        print(f"{name:<28}{value if not isinstance(value, float) else round(value, 1)}")
    if options.json:
        content = {"measures": measures, "runs": [asdict(found) for found in disturbances]}
        options.json.write_text(json.dumps(content, indent=1), encoding="utf-8")
    if not measures["holds"]:
        sys.exit(f"the homes of the runs with problems are in {scratch}")
    shutil.rmtree(scratch)


def summary(reference: Undisturbed, disturbances: Sequence[Disturbance]) -> dict[str, Any]:
    """The numbers of a report."""
    seconds = [found.seconds for found in disturbances]
    return {
        "runs": len(disturbances),
        "holds": not any(found.problems for found in disturbances),
        "problems": sum(len(found.problems) for found in disturbances),
        "undisturbed_seconds": reference.seconds,
        "disturbed_seconds_median": median(seconds),
        "disturbed_seconds_most": max(seconds),
        "orphan_seconds_most": max(found.orphan_seconds for found in disturbances),
        "went_on_without_a_start": sum(found.survived for found in disturbances),
        "starts_most": max(found.starts for found in disturbances),
        "killed": dict(Counter(found.kind for found in disturbances)),
        "stages": dict(Counter(stage for found in disturbances for stage in found.stages or ("between steps",))),
    }


def _lost_or_doubled(backfill: Backfill) -> list[str]:
    """Violations of the ledgers' conservation of documents."""
    problems = []
    for dump in DUMPS:
        raw, clean = ((backfill.outputs / stage / dump).glob("[!.]*") for stage in ("raw_text", "clean_text"))
        report = check_conservation(next(raw), next(clean))
        problems += [f"{dump}: {violation}" for violation in report.violations]
    return problems


def _print(number: int, found: Disturbance) -> None:
    stages = ", ".join(found.stages) or "between steps"
    ended = "went on" if found.survived else f"{found.starts} more start(s)"
    times = f"{found.moment:.1f} s, done at {found.seconds:.0f} s, last process gone after {found.orphan_seconds:.1f} s"
    print(f"{number:>3} {found.kind:<7} {stages:<32} killed at {times}; {ended}", flush=True)
    for problem in found.problems:
        print(f"    {problem}", flush=True)


if __name__ == "__main__":
    main()
