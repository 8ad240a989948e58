"""Models as a training leaves them, of documents of the test's choice; without weights, which a trace does not need."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from assets.home import outputs_folder
from assets.raw_text.documents import DOCUMENTS, DocumentWriter
from assets.vocabulary.settings import VocabularySettings
from assets.vocabulary.tokenizer import Vocabulary, open_vocabulary
from assets.vocabulary.training import train_vocabulary
from training.artifact import Artifact, build_artifact
from training.run_settings import RunSettings, TrainingSettings
from training.samples import recorded
from training.shards import ShardWriter, open_shards

MODEL = {"width": 16, "layers": 1, "heads": 2, "key_value_heads": 2, "feed_forward_width": 16, "context": 8}


@dataclass(frozen=True)
class TracedModel:
    """A model's folder, and the texts of its training documents by dump and id."""

    folder: Path
    vocabulary: Vocabulary
    texts: dict[str, dict[str, str]]


def make_model(
    folder: Path,
    dumps: Mapping[str, Sequence[str]],
    *,
    ranks: int = 1,
    special_tokens: Sequence[str] = (),
    skipped: Sequence[int] = (),
    best_step: int | None = None,
    continue_from: Path | None = None,
    **training: Any,
) -> TracedModel:
    """Write clean text, token shards, vocabulary and the record of a training on them.

    Args:
        folder: Where the model goes.
        dumps: Texts by dump; the last one of each is for validation.
        ranks: Of the run.
        special_tokens: Further ones of the vocabulary.
        skipped: Steps, from 1, that the training has left out.
        best_step: The step whose weights were exported; None is the last.
        continue_from: Folder of the model that it goes on from.
        training: Settings of the training.
    """
    folder.mkdir(parents=True)
    clean = {dump: _clean_text(dump, texts) for dump, texts in dumps.items()}
    train_vocabulary(
        {dump: artifact.folder for dump, artifact in clean.items()},
        weights=dict.fromkeys(clean, 1.0),
        settings=VocabularySettings.model_validate(
            {"size": 270, "minimum_frequency": 1} | ({"special_tokens": list(special_tokens)} if special_tokens else {})
        ),
        out=folder,
    )
    vocabulary = open_vocabulary(folder)
    shards = {dump: _token_shards(dump, dumps[dump], artifact, vocabulary) for dump, artifact in clean.items()}
    settings = RunSettings(
        training=TrainingSettings.model_validate(
            {"model": MODEL, "steps": 20, "batch": 4, "parallel": {"micro_batch": 2}} | training
        ),
        data=[{"folder": str(artifact.folder), "weight": 1.0} for artifact in shards.values()],  # type: ignore[list-item]
        vocabulary=str(folder),
        output=str(folder),
        continue_from=None if continue_from is None else str(continue_from),
    )
    record = recorded(settings, [open_shards(artifact.folder) for artifact in shards.values()])
    (folder / "run.json").write_text(record.model_dump_json())
    report = {"best_step": best_step or settings.training.steps, "ranks": ranks, "skipped_steps": list(skipped)}
    (folder / "report.json").write_text(json.dumps(report))
    texts = {dump: {doc_id(dump, number): text for number, text in enumerate(texts)} for dump, texts in dumps.items()}
    return TracedModel(folder, vocabulary, texts)


def doc_id(dump: str, number: int) -> str:
    """The id of a dump's document."""
    return f"{sum(dump.encode()):08x}{number:024x}"


def _clean_text(dump: str, texts: Sequence[str]) -> Artifact:
    def produce(out: Path) -> dict[str, int]:
        ends = [sum(len(text.encode()) for text in texts[: number + 1]) for number in range(len(texts))]
        with DocumentWriter(out) as writer:
            columns = {
                "doc_id": [doc_id(dump, number) for number in range(len(texts))],
                "text": list(texts),
                "source": ["a house"] * len(texts),
                "dump": [dump] * len(texts),
                "path": [f"{dump}.txt"] * len(texts),
                "byte_start": [0, *ends[:-1]],
                "byte_end": ends,
                "licence": ["public domain"] * len(texts),
                "language": ["en"] * len(texts),
                "metadata": ['{"url": "http://example.org/1"}'] * len(texts),
            }
            writer.write(pa.table(columns, schema=DOCUMENTS))
        return {"documents": len(texts)}

    return build_artifact(
        outputs_folder("clean_text", dump), kind="clean_text", inputs={}, settings={}, code_version="1", produce=produce
    )


def _token_shards(dump: str, texts: Sequence[str], clean: Artifact, vocabulary: Vocabulary) -> Artifact:
    def produce(out: Path) -> dict[str, int]:
        with ShardWriter(
            out,
            vocabulary_hash=vocabulary.sha256,
            vocabulary_size=vocabulary.size,
            end_of_document=vocabulary.end_of_document,
            language="en",
            source="a house",
            dump=dump,
            shard_tokens=40,
        ) as writer:
            for number, (text, ids) in enumerate(zip(texts, vocabulary.encode_batch(texts), strict=True)):
                split = "validation" if number == len(texts) - 1 else "train"
                writer.add(split, doc_id(dump, number), ids, len(text.encode()))  # type: ignore[arg-type]
        return {"documents": len(texts)}

    return build_artifact(
        outputs_folder("token_shards", dump),
        kind="token_shards",
        inputs={"clean_text": clean.manifest.digest},
        settings={"texts": len(texts)},
        code_version="1",
        produce=produce,
    )
