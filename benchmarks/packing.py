"""Best-fit packing: how much padding rows have, and what planning costs for a billion documents.

python -m benchmarks.packing --input PATH --json FILE

The text is encoded and packed into rows of several lengths. The cost of planning is measured on made-up lengths of
millions of documents, in one process, and grows with their number: memory with the documents of one file of shards.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.loader import token_shards
from benchmarks.texts import read_texts
from training.packing import pack, plan_packing

CONTEXTS = (256, 1024, 4096)
MOST_PADDING = 1.0
DOCUMENTS = 4_000_000
DOCUMENTS_A_FILE = 1 << 18
"""A file of 2^27 tokens has about so many documents of 500 tokens."""
BILLION = 1_000_000_000


def main() -> None:
    """Parse the command line, measure, print a table, write the measures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", type=Path, help="file or folder of text; by default the demo's sources")
    parser.add_argument("--json", type=Path, help="where to write the measures")
    options = parser.parse_args()
    measures = _padding(options.input) + _cost()
    for row in measures:
        holds = "" if row["holds"] is None else "holds" if row["holds"] else "DOES NOT HOLD"
        target = "" if row["target"] is None else f"{row['target']:g}"
        print(f"{row['name']:<34}{row['value']:>16,.3f} {row['unit']:<10}{target:>8}  {holds}")
    if options.json:
        options.json.write_text(json.dumps({"measures": measures}, indent=1), encoding="utf-8")


def _padding(path: Path | None) -> list[dict[str, Any]]:
    rows = []
    with tempfile.TemporaryDirectory() as name:
        shards = token_shards(read_texts(path), Path(name))
        for context in CONTEXTS:
            plan = plan_packing(shards.train, context, Path(name) / "plans")
            rows.append(_row(f"padding_of_rows_of_{context}", 100 * plan.padding, "%", MOST_PADDING))
        rows.append(_row("documents", shards.train.document_count, "", None))
    return rows


def _cost() -> list[dict[str, Any]]:
    lengths = np.maximum(2, np.random.default_rng(0).lognormal(5.5, 1.2, DOCUMENTS).astype(np.int64))
    begin = time.perf_counter()
    rows = pieces = 0
    for first in range(0, DOCUMENTS, DOCUMENTS_A_FILE):
        packed = pack(lengths[first : first + DOCUMENTS_A_FILE], 0, 2048)
        rows, pieces = rows + packed.first.size - 1, pieces + packed.starts.size
    seconds = time.perf_counter() - begin
    tracemalloc.start()
    pack(lengths[:DOCUMENTS_A_FILE], 0, 2048)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return [
        _row("planning_of_a_million_documents", seconds * 1e6 / DOCUMENTS, "s", None),
        _row("planning_of_a_billion_documents", seconds * BILLION / DOCUMENTS / 60, "min", None),
        _row("memory_of_planning", peak / 1e6, "MB", None),
        _row("plan_of_a_billion_documents", (12 * pieces + 8 * rows) * BILLION / DOCUMENTS / 1e9, "GB", None),
    ]


def _row(name: str, value: float, unit: str, target: float | None) -> dict[str, Any]:
    holds = None if target is None else bool(value <= target)
    return {"name": name, "value": float(value), "unit": unit, "peer": None, "target": target, "holds": holds}


if __name__ == "__main__":
    main()
