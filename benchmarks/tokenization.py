"""Clean Parquet to finished token shards, side by side with tokenizers and with datatrove's tokenization step.

python -m benchmarks.tokenization --input PATH --json FILE

Needs the extra [bench]. A part of the text is set aside and a vocabulary trained on it; the rest is measured, English
and Chinese apart. Sides take turns, each turn in a process of its own with one thread, so that nothing is remembered
from the turn before; the median of the turns' CPU seconds counts:

- ours: the whole stage, from clean Parquet to shards, index and hashes on disk, the vocabulary opened and the encoder
  tried against tokenizers; after a run over a few documents, which loads what is compiled and is reported as the start.
  The stage vocabulary has proved the encoder, once for all dumps: reported as the proof
- tokenizers: ``encode_batch`` alone, of texts in memory
- datatrove: ``ParquetReader`` and ``DocumentTokenizer``, unshuffled, on a part of the text

Then every document's ids are compared with those of tokenizers, and the stage is run with one and two workers on the
text many times over, in seconds on the clock.
"""

from __future__ import annotations

import argparse
import io
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from assets.clean_text.arrays import single_array, strings
from assets.clean_text.process_pool import available_cores, use_one_thread
from assets.clean_text.row_groups import row_groups
from assets.clean_text.signatures import SIGNATURES, signatures
from assets.clean_text.tables import TableWriter, document_files
from assets.raw_text.documents import DOCUMENTS, DocumentWriter
from assets.token_shards.encoding import encode_dump
from assets.token_shards.settings import TokenShardSettings
from assets.vocabulary.encoders.choice import choose_encoder
from assets.vocabulary.settings import VocabularySettings
from assets.vocabulary.tokenizer import TOKENIZER, open_vocabulary
from assets.vocabulary.training import train_vocabulary
from benchmarks.texts import read_texts
from training.shards import SPLITS, open_shards

TARGET, TARGET_DATATROVE, TARGET_SCALING = 30.0, 30.0, 0.8
SIZE, SMALLEST_SIZE, ENTRIES_A_MEGABYTE = 32_768, 512, 8_000
ASIDE = 0.2
BATCH_DOCUMENTS = 1_000
FEW_DOCUMENTS = 64  # fewer may all be on one side
PROOFS = "proofs"
TOKENIZERS, DATATROVE = "tokenizers.encode_batch", "datatrove DocumentTokenizer"

Ids = npt.NDArray[np.uint32]
_Row = tuple[str, float, str, "str | None", "float | None"]
"""Name without the language, value, unit, peer, target."""


def main() -> None:
    """Parse the command line, measure, print a table, write the measures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", type=Path, help="file or folder of text; by default the demo's sources")
    parser.add_argument("--json", type=Path, help="where to write the measures")
    parser.add_argument("--repeats", type=int, default=3, help="turns of each side")
    parser.add_argument("--megabytes", type=float, default=64, help="most text of a language")
    parser.add_argument("--datatrove-megabytes", type=float, default=16, help="most text of a language for datatrove")
    parser.add_argument("--scaling-megabytes", type=float, default=1024, help="text for one and two processes; 0: none")
    options = parser.parse_args()
    table = read_texts(options.input)
    measures: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        for language in ("en", "zh"):
            texts = _texts(table, language, int(options.megabytes * 1e6))
            if len(texts) < 20:
                print(f"too little text in the language '{language}': not measured")
                continue
            folder = Path(scratch) / language
            aside = max(10, int(ASIDE * len(texts)))
            _write_clean(texts.slice(0, aside), folder / "aside", language)
            _train(folder / "aside", folder / "vocabulary")
            measured = texts.slice(aside)
            _write_clean(measured, folder / "clean", language)
            part = measured.slice(0, max(1, int(np.searchsorted(_ends(measured), options.datatrove_megabytes * 1e6))))
            _write_clean(part, folder / "part", language)
            _write_clean(measured.slice(0, FEW_DOCUMENTS), folder / "few", language)
            measures += _compare(folder, language, options.repeats)
            if options.scaling_megabytes:
                rounds = max(1, round(options.scaling_megabytes * 1e6 / _ends(measured)[-1]))
                _write_clean(measured, folder / "many", language, rounds=rounds)
                measures += _scaling(folder, language)
    for row in measures:
        holds = "" if row["holds"] is None else "holds" if row["holds"] else "DOES NOT HOLD"
        target = "" if row["target"] is None else f"{row['target']:g}"
        print(f"{row['name']:<42}{row['value']:>12.3f} {row['unit']:<10}{target:>8}  {holds}")
    if options.json:
        options.json.write_text(json.dumps({"measures": measures}, indent=1), encoding="utf-8")
    if not measures:
        sys.exit("nothing to measure; name a file or folder with --input")


def ours(folder: Path, documents: str, out: str) -> tuple[float, float]:
    """Run the stage over a few documents, then over all; CPU seconds of this process and seconds on the clock."""
    encode(folder, "few", f"{out}-few")
    return encode(folder, documents, out)


def encode(folder: Path, documents: str, out: str, workers: int = 1) -> tuple[float, float]:
    """Run the stage; CPU seconds of this process and seconds on the clock."""
    (folder / out).mkdir()
    settings = TokenShardSettings(validation_share=0.2, workers=workers)
    cpu, clock = time.process_time(), time.perf_counter()
    encode_dump(
        folder / documents,
        folder / "vocabulary",
        dump="dump",
        language="und",
        source="benchmark",
        settings=settings,
        out=folder / out,
        proofs=folder / PROOFS / "second",
    )
    return time.process_time() - cpu, time.perf_counter() - clock


def prove(folder: Path, documents: str, proofs: str) -> tuple[float, float]:
    """Prove the encoder as the stage vocabulary does, after a first time; CPU seconds and seconds on the clock."""
    for turn in ("first", "second"):
        cpu, clock = time.process_time(), time.perf_counter()
        vocabulary = open_vocabulary(folder / "vocabulary")
        groups = list(row_groups(folder / documents))
        choose_encoder(folder / "vocabulary", vocabulary, groups, proofs=folder / proofs / turn)
    return time.process_time() - cpu, time.perf_counter() - clock


def theirs(folder: Path, documents: str, out: str) -> tuple[float, float]:
    """Encode texts in memory with tokenizers; CPU seconds and seconds on the clock. Keeps the ids for comparison."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "vocabulary" / TOKENIZER))
    tokenizer.encode_special_tokens = True
    texts = [text for batch in _batches(folder / documents) for text in strings(single_array(batch["text"]))]
    found: list[Ids] = []
    cpu = clock = 0.0
    for begin in range(0, len(texts), BATCH_DOCUMENTS):
        batch = texts[begin : begin + BATCH_DOCUMENTS]
        cpu_start, clock_start = time.process_time(), time.perf_counter()
        encoded = tokenizer.encode_batch(batch, add_special_tokens=False)
        cpu += time.process_time() - cpu_start
        clock += time.perf_counter() - clock_start
        found += [np.asarray(encoding.ids, dtype=np.uint32) for encoding in encoded]
    np.save(folder / f"{out}-ids.npy", np.concatenate(found))
    np.save(folder / f"{out}-lengths.npy", np.asarray([ids.size for ids in found]))
    return cpu, clock


def datatrove(folder: Path, documents: str, out: str) -> tuple[float, float]:
    """Run datatrove's two steps; CPU seconds and seconds on the clock."""
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.readers import ParquetReader
    from datatrove.pipeline.tokens import DocumentTokenizer

    vocabulary = open_vocabulary(folder / "vocabulary")
    steps = [
        ParquetReader(str(folder / documents), glob_pattern="documents-*.parquet", id_key="doc_id"),
        DocumentTokenizer(
            str(folder / out),
            str(folder / "vocabulary" / TOKENIZER),
            eos_token=vocabulary.tokenizer.id_to_token(vocabulary.end_of_document),
            shuffle_documents=False,
        ),
    ]
    executor = LocalPipelineExecutor(steps, tasks=1, workers=1, logging_dir=str(folder / f"{out}-log"))
    cpu, clock = time.process_time(), time.perf_counter()
    with redirect_stderr(io.StringIO()):  # its log
        executor.run()
    return time.process_time() - cpu, time.perf_counter() - clock


def _compare(folder: Path, language: str, repeats: int) -> list[dict[str, Any]]:
    sides: dict[str, tuple[Callable[..., tuple[float, float]], str]] = {
        "ours": (ours, "clean"),
        "theirs": (theirs, "clean"),
        "ours_part": (ours, "part"),
        "datatrove": (datatrove, "part"),
    }
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    start: list[float] = []
    proof: list[float] = []
    _in_a_process(prove, folder, "aside", PROOFS)
    for turn in range(repeats):
        for name, (side, documents) in sides.items():
            seconds[name].append(_in_a_process(side, folder, documents, f"{name}-{turn}")[0])
        proof.append(_in_a_process(prove, folder, "aside", f"proofs-{turn}")[0])
        start.append(_in_a_process(encode, folder, "few", f"few-{turn}")[0])
    megabytes = {documents: _megabytes(folder / documents) for documents in ("clean", "part")}
    speed = {name: megabytes[sides[name][1]] / statistics.median(values) for name, values in seconds.items()}
    identical, count = _identical(folder, "ours-0", "theirs-0")
    rows: list[_Row] = [
        ("throughput_ratio", speed["ours"] / speed["theirs"], "times", TOKENIZERS, TARGET),
        ("throughput_ratio_datatrove", speed["ours_part"] / speed["datatrove"], "times", DATATROVE, TARGET_DATATROVE),
        ("start", statistics.median(start), "s", None, None),
        ("proof", statistics.median(proof), "s", None, None),
        ("identical_documents", 100 * identical / count, "%", TOKENIZERS, 100.0),
        ("throughput", speed["ours"], "MB/s", TOKENIZERS, None),
        ("throughput_of_tokenizers", speed["theirs"], "MB/s", TOKENIZERS, None),
        ("throughput_on_the_part", speed["ours_part"], "MB/s", DATATROVE, None),
        ("throughput_of_datatrove", speed["datatrove"], "MB/s", DATATROVE, None),
        ("documents", count, "", TOKENIZERS, None),
        ("text", megabytes["clean"], "MB", TOKENIZERS, None),
        ("text_of_the_part", megabytes["part"], "MB", DATATROVE, None),
    ]
    return [_measure(f"{row[0]}_{language}", *row[1:]) for row in rows]


def _scaling(folder: Path, language: str) -> list[dict[str, Any]]:
    seconds = {workers: _in_a_process(encode, folder, "many", f"workers-{workers}", workers)[1] for workers in (1, 2)}
    megabytes = _megabytes(folder / "many")
    share = seconds[1] / seconds[2] / 2
    rows: list[_Row] = [
        ("scaling_of_two_workers", share, "of linear", None, TARGET_SCALING),
        ("throughput_of_one_worker", megabytes / seconds[1], "MB/s", None, None),
        ("throughput_of_two_workers", megabytes / seconds[2], "MB/s", None, None),
        ("text_for_scaling", megabytes, "MB", None, None),
        ("cores", available_cores(), "", None, None),
    ]
    return [_measure(f"{row[0]}_{language}", *row[1:]) for row in rows]


def _identical(folder: Path, our_run: str, their_run: str) -> tuple[int, int]:
    """Documents whose ids are the same on both sides, and documents in all."""
    lengths = np.load(folder / f"{their_run}-lengths.npy")
    ids = np.split(np.load(folder / f"{their_run}-ids.npy"), np.cumsum(lengths)[:-1])
    shards = open_shards(folder / our_run)
    found = {document.doc_id: document.ids[:-1] for split in SPLITS for document in shards.split(split).iterate()}
    nothing = np.zeros(0, dtype=np.int64)
    same = sum(np.array_equal(found.get(f"{row:032x}", nothing), each) for row, each in enumerate(ids))
    return same, len(ids)


def _in_a_process(side: Callable[..., tuple[float, float]], *arguments: Any) -> tuple[float, float]:
    """CPU and clock seconds that a function returns from a new process with one thread."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    os.environ |= {"TOKENIZERS_PARALLELISM": "false", "RAYON_NUM_THREADS": "1"}
    process = context.Process(target=_call, args=(sender, side, arguments))
    process.start()
    sender.close()
    try:
        seconds: tuple[float, float] = receiver.recv()
    except EOFError:
        sys.exit(f"{side.__name__} failed")
    process.join()
    return seconds


def _call(sender: Any, side: Callable[..., tuple[float, float]], arguments: tuple[Any, ...]) -> None:
    use_one_thread()
    sender.send(side(*arguments))


def _texts(table: pa.Table, language: str, most: int) -> pa.StringArray:
    texts: Any = single_array(table.filter(pc.equal(table["language"], pa.scalar(language)))["text"])
    texts = texts.filter(pc.not_equal(texts, pa.scalar("")))
    # Spread over the whole input, so that a part of it stands for all, also the one that is set aside.
    order = np.random.default_rng(0).permutation(len(texts))
    sizes = pc.binary_length(texts).to_numpy(zero_copy_only=False)[order]
    taken: pa.StringArray = texts.take(pa.array(order[: int(np.searchsorted(np.cumsum(sizes), most)) + 1]))
    return taken


def _write_clean(texts: pa.StringArray, folder: Path, language: str, rounds: int = 1) -> None:
    """A folder as the stage clean_text writes it; the row is the doc_id."""
    folder.mkdir(parents=True)
    signed = signatures(texts)
    count = len(texts)
    with (
        DocumentWriter(folder) as documents,
        TableWriter(folder / "signatures.parquet", SIGNATURES, rows_per_group=1 << 12) as writer,
    ):
        for number in range(rounds):
            doc_ids = pa.array([f"{number * count + row:032x}" for row in range(count)], pa.string())
            columns: dict[str, Any] = {
                "doc_id": doc_ids,
                "text": texts,
                "byte_start": pa.array(np.arange(count)),
                "byte_end": pa.array(np.arange(count)),
                "language": [language] * count,
                "metadata": ["{}"] * count,
            }
            columns |= {name: ["benchmark"] * count for name in ("source", "dump", "path", "licence")}
            documents.write(pa.table(columns).select(DOCUMENTS.names))
            writer.write(pa.table([doc_ids, signed], schema=SIGNATURES))


def _train(documents: Path, out: Path) -> None:
    out.mkdir()
    settings = VocabularySettings(size=min(SIZE, SMALLEST_SIZE + int(ENTRIES_A_MEGABYTE * _megabytes(documents))))
    train_vocabulary({"aside": documents}, weights={"aside": 1.0}, settings=settings, out=out)


def _batches(folder: Path) -> Iterator[pa.Table]:
    for path in document_files(folder):
        file = pq.ParquetFile(path)
        for group in range(file.num_row_groups):
            yield file.read_row_group(group, columns=["text"])


def _ends(texts: pa.StringArray) -> npt.NDArray[np.int64]:
    return np.cumsum(pc.binary_length(texts).to_numpy(zero_copy_only=False), dtype=np.int64)


def _megabytes(folder: Path) -> float:
    sizes = (pc.sum(pc.binary_length(batch["text"])).as_py() for batch in _batches(folder))
    return float(sum(sizes)) / 1e6


def _measure(name: str, value: float, unit: str, peer: str | None, target: float | None) -> dict[str, Any]:
    holds = None if target is None else bool(value >= target)
    return {"name": name, "value": float(value), "unit": unit, "peer": peer, "target": target, "holds": holds}


if __name__ == "__main__":
    main()
