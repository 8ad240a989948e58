"""Training a byte-level BPE against the trainer of ``tokenizers``: time, the same merges, and memory on two gigabytes.

python -m benchmarks.vocabulary_training --input PATH --json FILE

Both sides get the same texts in memory and one core (RAYON_NUM_THREADS=1), take turns, and the median of the turns in
CPU seconds counts. Memory is the peak of a process of ours that trains on two gigabytes, made from the input: its texts
over and over, words changed each time so that new pieces come up for ever, and once more of Chinese characters at
random, without a space, which is the worst there is.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from assets.vocabulary.byte_bpe import count_text, train_byte_bpe
from assets.vocabulary.kinds import special_tokens
from assets.vocabulary.patterns import pre_tokenizer
from assets.vocabulary.settings import VocabularySettings
from benchmarks.texts import read_texts

MOST_BYTES = 24 << 20
GIGABYTES = 2.0
MOST_MEMORY = 2.0
SIZE = 16_384


def main() -> None:
    """Parse the command line, measure, print a table, write the measures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", type=Path, help="file or folder of text; by default the demo's sources")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--gigabytes", type=float, default=GIGABYTES, help="text of the measure of memory")
    parser.add_argument("--json", type=Path, help="where to write the measures")
    parser.add_argument("--memory", choices=["changed", "chinese"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory:
        _train_much(options.memory, options.input, options.gigabytes)
        return
    os.environ["RAYON_NUM_THREADS"] = "1"
    table = read_texts(options.input)
    measures = []
    for language in ("en", "zh"):
        texts = _first(table, language)
        for pattern in ("corpusline", "gpt2") if texts else ():
            measures += _shown(_compare(texts, language, pattern, options.turns))
    for kind in ("changed", "chinese"):
        measures += _shown([_memory(kind, options)])
    if options.json:
        options.json.write_text(json.dumps({"measures": measures}, indent=1), encoding="utf-8")


def _shown(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for row in rows:
        holds = "holds" if row["holds"] else "DOES NOT HOLD"
        print(f"{row['name']:<44}{row['value']:>10.2f} {row['unit']:<8}{row['target']:>8g}  {holds}", flush=True)
    return rows


def _first(table: Any, language: str) -> list[str]:
    texts, size = [], 0
    for text, found in zip(table["text"].to_pylist(), table["language"].to_pylist(), strict=True):
        if found == language and size < MOST_BYTES:
            texts.append(text)
            size += len(text.encode())
    return texts


def _compare(texts: list[str], language: str, pattern: str, turns: int) -> list[dict[str, Any]]:
    options = VocabularySettings(size=SIZE, pattern=pattern)
    ours, theirs = [], []
    # Compiled before it is measured.
    train_byte_bpe(count_text(texts[:1], options), options)
    for _ in range(turns):
        begin = time.process_time()
        mine = train_byte_bpe(count_text(texts, options), options)
        ours.append(time.process_time() - begin)
        begin = time.process_time()
        library = _library(texts, options)
        theirs.append(time.process_time() - begin)
    same = json.loads(mine.to_str())["model"] == json.loads(library.to_str())["model"]
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    name = f"{language}, {pattern}, {megabytes:.0f} MB"
    ratio = statistics.median(theirs) / statistics.median(ours)
    return [
        {"name": f"{name}: times as fast", "value": ratio, "unit": "", "target": 1.0, "holds": ratio >= 1},
        {"name": f"{name}: identical", "value": float(same), "unit": "", "target": 1.0, "holds": same},
    ]


def _library(texts: list[str], options: VocabularySettings) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    limits = {"longest_han_run": options.longest_han_run, "digits_per_token": options.digits_per_token}
    tokenizer.pre_tokenizer = pre_tokenizer(options.pattern, **limits)
    trainer = trainers.BpeTrainer(
        vocab_size=options.size,
        special_tokens=special_tokens(options),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=options.minimum_frequency,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def _memory(kind: str, options: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.vocabulary_training", "--memory", kind]
    command += ["--gigabytes", str(options.gigabytes), *(["--input", str(options.input)] if options.input else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    peak = float(done.stdout.split()[-1])
    name = f"peak memory on {options.gigabytes:g} GB, {kind}"
    return {"name": name, "value": peak, "unit": "GB", "target": MOST_MEMORY, "holds": peak <= MOST_MEMORY}


def _train_much(kind: str, path: Path | None, gigabytes: float) -> None:
    options = VocabularySettings(size=SIZE)
    texts = _chinese(gigabytes) if kind == "chinese" else _changed(_first(read_texts(path), "en")[:400], gigabytes)
    train_byte_bpe(count_text(texts, options), options)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6)


def _changed(texts: list[str], gigabytes: float) -> Iterator[str]:
    """Texts over and over, the commonest letters exchanged for others each time."""
    generator = np.random.default_rng(0)
    encoded = [np.frombuffer(text.encode(), dtype=np.uint8) for text in texts]
    letters = np.frombuffer(b"etaoinshr", dtype=np.uint8)
    left = int(gigabytes * 1e9)
    while left > 0:
        exchanged = np.arange(256, dtype=np.uint8)
        exchanged[letters] = generator.permutation(np.arange(ord("a"), ord("z") + 1))[: letters.size]
        for text in encoded:
            left -= text.size
            yield exchanged[text].tobytes().decode()


def _chinese(gigabytes: float) -> Iterator[str]:
    """Characters at random."""
    generator = np.random.default_rng(0)
    for _ in range(int(gigabytes * 1e9 / 3 / 100_000)):
        yield generator.integers(0x4E00, 0x9FA5, 100_000).astype("<u4").tobytes().decode("utf-32-le")


if __name__ == "__main__":
    main()
