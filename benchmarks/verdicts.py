"""Cleaning rules side by side with datatrove's filters: throughput, verdicts, and how time and memory grow.

Both sides get the same normalised texts in memory, on one core, and take turns; the median of the turns counts. The
peer's filters are called one after another as in its own examples, until one drops the document; its word tokenizer is
loaded before. Ours measure every signal that the rules ask for, on every document, and evaluate every rule.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assets.clean_text.arrays import single_array, strings
from assets.clean_text.decisions import Decisions, decide
from assets.clean_text.filtering import filter_documents
from assets.clean_text.line_rules import EditLog, edit_lines
from assets.clean_text.normalisation import normalise_batch
from assets.clean_text.policy import Policy
from assets.clean_text.settings import FilterSettings
from assets.clean_text.signals import TextBatch, measure, usual_signals
from assets.raw_text.documents import DOCUMENTS, DocumentWriter
from benchmarks.texts import read_texts

BATCH_BYTES = 8 << 20
TIME_GROWTH, MEMORY_GROWTH = 10.5, 1.2
GROWING_BYTES = 16 << 20
PEER = "datatrove 0.10"

Filter = Callable[[str], "str | None"]
"""From a text to the reason why it is dropped, None if it passes."""


@dataclass(frozen=True)
class Comparison:
    """What is compared.

    Attributes:
        language: Language code of the texts to take.
        policy: Ours.
        filter: Theirs.
        target: Least ratio of throughputs.
    """

    language: str
    policy: Policy
    filter: Filter
    target: float


def run(comparison: Callable[[], Comparison], description: str) -> None:
    """Parse the command line, compare, print a table, write the measures."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", type=Path, help="file or folder of text; by default the demo's sources")
    parser.add_argument("--json", type=Path, help="where to write the measures")
    parser.add_argument("--repeats", type=int, default=3, help="turns of each side")
    parser.add_argument("--megabytes", type=float, default=64, help="most text that both sides get")
    options = parser.parse_args()
    pa.set_cpu_count(1)
    chosen = comparison()
    texts = _texts(options.input, chosen.language, int(options.megabytes * 1e6))
    measures, disagreements = _compare(texts, chosen, options.repeats)
    measures += _growth(texts, chosen)
    for row in measures:
        holds = "" if row["holds"] is None else "holds" if row["holds"] else "DOES NOT HOLD"
        target = "" if row["target"] is None else f"{row['target']:g}"
        print(f"{row['name']:<28}{row['value']:>12.3f} {row['unit']:<10}{target:>8}  {holds}")
    for row in disagreements[:20]:
        print(f"ours: {row['ours'] or 'kept'}; theirs: {row['theirs'] or 'kept'}; {row['excerpt']!r}")
    if options.json:
        content = {"measures": measures, "disagreements": disagreements}
        options.json.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")


def our_side(texts: pa.StringArray, language: str, policy: Policy, names: Sequence[str]) -> Decisions:
    """Edit lines, measure signals, decide."""
    languages = pa.array([language] * len(texts), pa.string())
    edited = edit_lines(texts, languages, policy.lines, EditLog(len(texts)))
    before = TextBatch(texts, languages) if policy.measures_before_edits else None
    table = measure(texts, TextBatch(edited, languages), names, before=before)
    return decide(table, policy.rules)


def _texts(path: Path | None, language: str, most: int) -> pa.StringArray:
    table = read_texts(path)
    texts: Any = single_array(table.filter(pc.equal(table["language"], pa.scalar(language)))["text"])
    texts = normalise_batch(texts)
    texts = texts.filter(pc.not_equal(texts, pa.scalar("")))
    if not len(texts):
        sys.exit(f"no text in the language '{language}' there; name a file or folder with --input")
    # Spread over the whole input, so that a part of it stands for all.
    order = np.random.default_rng(0).permutation(len(texts))
    ends = np.cumsum(pc.binary_length(texts).to_numpy(zero_copy_only=False)[order])
    taken: pa.StringArray = texts.take(pa.array(order[: max(1, int(np.searchsorted(ends, most)))]))
    return taken


def _batches(texts: pa.StringArray) -> Iterator[pa.StringArray]:
    ends = np.cumsum(pc.binary_length(texts).to_numpy(zero_copy_only=False))
    begin = 0
    while begin < len(texts):
        before = ends[begin - 1] if begin else 0
        end = max(begin + 1, int(np.searchsorted(ends, before + BATCH_BYTES)))
        yield texts.slice(begin, end - begin)
        begin = end


def _compare(
    texts: pa.StringArray, chosen: Comparison, repeats: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    megabytes = pc.sum(pc.binary_length(texts)).as_py() / 1e6
    needed = list(chosen.policy.signals)
    everything = usual_signals(needed)
    contents = strings(texts)
    our_side(texts.slice(0, 8), chosen.language, chosen.policy, everything)
    chosen.filter(contents[0])
    seconds: dict[str, list[float]] = {"needed": [], "all": [], "theirs": []}
    ours: list[str | None] = []
    failures: list[list[str]] = []
    theirs: list[str | None] = []
    for _ in range(repeats):
        for name, columns in (("needed", needed), ("all", everything)):
            start = time.process_time()
            decided = [our_side(batch, chosen.language, chosen.policy, columns) for batch in _batches(texts)]
            seconds[name].append(time.process_time() - start)
        start = time.process_time()
        theirs = [chosen.filter(content) for content in contents]
        seconds["theirs"].append(time.process_time() - start)
        ours = [rule for part in decided for rule in part.rule.to_pylist()]
        failures = [[f["rule"] for f in found or ()] for part in decided for found in part.failures.to_pylist()]
    speed = {name: megabytes / statistics.median(values) for name, values in seconds.items()}
    differ = [index for index in range(len(texts)) if (ours[index] is None) != (theirs[index] is None)]
    agreement = 100 * (1 - len(differ) / len(texts))
    disagreements = [
        {
            "ours": ours[index],
            "failures": failures[index],
            "theirs": theirs[index],
            "characters": len(contents[index]),
            "excerpt": contents[index][:160],
        }
        for index in differ
    ]
    measures = [
        _measure("throughput_ratio", speed["needed"] / speed["theirs"], "times", chosen.target),
        _measure("throughput_ratio_all_signals", speed["all"] / speed["theirs"], "times", None),
        _measure("throughput", speed["needed"], "MB/s", None),
        _measure("throughput_all_signals", speed["all"], "MB/s", None),
        _measure("throughput_of_peer", speed["theirs"], "MB/s", None),
        _measure("verdicts_that_agree", agreement, "%", 99.0),
        _measure("documents", len(texts), "", None),
        _measure("text", megabytes, "MB", None),
        _measure("kept", 100 * sum(rule is None for rule in ours) / len(texts), "%", None),
        _measure("kept_by_peer", 100 * sum(rule is None for rule in theirs) / len(texts), "%", None),
    ]
    return measures, disagreements


def _growth(texts: pa.StringArray, chosen: Comparison) -> list[dict[str, Any]]:
    """Time and peak memory of the whole filter stage on ten times the text, each in a process of its own."""
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as scratch:
        figures = []
        for times in (1, 10):
            folder = Path(scratch) / str(times)
            _write(texts, folder / "in", times, chosen.language)
            (folder / "out").mkdir()
            receiver, sender = context.Pipe(duplex=False)
            process = context.Process(target=_filter, args=(folder, sender))
            process.start()
            figures.append(receiver.recv())
            process.join()
    (time_once, memory_once), (time_ten, memory_ten) = figures
    return [
        _measure("time_of_ten_times", time_ten / time_once, "times", TIME_GROWTH, most=True),
        _measure("memory_of_ten_times", memory_ten / memory_once, "times", MEMORY_GROWTH, most=True),
        _measure("memory_peak", memory_ten / 1e6, "MB", None),
    ]


def _filter(folder: Path, sender: Any) -> None:
    settings = FilterSettings(signals="needed")
    # What is loaded and compiled once is no part of the time.
    (folder / "first").mkdir()
    filter_documents(folder / "warm", folder / "first", dump="d", settings=settings, workers=1)
    start = time.process_time()
    filter_documents(folder / "in", folder / "out", dump="d", settings=settings, workers=1)
    sender.send((time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024))


def _write(texts: pa.StringArray, folder: Path, times: int, language: str) -> None:
    ends = np.cumsum(pc.binary_length(texts).to_numpy(zero_copy_only=False))
    base = texts.slice(0, max(1, int(np.searchsorted(ends, GROWING_BYTES))))
    rounds = max(1, int(GROWING_BYTES // max(1, pc.sum(pc.binary_length(base)).as_py()))) * times
    folder.mkdir(parents=True)
    (folder.parent / "warm").mkdir()
    for target, count in ((folder.parent / "warm", 0), (folder, rounds)):
        with DocumentWriter(target) as writer:
            for number in range(max(count, 1)):
                part = base if count else base.slice(0, 4)
                rows = len(part)
                columns: dict[str, Any] = {
                    "doc_id": [f"{number * rows + row:032x}" for row in range(rows)],
                    "text": part,
                    "byte_start": pa.array(np.arange(rows)),
                    "byte_end": pa.array(np.arange(rows)),
                    "language": [language] * rows,
                    "metadata": ["{}"] * rows,
                }
                columns |= {name: ["benchmark"] * rows for name in ("source", "dump", "path", "licence")}
                writer.write(pa.table(columns).select(DOCUMENTS.names))


def _measure(name: str, value: float, unit: str, target: float | None, *, most: bool = False) -> dict[str, Any]:
    holds = None if target is None else bool(value <= target if most else value >= target)
    return {"name": name, "value": float(value), "unit": unit, "peer": PEER, "target": target, "holds": holds}
