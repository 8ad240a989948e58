"""Removing near-duplicates, from texts in memory to the documents that stay, against datatrove's four MinHash stages.

python -m benchmarks.near_duplicates --input PATH --json FILE

Near-duplicates of known similarity are planted: copies of some documents in which words (in Chinese, characters) have
been replaced by others of the corpus. Exact copies are left out beforehand, as ``find_duplicates`` does. Both sides run
on one core and take turns; the median of the turns counts. datatrove's steps are called directly, without its executor;
its word tokenizer is loaded before. Similarities are those of our shingles, computed exactly.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import statistics
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import regex

from assets.clean_text.arrays import single_array, strings
from assets.clean_text.near_duplicates.minhash import minhash_schema, sign_documents
from assets.clean_text.near_duplicates.search import NearDuplicatesReport, find_near_duplicates
from assets.clean_text.near_duplicates.settings import NearDuplicateSettings
from assets.clean_text.near_duplicates.shingles import shingles
from assets.clean_text.tables import TableWriter
from assets.raw_text.documents import DOCUMENTS, DocumentWriter
from benchmarks.texts import read_texts

LANGUAGES = {"eng": "en", "cmn": "zh"}
LEVELS = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
TOLERANCE = 0.02
TARGET = 20.0
SHORTEST = 60  # shingles of a document that is planted again
BATCH_BYTES = 2 << 20  # as filter_documents

_WORD = {"eng": regex.compile(r"\p{L}+"), "cmn": regex.compile(r"\p{Han}")}


@dataclass(frozen=True)
class Planted:
    """A corpus and the similar pairs put into it: rows of the table, by the level of their similarity."""

    documents: pa.Table
    pairs: dict[float, list[tuple[int, int]]]


@dataclass(frozen=True)
class Outcome:
    """What one side did: seconds, and the document each removed one is a copy of, if that is known, by row."""

    seconds: float
    removed: dict[int, int]
    largest: int


def plant(table: pa.Table, language: str, settings: NearDuplicateSettings, *, share: float, seed: int = 0) -> Planted:
    """Append near-duplicates of a share of the documents, each level of similarity in turn."""
    random = np.random.default_rng(seed)
    texts = strings(single_array(table["text"]))
    sizes = np.diff(shingles(single_array(table["text"]), settings).starts)
    sources = random.permutation(np.flatnonzero(sizes >= SHORTEST))[: max(len(LEVELS), int(len(texts) * share))]
    vocabulary = [word for text in texts[:: max(1, len(texts) // 2000)] for word in _WORD[language].findall(text)]
    pairs: dict[float, list[tuple[int, int]]] = {level: [] for level in LEVELS}
    copies: list[str] = []
    for number, source in enumerate(sources.tolist()):
        level = LEVELS[number % len(LEVELS)]
        copy = _changed(texts[source], level, _WORD[language], vocabulary, settings, random)
        if copy is not None:
            pairs[level].append((source, len(texts) + len(copies)))
            copies.append(copy)
    order = random.permutation(len(texts) + len(copies))  # of rows: copies must not stand together
    place = np.argsort(order)
    contents = np.array(texts + copies, dtype=object)[order].tolist()
    ids = [f"{index:032x}" for index in range(len(contents))]
    return Planted(
        pa.table({"doc_id": ids, "text": pa.array(contents, pa.string())}),
        {level: [(int(place[a]), int(place[b])) for a, b in found] for level, found in pairs.items()},
    )


def _changed(
    text: str,
    level: float,
    word: regex.Pattern[str],
    vocabulary: list[str],
    settings: NearDuplicateSettings,
    random: np.random.Generator,
) -> str | None:
    """The text with as many words replaced as make it similar to that level, within ``TOLERANCE`` above it."""
    spans = [match.span() for match in word.finditer(text)]
    if not spans:
        return None
    order = random.permutation(len(spans))
    few, many = 0, len(spans)
    for _ in range(20):
        count = (few + many + 1) // 2
        parts, last = [], 0
        for index in sorted(order[:count].tolist()):
            begin, end = spans[index]
            parts += [text[last:begin], vocabulary[int(random.integers(len(vocabulary)))]]
            last = end
        copy = "".join([*parts, text[last:]])
        similarity = jaccard(text, copy, settings)
        if level <= similarity < level + TOLERANCE:
            return copy
        if few + 1 >= many:
            return None
        few, many = (count, many) if similarity >= level else (few, count)
    return None


def jaccard(first: str, second: str, settings: NearDuplicateSettings) -> float:
    """Exact similarity of two texts."""
    hashes, starts = shingles(pa.array([first, second], pa.string()), settings)
    a, b = set(hashes[: starts[1]].tolist()), set(hashes[starts[1] :].tolist())
    return len(a & b) / max(len(a | b), 1)


def our_side(documents: pa.Table, folder: Path, settings: NearDuplicateSettings) -> Outcome:
    """Sign, find, and take out what goes. The Parquet file of the documents is there before, as in the pipeline."""
    dump, out = folder / "dump", folder / "out"
    dump.mkdir()
    out.mkdir()
    with DocumentWriter(dump) as writer:
        rest = {
            field.name: pa.array([0 if pa.types.is_integer(field.type) else "x"] * len(documents), field.type)
            for field in DOCUMENTS
            if field.name not in documents.column_names
        }
        writer.write(pa.table({**{name: documents[name] for name in documents.column_names}, **rest}))
    begin = time.perf_counter()
    doc_ids, texts = (single_array(documents[name]) for name in ("doc_id", "text"))
    ends = np.cumsum(pc.binary_length(texts).to_numpy(), dtype=np.int64) // BATCH_BYTES
    bounds = [0, *(np.flatnonzero(np.diff(ends)) + 1).tolist(), len(texts)]
    with TableWriter(dump / "minhash.parquet", minhash_schema(settings)) as signatures:
        for first, last in itertools.pairwise(bounds):
            signatures.write(sign_documents(doc_ids[first:last], texts[first:last], settings))
    report: NearDuplicatesReport = find_near_duplicates({"dump": dump}, out, settings=settings, threads=1)
    removed = pq.read_table(out / "near-duplicates-dump.parquet")
    staying = documents.filter(pc.invert(pc.is_in(doc_ids, single_array(removed["doc_id"]))))
    seconds = time.perf_counter() - begin
    assert staying.num_rows == documents.num_rows - report.near_duplicates["dump"]
    rows = zip(*(strings(single_array(removed[name])) for name in ("doc_id", "duplicate_of")), strict=True)
    return Outcome(seconds, {int(copy, 16): int(kept, 16) for copy, kept in rows}, report.largest + 1)


def their_side(documents: pa.Table, folder: Path, language: str) -> Outcome:
    """datatrove's four stages in this process, one task each; its documents are there before."""
    from datatrove.data import Document
    from datatrove.pipeline.dedup.minhash import (
        MinhashConfig,
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupFilter,
        MinhashDedupSignature,
    )
    from datatrove.utils.word_tokenizers import load_word_tokenizer

    load_word_tokenizer(language).word_tokenize("今天天气很好 a text")
    config = MinhashConfig()
    rows = zip(documents["text"].to_pylist(), documents["doc_id"].to_pylist(), strict=True)
    items = [Document(text=text, id=doc_id) for text, doc_id in rows]
    signatures, buckets, removals = (str(folder / name) for name in ("signatures", "buckets", "removals"))
    begin = time.perf_counter()
    MinhashDedupSignature(signatures, config=config, language=language).run(iter(items), 0, 1)
    for bucket in range(config.num_buckets):
        MinhashDedupBuckets(signatures, buckets, config=config).run(None, bucket, config.num_buckets)
    MinhashDedupCluster(buckets, removals, config=config).run(None, 0, 1)
    staying = {int(item.id, 16) for item in MinhashDedupFilter(removals).run(iter(items), 0, 1)}
    seconds = time.perf_counter() - begin
    # Once more with the clusters, to know which document each removed one was taken for a copy of.
    clusters = str(folder / "clusters")
    MinhashDedupCluster(buckets, clusters, config=config, save_cluster_id=True).run(None, 0, 1)
    path = Path(clusters) / "000000.clusters"
    members = np.fromfile(path, "<u4").reshape(-1, 2) if path.exists() else np.zeros((0, 2), np.uint32)
    kept = {int(cluster): int(row) for row, cluster in members if int(row) in staying}
    sizes = Counter(members[:, 1].tolist())
    removed = {int(row): kept[int(cluster)] for row, cluster in members if int(row) not in staying}
    assert len(removed) == len(items) - len(staying)
    return Outcome(seconds, removed, max(sizes.values(), default=1))


def precision(outcome: Outcome, texts: list[str], settings: NearDuplicateSettings) -> float:
    """Share of the removed documents that are as similar to the one that stays as the threshold says."""
    good = [jaccard(texts[copy], texts[kept], settings) >= settings.threshold for copy, kept in outcome.removed.items()]
    return sum(good) / max(len(good), 1)


def recall(outcome: Outcome, pairs: list[tuple[int, int]]) -> float:
    """Share of pairs of which at most one is left."""
    return sum(a in outcome.removed or b in outcome.removed for a, b in pairs) / max(len(pairs), 1)


def spared(outcome: Outcome, pairs: list[tuple[int, int]]) -> float:
    """Share of pairs of which neither was removed for the other."""
    taken = sum(outcome.removed.get(a) == b or outcome.removed.get(b) == a for a, b in pairs)
    return 1 - taken / max(len(pairs), 1)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", type=Path, help="file or folder of text; by default the demo's sources")
    parser.add_argument("--json", type=Path, help="file for the measures")
    parser.add_argument("--language", choices=LANGUAGES, default="eng")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--planted", type=float, default=0.5, help="share of the documents that get a near-duplicate")
    arguments = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    _silence_datatrove()
    settings = NearDuplicateSettings()
    table = read_texts(arguments.input)
    table = table.filter(pc.equal(table["language"], pa.scalar(LANGUAGES[arguments.language])))
    table = pa.table({"text": pc.unique(table["text"])})
    planted = plant(table, arguments.language, settings, share=arguments.planted)
    size = pc.sum(pc.binary_length(planted.documents["text"])).as_py() / 1e6
    print(f"{planted.documents.num_rows:,} documents, {size:.1f} MB, {sum(map(len, planted.pairs.values())):,} planted")
    outcomes: dict[str, list[Outcome]] = {"corpusline": [], "datatrove": []}
    _turn(outcomes, Planted(planted.documents.slice(0, 50), {}), arguments.language, settings)
    outcomes = {name: [] for name in outcomes}
    for _ in range(arguments.repeats):
        _turn(outcomes, planted, arguments.language, settings)
    measures = _measures(outcomes, planted, settings, size)
    for measure in measures:
        print("{name:<34} {value:>10.4g} {unit:<6} datatrove {peer:<10.4g} target {target:<8.4g} {mark}".format(
            **measure, mark="holds" if measure["holds"] else "MISSED"
        ))  # fmt: skip
    if arguments.json:
        arguments.json.write_text(json.dumps({"measures": measures}, indent=2) + "\n")


def _turn(outcomes: dict[str, list[Outcome]], planted: Planted, language: str, settings: NearDuplicateSettings) -> None:
    for name in outcomes:
        with tempfile.TemporaryDirectory() as folder:
            outcomes[name].append(
                our_side(planted.documents, Path(folder), settings)
                if name == "corpusline"
                else their_side(planted.documents, Path(folder), language)
            )
            shutil.rmtree(folder, ignore_errors=True)


def _measures(
    outcomes: dict[str, list[Outcome]], planted: Planted, settings: NearDuplicateSettings, size: float
) -> list[dict[str, Any]]:
    speeds = {name: size / statistics.median(turn.seconds for turn in turns) for name, turns in outcomes.items()}
    ours, theirs = outcomes["corpusline"][-1], outcomes["datatrove"][-1]
    texts = strings(single_array(planted.documents["text"]))
    ratio = speeds["corpusline"] / speeds["datatrove"]
    measures: list[dict[str, Any]] = [
        _measure("throughput", speeds["corpusline"], "MB/s", speeds["datatrove"], TARGET * speeds["datatrove"]),
        _measure("throughput ratio", ratio, "times", 1.0, TARGET),
    ]
    for level, pairs in planted.pairs.items():
        if pairs and level >= settings.threshold:
            found = recall(theirs, pairs)
            measures.append(
                _measure(f"recall at {level:.2f} ({len(pairs)} pairs)", recall(ours, pairs), "", found, found)
            )
    for level, pairs in planted.pairs.items():
        if pairs and level + TOLERANCE <= settings.threshold:
            name = f"spared at {level:.2f} ({len(pairs)} pairs)"
            measures.append(_measure(name, spared(ours, pairs), "", spared(theirs, pairs), 1.0))
    measures.append(
        _measure("precision", precision(ours, texts, settings), "", precision(theirs, texts, settings), 1.0)
    )
    shares = [side.largest / len(texts) for side in (ours, theirs)]
    share = _measure("largest cluster, share", shares[0], "", shares[1], shares[1])
    share["holds"] = shares[0] <= shares[1]
    return [*measures, share]


def _measure(name: str, value: float, unit: str, peer: float, target: float) -> dict[str, Any]:
    return {"name": name, "value": value, "unit": unit, "peer": peer, "target": target, "holds": value >= target}


def _silence_datatrove() -> None:
    import importlib.metadata  # datatrove's tokenizers use it without importing it
    import logging

    from datatrove.utils.logging import logger

    assert importlib.metadata
    logger.remove()
    logging.disable(logging.WARNING)  # jieba says that it loads its dictionary
    os.environ["TQDM_DISABLE"] = "1"


if __name__ == "__main__":
    main()
