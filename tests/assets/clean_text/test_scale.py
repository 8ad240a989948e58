from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pyarrow as pa
import pytest

from assets.raw_text.documents import DOCUMENTS, DocumentWriter

SIZE = 300_000_000
MOST_MEMORY = 1_500_000_000
CLEAN = """
import sys
from pathlib import Path
from assets.clean_text.conservation import check_conservation
from assets.clean_text.copies import find_copies
from assets.clean_text.filtering import filter_documents
from assets.clean_text.ledger import finish_documents
from assets.clean_text.settings import DuplicateSettings, FilterSettings

if __name__ == "__main__":
    base = Path(sys.argv[1])
    for stage in ("filtered", "copies", "clean"):
        (base / stage).mkdir()
    settings = FilterSettings()
    filter_documents(base / "raw", base / "filtered", dump="synthetic", settings=settings, parts=base / "parts")
    find_copies(
        {"synthetic": base / "filtered"},
        base / "copies",
        settings=DuplicateSettings(),
        signed=[settings.near_duplicates.model_dump(mode="json")],
    )
    report = finish_documents(base / "filtered", base / "copies", base / "clean", dump="synthetic")
    conservation = check_conservation(base / "raw", base / "clean")
    assert conservation.holds, conservation.violations
    assert report.dropped["exact_duplicate"] >= report.documents // 20, report
"""


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_memory_is_bounded_by_batch_not_by_corpus(tmp_path: Path) -> None:
    write_synthetic_documents(tmp_path / "raw")
    script = tmp_path / "clean.py"
    script.write_text(CLEAN)
    process = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path)], env=os.environ | {"PYTHONPATH": str(Path.cwd())}
    )
    peak = 0
    while process.poll() is None:
        peak = max(peak, resident_bytes(process.pid))
        time.sleep(0.1)
    assert process.returncode == 0
    print(f"peak {peak / 1e6:.0f} MB")
    assert peak < MOST_MEMORY


def resident_bytes(pid: int) -> int:
    """Resident memory of a process and its children; of a page that several share, each has its part."""
    total = 0
    try:
        for process in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True)):
            total += process.memory_full_info().pss
    except psutil.NoSuchProcess:
        pass
    return total


def write_synthetic_documents(folder: Path) -> None:
    """About ``SIZE`` bytes of text of every length; one document in ten is a copy of the one before."""
    folder.mkdir()
    generator = random.Random(0)
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["".join(generator.choices(letters, k=generator.randint(1, 9))) for _ in range(20_000)]
    pool = " ".join(generator.choices(words, k=1_000_000))
    written = number = 0
    with DocumentWriter(folder) as writer:
        while written < SIZE:
            texts: list[str] = []
            for index in range(2_000):
                start, length = (
                    generator.randrange(len(pool) - 100_000),
                    int(generator.paretovariate(1.2) * 400) % 90_000,
                )
                texts.append(texts[-1] if index % 10 == 9 else f"{number + index} {pool[start : start + length + 100]}")
            count = len(texts)
            columns = {
                "doc_id": [f"{number + index:032x}" for index in range(count)],
                "text": texts,
                "byte_start": list(range(number, number + count)),
                "byte_end": list(range(number, number + count)),
                **{name: ["synthetic"] * count for name in ("source", "dump", "path", "licence")},
                "language": ["en"] * count,
                "metadata": ["{}"] * count,
            }
            writer.write(pa.table({name: columns[name] for name in DOCUMENTS.names}, schema=DOCUMENTS))
            number += count
            written += sum(map(len, texts))
