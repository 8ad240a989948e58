"""Tokens a second into the trainer: our loader side by side with nanoGPT's, litdata's and mosaicml-streaming's.

python -m benchmarks.loader --input PATH --json FILE [--peers PYTHON]

All read the same tokens, shuffled over the whole, as batches of windows of one length, from files of the same size, in
one process on one core, and take turns; the median counts. litdata and mosaicml-streaming need packages that conflict
with ours and are measured by the interpreter that --peers names, of an environment of their own::

    python3 -m venv .venv-peers
    .venv-peers/bin/pip install torch==2.13.0 litdata==0.2.76 mosaicml-streaming==0.13.0

Reported too: how long a run waits before its first batch over ten terabytes of shards (sparse files).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from assets.clean_text.arrays import single_array, strings
from assets.vocabulary.settings import VocabularySettings
from assets.vocabulary.tokenizer import open_vocabulary
from assets.vocabulary.training import train_vocabulary
from benchmarks.texts import read_texts
from training.loader import BatchStream, SampleReader
from training.rows import CutRows
from training.sample_order import OrderedSource, Phase, SampleOrder
from training.shards import Shards, ShardWriter, open_shards

CONTEXT, BATCH = 1024, 16
PEERS = ("litdata", "mosaicml-streaming")
TIMES_PEERS, TIMES_NANOGPT = 10.0, 1.0
FILE_MEGABYTES = 64
TERABYTES_FILES = 40_000


def main() -> None:
    """Parse the command line, measure, print a table, write the measures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", type=Path, help="file or folder of text; by default the demo's sources")
    parser.add_argument("--json", type=Path, help="where to write the measures")
    parser.add_argument("--peers", type=Path, help="interpreter with litdata and mosaicml-streaming")
    parser.add_argument("--repeats", type=int, default=5, help="turns of each side")
    parser.add_argument("--seconds", type=float, default=3.0, help="of a turn")
    parser.add_argument(
        "--file-megabytes", type=int, default=FILE_MEGABYTES, help="largest file of each side, but for nanoGPT's"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shards = token_shards(read_texts(options.input), folder, file_bytes=options.file_megabytes << 20)
        measures = _compare(shards, folder, options)
        measures += [_row("start_over_ten_terabytes", _start_seconds(folder / "sparse"), "s", None, 1.0, most=True)]
    for row in measures:
        holds = "" if row["holds"] is None else "holds" if row["holds"] else "DOES NOT HOLD"
        target = "" if row["target"] is None else f"{row['target']:g}"
        print(f"{row['name']:<34}{row['value']:>16,.2f} {row['unit']:<10}{target:>8}  {holds}")
    if options.json:
        options.json.write_text(json.dumps({"measures": measures}, indent=1), encoding="utf-8")


def ours(shards: Shards) -> Iterator[torch.Tensor]:
    """Batches int32 [BATCH, CONTEXT + 1], without end."""
    return (batch.rows for batch in BatchStream(_reader(shards), steps=1 << 40, micro_batch=BATCH))


def nanogpt(tokens: Path) -> Iterator[torch.Tensor]:
    """Random windows of a memory-mapped file, inputs and targets as int64, as nanoGPT's get_batch reads them."""
    generator = torch.Generator().manual_seed(0)
    while True:
        # It maps the file anew for each batch, which keeps memory from growing.
        data = np.memmap(tokens, dtype=np.uint16, mode="r")
        starts = torch.randint(len(data) - CONTEXT, (BATCH,), generator=generator).tolist()
        inputs = torch.stack([torch.from_numpy(data[i : i + CONTEXT].astype(np.int64)) for i in starts])
        torch.stack([torch.from_numpy(data[i + 1 : i + 1 + CONTEXT].astype(np.int64)) for i in starts])
        yield inputs


def speed(batches: Iterator[torch.Tensor], seconds: float) -> float:
    """Tokens a second of some batches, the first ones left out."""
    for _ in range(20):
        next(batches)
    begin, tokens = time.perf_counter(), 0
    while time.perf_counter() - begin < seconds:
        for _ in range(10):
            tokens += next(batches).shape[0] * CONTEXT
    return tokens / (time.perf_counter() - begin)


def _compare(shards: Shards, folder: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    flat = folder / "flat.bin"
    _write_flat(shards, flat)
    sides: dict[str, Callable[[], float]] = {
        "ours": lambda: speed(ours(shards), options.seconds),
        "nanoGPT": lambda: speed(nanogpt(flat), options.seconds),
    }
    peers = PEERS if options.peers else ()
    for peer in peers:
        _peer(options.peers, "prepare", peer, flat, folder, str(options.file_megabytes << 20))
        sides[peer] = lambda peer=peer: float(  # type: ignore[misc]
            _peer(options.peers, "measure", peer, flat, folder, str(options.seconds))
        )
    measured: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(options.repeats):
        for name, side in sides.items():
            measured[name].append(side())
    speeds = {name: statistics.median(values) for name, values in measured.items()}
    rows = [_row("tokens_a_second", speeds["ours"], "tokens/s", None, None)]
    for name, value in list(speeds.items())[1:]:
        target = TIMES_NANOGPT if name == "nanoGPT" else TIMES_PEERS
        rows.append(_row(f"tokens_a_second_of_{name}", value, "tokens/s", name, None))
        rows.append(_row(f"ratio_to_{name}", speeds["ours"] / value, "times", name, target))
    return rows


def _peer(python: Path, *arguments: Any) -> str:
    script = Path(__file__).with_name("loader_peers.py")
    command = [str(python), str(script), *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "DO_NOT_TRACK": "1", "DISABLE_OPTIMIZED_S3": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")
    return done.stdout.strip().splitlines()[-1] if done.stdout.strip() else ""


def token_shards(documents: pa.Table, folder: Path, *, file_bytes: int = FILE_MEGABYTES << 20) -> Shards:
    """Shards of all texts, of at most so many bytes each, encoded by a vocabulary that is trained on some of them."""
    texts = strings(single_array(documents["text"]))
    (folder / "documents").mkdir()
    (folder / "vocabulary").mkdir()
    _write_documents(texts[:2000], folder / "documents")
    train_vocabulary(
        {"d": folder / "documents"},
        weights={"d": 1.0},
        settings=VocabularySettings(size=4096, sample_bytes=8 << 20),
        out=folder / "vocabulary",
    )
    vocabulary = open_vocabulary(folder / "vocabulary")
    out = folder / "shards"
    out.mkdir()
    with ShardWriter(
        out,
        vocabulary_hash=vocabulary.sha256,
        vocabulary_size=vocabulary.size,
        end_of_document=vocabulary.end_of_document,
        language="",
        source="",
        dump="d",
        shard_tokens=file_bytes // 2,
    ) as writer:
        for first in range(0, len(texts), 256):
            part = texts[first : first + 256]
            for number, (text, ids) in enumerate(zip(part, vocabulary.encode_batch(part), strict=True)):
                if ids:
                    writer.add("train", f"{first + number:032x}", ids, len(text.encode()))
    return open_shards(out)


def _write_documents(texts: Sequence[str], folder: Path) -> None:
    from assets.raw_text.documents import DOCUMENTS, DocumentWriter

    rows = len(texts)
    columns: dict[str, Any] = {
        "doc_id": [f"{row:032x}" for row in range(rows)],
        "text": list(texts),
        "byte_start": list(range(rows)),
        "byte_end": list(range(rows)),
        "metadata": ["{}"] * rows,
    }
    columns |= {name: [""] * rows for name in ("source", "dump", "path", "licence", "language")}
    with DocumentWriter(folder) as writer:
        writer.write(pa.table(columns).select(DOCUMENTS.names).cast(DOCUMENTS))


def _write_flat(shards: Shards, path: Path) -> None:
    with path.open("wb") as file:
        for begin in range(0, shards.train.token_count, 1 << 20):
            length = min(1 << 20, shards.train.token_count - begin)
            file.write(shards.train.tokens(begin, length).astype(np.uint16).tobytes())


def _reader(shards: Shards) -> SampleReader:
    rows = CutRows(shards.train, CONTEXT)
    order = SampleOrder([OrderedSource("d", rows.windows)], [Phase(1, BATCH, 1, (1.0,))], seed=0)
    return SampleReader([shards], [rows], order, CONTEXT)


def _start_seconds(folder: Path) -> float:
    """From nothing to the first batch over forty thousand sparse files of 256 MiB."""
    folder.mkdir()
    with ShardWriter(
        folder, vocabulary_hash="", vocabulary_size=4096, end_of_document=0, language="", source="", dump="d"
    ) as writer:
        writer.add("train", f"{0:032x}", [1, 2, 3], 3)
    path = folder / "shards.json"
    description = json.loads(path.read_text(encoding="utf-8"))
    (entry,) = description["splits"]["train"]["files"]
    files = [entry]
    for number in range(1, TERABYTES_FILES):
        name = f"train-{number:05d}.bin"
        with (folder / name).open("wb") as file:
            file.truncate(1 << 28)
        (folder / f"train-{number:05d}.index.parquet").touch()
        files.append(entry | {"name": name, "tokens": 1 << 27})
    description["splits"]["train"]["files"] = files
    path.write_text(json.dumps(description), encoding="utf-8")
    begin = time.perf_counter()
    next(ours(open_shards(folder)))
    return time.perf_counter() - begin


def _row(
    name: str, value: float, unit: str, peer: str | None, target: float | None, *, most: bool = False
) -> dict[str, Any]:
    holds = None if target is None else bool(value <= target if most else value >= target)
    return {"name": name, "value": float(value), "unit": unit, "peer": peer, "target": target, "holds": holds}


if __name__ == "__main__":
    main()
