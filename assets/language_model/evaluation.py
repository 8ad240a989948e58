"""What a finished model can do: bits a byte on whole validation documents beside trivial models, and samples.

Written to the output folder: ``evaluation.json`` (``Evaluation``).
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from assets.language_model.baselines import bigram_bits_per_byte, compressed_bits_per_byte
from assets.language_model.settings import EvaluationSettings
from assets.vocabulary.tokenizer import Vocabulary, open_vocabulary
from training.artifact import fingerprint, write_atomically
from training.export import load_model
from training.generation import generate, stream_text
from training.models import LanguageModel
from training.scoring import Score, score_documents
from training.shards import Document, Shards, Split, open_shards

EVALUATION = "evaluation.json"
PROMPT_TOKENS = 8


@dataclass(frozen=True)
class Measured:
    """A model on some documents.

    Attributes:
        loss: Nats a token.
        bits_per_byte: Bits a UTF-8 byte of text.
        documents, tokens, bytes: What it was measured on.
    """

    loss: float
    bits_per_byte: float
    documents: int
    tokens: int
    bytes: int


@dataclass(frozen=True)
class Sample:
    """Text written by the model after a prompt."""

    prompt: str
    text: str


@dataclass(frozen=True)
class Evaluation:
    """All that is measured.

    Attributes:
        validation_set: Hash of the validation documents; models are compared only where it is the same.
        overall: Over all documents.
        dumps: By dump, of those with validation documents.
        languages: By language, of the same.
        baselines: Bits a byte by language and then by name: gzip, xz, bigram.
        samples: By language; none where there is neither a prompt nor a validation document.
    """

    validation_set: str
    overall: Measured
    dumps: dict[str, Measured]
    languages: dict[str, Measured]
    baselines: dict[str, dict[str, float]]
    samples: dict[str, list[Sample]]


def evaluate(
    model: Path,
    shards: Mapping[str, Path],
    settings: EvaluationSettings,
    *,
    prompts: Mapping[str, Sequence[str]],
    out: Path,
) -> Evaluation:
    """Measure a model on the whole validation split of each dump and write ``evaluation.json``.

    Args:
        model: Folder of the exported model.
        shards: Token shards by dump.
        settings: Samples.
        prompts: Beginnings of the samples by language; a language without takes those of validation documents.
        out: Empty folder.

    Raises:
        ExportError, ShardError, VocabularyError: If a folder is damaged or they do not fit each other.
    """
    vocabulary = open_vocabulary(model)
    network = load_model(model)
    opened = {dump: open_shards(folder, vocabulary_hash=vocabulary.sha256) for dump, folder in shards.items()}
    scores = {
        dump: score_split(network, source.validation, vocabulary, batch=settings.batch)
        for dump, source in opened.items()
        if source.validation.document_count
    }
    by_language: defaultdict[str, dict[str, Shards]] = defaultdict(dict)
    for dump, source in opened.items():
        by_language[source.language][dump] = source
    measured = {language: dumps for language, dumps in by_language.items() if scores.keys() & dumps.keys()}
    nothing = Score(0.0, 0, 0, 0)
    result = Evaluation(
        validation_set=validation_set(opened),
        overall=_measured(sum(scores.values(), nothing)),
        dumps={dump: _measured(score) for dump, score in scores.items()},
        languages={
            language: _measured(sum((scores[dump] for dump in dumps if dump in scores), nothing))
            for language, dumps in measured.items()
        },
        baselines={language: baselines([*dumps.values()], vocabulary) for language, dumps in measured.items()},
        samples={
            language: samples
            for language, dumps in by_language.items()
            if (samples := _samples(network, vocabulary, [*dumps.values()], prompts.get(language), settings))
        },
    )
    write_atomically(out / EVALUATION, json.dumps(asdict(result), indent=1, ensure_ascii=False))
    return result


def read_evaluation(folder: Path) -> Evaluation:
    """The evaluation that ``evaluate`` wrote to a folder."""
    fields = json.loads((folder / EVALUATION).read_text(encoding="utf-8"))
    return Evaluation(
        validation_set=fields["validation_set"],
        overall=Measured(**fields["overall"]),
        dumps={dump: Measured(**value) for dump, value in fields["dumps"].items()},
        languages={language: Measured(**value) for language, value in fields["languages"].items()},
        baselines=fields["baselines"],
        samples={language: [Sample(**value) for value in values] for language, values in fields["samples"].items()},
    )


def validation_set(shards: Mapping[str, Shards]) -> str:
    """Hash of the validation documents' ids and sizes by dump; another vocabulary does not change it."""
    return fingerprint(
        {
            dump: [[document.doc_id, document.bytes] for document in source.validation.iterate()]
            for dump, source in shards.items()
            if source.validation.document_count
        }
    )


def score_split(network: LanguageModel, split: Split, vocabulary: Vocabulary, *, batch: int) -> Score:
    """Score every document of a split; its ids are of this vocabulary."""
    return score_documents(
        network,
        split.iterate(),
        context=network.settings.context,
        end_of_document=vocabulary.end_of_document,
        batch=batch,
        device=torch.device("cpu"),
    )


def rescore(model: Path, shards: Mapping[str, Path], encoded_with: Vocabulary, *, batch: int) -> float:
    """Bits a byte of another model, with its own vocabulary, on the validation documents of these shards.

    Args:
        model: Folder of that model.
        shards: Token shards by dump.
        encoded_with: Their vocabulary; the texts are what it decodes.
        batch: Sequences that are scored at once.
    """
    network, own = load_model(model), open_vocabulary(model)

    def documents() -> Iterator[Document]:
        for folder in shards.values():
            for document in open_shards(folder, vocabulary_hash=encoded_with.sha256).validation.iterate():
                ids = own.encode_batch([encoded_with.decode(document.ids.tolist())])[0]
                yield Document(document.doc_id, 0, np.array([*ids, own.end_of_document]), document.bytes)

    return score_documents(
        network,
        documents(),
        context=network.settings.context,
        end_of_document=own.end_of_document,
        batch=batch,
        device=torch.device("cpu"),
    ).bits_per_byte


def baselines(sources: Sequence[Shards], vocabulary: Vocabulary) -> dict[str, float]:
    """Bits a byte of gzip and xz on the validation text, and of a character bigram model of the training text."""

    def texts(choose: Callable[[Shards], Split]) -> Iterator[str]:
        return (vocabulary.decode(document.ids.tolist()) for source in sources for document in choose(source).iterate())

    validation = list(texts(lambda source: source.validation))
    return {
        **compressed_bits_per_byte(validation),
        "bigram": bigram_bits_per_byte(texts(lambda source: source.train), validation),
    }


def _samples(
    network: LanguageModel,
    vocabulary: Vocabulary,
    sources: Sequence[Shards],
    prompts: Sequence[str] | None,
    settings: EvaluationSettings,
) -> list[Sample]:
    prompts = prompts or [
        vocabulary.decode(document.ids[:PROMPT_TOKENS].tolist())
        for source in sources
        for document in (
            source.validation.document(number)
            for number in range(min(settings.samples, source.validation.document_count))
        )
    ]
    samples = []
    for number in range(settings.samples if prompts else 0):
        prompt = prompts[number % len(prompts)]
        sampling = settings.sampling.model_copy(update={"seed": settings.sampling.seed + number})
        ids = generate(
            network, vocabulary.encode_batch([prompt])[0], sampling, end_of_document=vocabulary.end_of_document
        )
        samples.append(Sample(prompt, "".join(stream_text(ids, vocabulary.decode, stop=settings.sampling.stop))))
    return samples


def _measured(score: Score) -> Measured:
    return Measured(score.loss, score.bits_per_byte, score.documents, score.tokens, score.bytes)
