"""Measures a finished vocabulary on a sample and writes ``fertility.parquet``, ``report.json`` and ``report.html``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from assets.vocabulary.peers import PeerVocabulary
from assets.vocabulary.report.entries import Entries, describe_entries
from assets.vocabulary.report.fertility import OURS, Encode, FertilityRow, measure_fertility, write_fertility
from assets.vocabulary.report.sizes import SizeCost, size_costs
from assets.vocabulary.sampling import SampledDocument, measure, sample
from assets.vocabulary.settings import VocabularySettings
from assets.vocabulary.tokenizer import Vocabulary, open_vocabulary

REPORT = "report.html"
NUMBERS = ("7", "42", "1987", "2026", "1000000", "3.14159", "10:30", "2026-11-25", "２０２６年", "一百二十三")
EXAMPLE_CHARACTERS = 300


@dataclass(frozen=True)
class VocabularyDetails:
    """Everything that the report shows.

    Attributes:
        kind, pattern, size: Of the vocabulary.
        fertility: How it and others cut each source.
        entries: What its entries are.
        numbers: Pieces of some numbers, by tokenizer.
        examples: The beginning of a text of each language, cut into tokens, by tokenizer.
        sizes: What smaller vocabularies of the same merges would cost; byte_bpe alone.
    """

    kind: str
    pattern: str
    size: int
    fertility: tuple[FertilityRow, ...]
    entries: Entries
    numbers: dict[str, dict[str, tuple[str, ...]]]
    examples: dict[str, dict[str, tuple[str, ...]]]
    sizes: tuple[SizeCost, ...]


def write_report(
    folder: Path,
    documents: Mapping[str, Path],
    *,
    settings: VocabularySettings,
    sample_bytes: int,
    peers: Sequence[PeerVocabulary],
    out: Path,
) -> VocabularyDetails:
    """Measure and write.

    Args:
        folder: Of the finished vocabulary.
        documents: Folder of ``documents-*.parquet`` by dump.
        settings: Of the vocabulary.
        sample_bytes: Most text of each dump, in UTF-8 bytes: the beginning of what the vocabulary is trained on.
        peers: Others, to compare it with.
        out: Empty folder.

    Raises:
        VocabularyError: If the vocabulary cannot be opened.
    """
    from assets.vocabulary.report.page import report_page

    vocabulary = open_vocabulary(folder)
    samples = {dump: list(sample(measure(place), sample_bytes)) for dump, place in documents.items()}
    encoders: dict[str, Encode] = {OURS: vocabulary.encode_batch}
    encoders |= {peer.name: _encode(peer) for peer in peers}
    rows = [row for dump, sampled in samples.items() for row in measure_fertility(encoders, sampled, dump=dump)]
    texts = [document.text for sampled in samples.values() for document in sampled]
    definition = json.loads(vocabulary.tokenizer.to_str())
    details = VocabularyDetails(
        kind=settings.kind,
        pattern=settings.pattern,
        size=vocabulary.size,
        fertility=tuple(rows),
        entries=describe_entries(vocabulary, vocabulary.encode_batch(texts), texts),
        numbers={
            name: {number: _pieces(tokenizer, number) for number in NUMBERS}
            for name, tokenizer in _tokenizers(vocabulary, peers).items()
        },
        examples={
            language: {name: _pieces(tokenizer, text) for name, tokenizer in _tokenizers(vocabulary, peers).items()}
            for language, text in _examples(samples).items()
        },
        sizes=tuple(size_costs(definition, settings, texts)) if settings.kind == "byte_bpe" else (),
    )
    write_fertility(rows, out / "fertility.parquet")
    (out / "report.json").write_text(json.dumps(asdict(details), ensure_ascii=False, indent=1), encoding="utf-8")
    (out / REPORT).write_text(report_page(details), encoding="utf-8")
    return details


def _encode(peer: PeerVocabulary) -> Encode:
    return lambda texts: [e.ids for e in peer.tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]


def _tokenizers(vocabulary: Vocabulary, peers: Sequence[PeerVocabulary]) -> dict[str, Vocabulary]:
    others = {peer.name: Vocabulary(peer.tokenizer, "", peer.tokenizer.get_vocab_size(), -1) for peer in peers}
    return {OURS: vocabulary, **others}


def _pieces(vocabulary: Vocabulary, text: str) -> tuple[str, ...]:
    names = vocabulary.token_bytes()
    return tuple(names[token].decode("utf-8", "backslashreplace") for token in vocabulary.encode_batch([text])[0])


def _examples(samples: Mapping[str, Sequence[SampledDocument]]) -> dict[str, str]:
    """The first text of each language that is long enough, or the longest."""
    found: dict[str, str] = {}
    for documents in samples.values():
        for document in documents:
            text, language = document.text[:EXAMPLE_CHARACTERS], document.language or "?"
            if len(found.get(language, "")) < len(text):
                found[language] = text
    return dict(sorted(found.items()))
