"""Traces with the documents' text, file and licence: what the command shows."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from assets.home import catalogue_path, downloads_folder
from assets.raw_text.catalogue import load_catalogue
from assets.raw_text.errors import CatalogueError, RawTextError
from assets.raw_text.raw_bytes import raw_bytes
from assets.text_index.matches import LongestMatch, longest_matches
from assets.text_index.search import Occurrence, count, occurrences
from assets.text_index.stored import open_stored_index
from assets.trace.document import DocumentTrace, trace_document
from assets.trace.documents import TracedDocument, find_documents
from assets.trace.run import TracedRun
from assets.trace.step import SampleTrace, SeenDocument, seen_documents, step_samples
from training.shards import SplitName

SHORTEST_MATCH = 4
"""Characters of the shortest part of a text that is looked for where the whole does not occur."""
# Places that are looked at for each that is shown.
_LOOKED_AT = 4
# Formats whose documents' places are bytes of the file.
_BYTES = ("txt", "markdown", "html", "warc", "wikipedia", "jsonl", "csv")
_MOST_RAW_BYTES = 1 << 20


@dataclass(frozen=True)
class StepReport:
    """The documents of a step.

    Attributes:
        step: From 0.
        steps: Steps of the model.
        rank: The only rank looked at; None for all.
        samples: The sequences.
        documents: What was seen of each document and the document, those with most tokens first.
    """

    step: int
    steps: int
    rank: int | None
    samples: tuple[SampleTrace, ...]
    documents: tuple[tuple[SeenDocument, TracedDocument], ...]


@dataclass(frozen=True)
class RawPlace:
    """The bytes that a document was read from.

    Attributes:
        file: The file on this machine: the source's own, or the archive that holds it.
        content: The bytes as text, in UTF-8 with U+FFFD for what is none; their first megabyte.
    """

    file: str
    content: str


@dataclass(frozen=True)
class DocumentReport:
    """The steps that saw a document, and what it was read from.

    Attributes:
        trace: The steps.
        steps: Steps of the model.
        document: The document.
        raw: Its bytes in the source's file; None where the source or its format has none.
    """

    trace: DocumentTrace
    steps: int
    document: TracedDocument
    raw: RawPlace | None


@dataclass(frozen=True)
class TextPlace:
    """One place where a text occurs in the training data.

    Attributes:
        doc_id: The document.
        document: It, with its file and licence.
        byte_start: Where the text begins in the document's clean text, in UTF-8 bytes.
        first_token, tokens: The tokens of the training split that it lies in.
        steps: The steps in which one of these tokens was a target.
        left, match, right: The text with what stands around it.
    """

    doc_id: str
    document: TracedDocument
    byte_start: int
    first_token: int
    tokens: int
    steps: tuple[int, ...]
    left: str
    match: str
    right: str


@dataclass(frozen=True)
class TextMatch:
    """A part of a text that occurs in the training data, and how often."""

    text: str
    count: int


@dataclass(frozen=True)
class TextReport:
    """Where a text occurs in the training data.

    Attributes:
        text: What was looked for.
        count: How often it occurs as a whole.
        places: Some of these places; where it does not occur, one for each of its longest parts.
        matches: Where it does not occur, the longest parts of it that do.
    """

    text: str
    count: int
    places: tuple[TextPlace, ...]
    matches: tuple[TextMatch, ...]


def step_report(run: TracedRun, step: int, *, rank: int | None = None) -> StepReport:
    """The documents of a step.

    Raises:
        TraceError: If there is no such step or rank.
    """
    samples = step_samples(run, step, rank=rank)
    seen = seen_documents(samples)
    documents = documents_of(run, [(each.dump, each.doc_id) for each in seen])
    return StepReport(
        step, run.steps, rank, tuple(samples), tuple((each, documents[each.dump, each.doc_id]) for each in seen)
    )


def document_report(run: TracedRun, doc_id: str) -> DocumentReport:
    """The steps that saw a document.

    Raises:
        TraceError: If there is no such document.
    """
    trace = trace_document(run, doc_id)
    document = documents_of(run, [(trace.dump, trace.doc_id)])[trace.dump, trace.doc_id]
    return DocumentReport(trace, run.steps, document, _raw(document))


def text_report(run: TracedRun, text: str, *, limit: int, split: SplitName = "train") -> TextReport:
    """Where a text occurs in what a model was trained on, places that a step saw first; else where its parts do.

    Builds the text index of a dump that has none yet.

    Args:
        run: The model's run.
        text: Not empty.
        limit: Most places, or most parts.
        split: Looked at.

    Raises:
        TextIndexError: If the text is empty or an index is damaged.
    """
    indexes = [open_stored_index(shards, Path(run.settings.vocabulary)) for shards in run.sources]
    total = count(indexes, text, splits=[split]).occurrences
    found = occurrences(indexes, text, limit=_LOOKED_AT * limit, splits=[split])
    matches: list[LongestMatch] = []
    if not total:
        every = longest_matches(indexes, text, minimum_characters=SHORTEST_MATCH, splits=[split])
        matches = sorted(every, key=lambda match: (-len(match.text), match.start))[:limit]
        found = [place for match in matches for place in occurrences(indexes, match.text, limit=1, splits=[split])]
    documents = documents_of(run, [(place.dump, place.doc_id) for place in found])
    places = [_place(run, place, documents[place.dump, place.doc_id]) for place in found]
    if total:
        # Where the model learned it comes before where it only could have.
        places = sorted(places, key=lambda place: not place.steps)[:limit]
    return TextReport(
        text,
        total,
        tuple(places),
        tuple(TextMatch(match.text, match.count.occurrences) for match in matches),
    )


def _place(run: TracedRun, place: Occurrence, document: TracedDocument) -> TextPlace:
    steps: tuple[int, ...] = ()
    if place.split == "train":
        numbers = run.reader.samples_of(run.source(place.dump), place.first_token, place.tokens, samples=run.samples)
        steps = tuple(sorted({run.reader.order.step_of(number) for number in numbers} - run.skipped))
    return TextPlace(
        doc_id=place.doc_id,
        document=document,
        byte_start=place.byte_start,
        first_token=place.first_token,
        tokens=place.tokens,
        steps=steps,
        left=place.left,
        match=place.match,
        right=place.right,
    )


def documents_of(run: TracedRun, names: list[tuple[str, str]]) -> dict[tuple[str, str], TracedDocument]:
    """Documents by dump and id."""
    by_dump: defaultdict[str, list[str]] = defaultdict(list)
    for dump, doc_id in names:
        by_dump[dump].append(doc_id)
    return {
        (dump, doc_id): document
        for dump, doc_ids in by_dump.items()
        for doc_id, document in find_documents(run.sources[run.source(dump)], doc_ids, run.vocabulary).items()
    }


def times(count: int) -> str:
    """How often something occurs, in words."""
    return "once" if count == 1 else f"{count:,} times"


def _raw(document: TracedDocument) -> RawPlace | None:
    if document.path is None or document.byte_start is None or document.byte_end is None:
        return None
    try:
        catalogue = load_catalogue(catalogue_path())
        source = catalogue[document.dump]
        if source.format not in _BYTES:
            return None
        read = raw_bytes(
            source,
            path=document.path,
            byte_start=document.byte_start,
            byte_end=min(document.byte_end, document.byte_start + _MOST_RAW_BYTES),
            folder=catalogue.folder,
            downloads=downloads_folder(),
        )
    except (CatalogueError, RawTextError, KeyError, OSError):
        # The source may be gone by now; what was kept of it is shown all the same.
        return None
    return RawPlace(str(Path(read.file)), read.content.decode("utf-8", "replace"))
