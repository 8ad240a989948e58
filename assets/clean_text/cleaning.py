"""What is done to one batch of documents, in order: normalise, mask, edit lines, cut what is contaminated, measure,
decide, sign. It depends on the documents and the settings alone, so that any number of processes can share the work."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assets.clean_text.arrays import single_array
from assets.clean_text.decisions import FAILURE, Failures, combine, find_failures
from assets.clean_text.decontamination import (
    CONTAMINATED_SPAN,
    CONTAMINATION,
    Contamination,
    contamination,
    contamination_table,
    cut_spans,
)
from assets.clean_text.evaluation_sets import load_evaluation_sets
from assets.clean_text.kernels.buffers import Array
from assets.clean_text.licences import licence_allowed
from assets.clean_text.line_rules import EDIT, EditLog, edit_lines
from assets.clean_text.masking import mask
from assets.clean_text.near_duplicates.minhash import sign_documents
from assets.clean_text.normalisation import normalise_batch
from assets.clean_text.opt_out import BlockList
from assets.clean_text.quality.character_model import load_character_model
from assets.clean_text.quality.models import load_quality_model
from assets.clean_text.repeated_text.stored_hashes import TextHashes, hash_texts
from assets.clean_text.settings import FilterSettings
from assets.clean_text.signals import TextBatch, measure, usual_signals
from assets.clean_text.signals.batch import Models
from assets.clean_text.signatures import SIGNATURES, signatures
from assets.clean_text.words import preprocess

LICENCE = "licence"
"""The ledger's rule for documents whose licence is not among those allowed."""

_COLUMNS: list[pa.Field[Any]] = [
    pa.field("doc_id", pa.string()),
    pa.field("dump", pa.string()),
    pa.field("source", pa.string()),
    pa.field("path", pa.string()),
    pa.field("byte_start", pa.int64()),
    pa.field("byte_end", pa.int64()),
    pa.field("language", pa.string()),
    pa.field("kept", pa.bool_()),
    pa.field("rule", pa.string()),
    pa.field("value", pa.float64()),
    pa.field("threshold", pa.float64()),
    pa.field("failures", pa.list_(FAILURE)),
    pa.field("edits", pa.list_(EDIT)),
    pa.field("detail", pa.string()),
    pa.field("characters", pa.int64()),
    pa.field("raw_bytes", pa.int64()),
    pa.field("clean_bytes", pa.int64()),
]

DECISIONS: pa.Schema = pa.schema(_COLUMNS)
"""One row a document. ``rule``, ``value`` and ``threshold`` are those of the first rule that failed, null where it is
kept; ``value`` and ``threshold`` also where the rule measures nothing. ``failures``: every rule that failed, in the
rules' order. ``edits``: what line rules and masks cut or replaced. ``detail``: why a row could not be read, in words.
``raw_bytes`` and ``clean_bytes`` are the text's UTF-8 bytes as read and as cleaned, ``characters`` those cleaned."""


@dataclass(frozen=True)
class CleanedBatch:
    """What becomes of some consecutive documents.

    Attributes:
        documents: Those that pass, cleaned; schema ``DOCUMENTS``.
        signals: A row for each document.
        decisions: Schema ``DECISIONS``, a row for each document.
        signatures: Schema ``SIGNATURES``, a row for each that passes.
        minhash: Schema ``minhash_schema``, a row for each that passes.
        contamination: Schema ``CONTAMINATION``.
        hashes: Of the texts that pass.
        changed: Documents whose text is not, byte for byte, what was read.
    """

    documents: pa.Table
    signals: pa.Table
    decisions: pa.Table
    signatures: pa.Table
    minhash: pa.Table
    contamination: pa.Table
    hashes: TextHashes
    changed: int


class Cleaner:
    """The settings with all that they name loaded: policy, models, evaluation sets, block lists."""

    def __init__(self, settings: FilterSettings) -> None:
        """Load.

        Raises:
            CleanTextError: If something that the settings name is missing or damaged.
        """
        self.settings = settings
        self.policy = settings.load_policy()
        self.models = Models(
            quality=load_quality_model(Path(settings.quality_model), label=settings.quality_label)
            if settings.quality_model
            else None,
            perplexity=load_character_model(Path(settings.perplexity_model)) if settings.perplexity_model else None,
        )
        self.evaluation_sets = load_evaluation_sets(settings.decontamination) if settings.decontamination.sets else None
        lists = settings.opt_out
        self.block_list = BlockList.load(lists) if lists.urls or lists.domains or lists.documents else None
        models = [name for name, model in vars(self.models).items() if model is not None]
        asked = [*self.policy.signals, *models]
        self.signals = usual_signals(asked) if settings.signals == "all" else list(dict.fromkeys(asked))

    def clean(self, documents: pa.Table) -> CleanedBatch:
        """Clean a batch; schema ``DOCUMENTS``, at least one row."""
        raw, languages, doc_ids = (single_array(documents[name]) for name in ("text", "language", "doc_id"))
        log = EditLog(len(raw))
        normal = self._normalised(raw, languages)
        texts = self._edited(normal, languages, log)
        found = contamination(texts, self.evaluation_sets) if self.evaluation_sets else None
        contaminated = self._contamination(doc_ids, found)
        if found and self.evaluation_sets and self.settings.decontamination.policy == "cut":
            cut = cut_spans(texts, found, self.evaluation_sets)
            log.add(CONTAMINATED_SPAN, cut.spans, cut.bytes)
            texts = self._tidied(texts, cut.texts)
        urls = self._urls(documents["metadata"])
        batch = TextBatch(texts, languages, urls, self.models)
        before = TextBatch(normal, languages, urls, self.models) if not texts.equals(normal) else None
        measured = measure(doc_ids, batch, self.signals, before=before)
        decided = combine(
            [
                *self._refused(documents, doc_ids, urls),
                find_failures(measured, self.policy.rules),
                *self._contaminated(found),
            ],
            len(texts),
        )
        kept = pc.is_null(decided.rule)
        decisions = {
            **{
                name: documents[name]
                for name in ("doc_id", "dump", "source", "path", "byte_start", "byte_end", "language")
            },
            "kept": kept,
            "rule": decided.rule,
            "value": decided.value,
            "threshold": decided.threshold,
            "failures": decided.failures,
            "edits": log.array(),
            "detail": pa.nulls(len(texts), pa.string()),
            "characters": pc.utf8_length(texts),
            "raw_bytes": pc.binary_length(raw),
            "clean_bytes": pc.binary_length(texts),
        }
        cleaned = documents.set_column(documents.schema.get_field_index("text"), documents.schema.field("text"), texts)
        passing, passing_ids = texts.filter(kept), doc_ids.filter(kept)
        quality: Any = single_array(measured["quality"]).filter(kept) if "quality" in measured.column_names else None
        return CleanedBatch(
            documents=cleaned.filter(kept),
            signals=measured,
            decisions=pa.table(decisions).cast(DECISIONS),
            signatures=pa.table([passing_ids, signatures(passing)], schema=SIGNATURES),
            minhash=sign_documents(passing_ids, passing, self.settings.near_duplicates, quality=quality),
            contamination=contaminated,
            hashes=hash_texts(passing, settings=self.settings.repeated_text),
            changed=pc.not_equal(raw, texts).true_count,
        )

    def _normalised(self, texts: pa.StringArray, languages: pa.StringArray) -> pa.StringArray:
        settings = self.settings
        texts = normalise_batch(texts, blank_lines=settings.blank_lines)
        if settings.segment_words or settings.strip_punctuation:
            texts = preprocess(texts, languages, segment=settings.segment_words, strip=settings.strip_punctuation)
            texts = normalise_batch(texts, blank_lines=settings.blank_lines)
        return texts

    def _edited(self, normal: pa.StringArray, languages: pa.StringArray, log: EditLog) -> pa.StringArray:
        texts = normal
        if self.settings.masks:
            masked = mask(texts, kinds=self.settings.masks)
            for kind, counts in masked.counts.items():
                log.add(f"mask_{kind}", counts.astype(np.int64), masked.bytes[kind].astype(np.int64))
            texts = masked.texts
        texts = edit_lines(texts, languages, self.policy.lines, log)
        return self._tidied(normal, texts)

    def _tidied(self, before: pa.StringArray, after: pa.StringArray) -> pa.StringArray:
        """The edited texts, those that changed in normal form again: cuts may leave blank lines."""
        changed = pc.not_equal(before, after)
        if not changed.true_count:
            return after
        normal = normalise_batch(after.filter(changed), blank_lines=self.settings.blank_lines)
        result: pa.StringArray = pc.replace_with_mask(after, changed, normal)
        return result

    def _urls(self, metadata: pa.ChunkedArray[Any]) -> pa.StringArray:
        return pa.array([_url(row) for row in metadata.to_pylist()], pa.string())

    def _refused(self, documents: pa.Table, doc_ids: pa.StringArray, urls: pa.StringArray) -> Sequence[Failures]:
        failures = []
        if self.block_list is not None:
            reasons = self.block_list.blocked(doc_ids, urls)
            failures.append(_unmeasured(reasons))
        if self.settings.licences:
            allowed = licence_allowed(single_array(documents["licence"]), self.settings.licences)
            failures.append(_unmeasured(pc.if_else(allowed, pa.scalar(None, pa.string()), LICENCE)))
        return failures

    def _contaminated(self, found: Contamination | None) -> Sequence[Failures]:
        if found is None or self.evaluation_sets is None or self.settings.decontamination.policy != "drop":
            return []
        failures = []
        limit = self.settings.decontamination.share
        for place, rule in enumerate(self.evaluation_sets.rules):
            rows = np.flatnonzero(found.share[:, place] >= limit)
            names = pa.array([rule] * len(rows), pa.string())
            failures.append(Failures(rows, names, found.share[rows, place], np.full(len(rows), limit)))
        return failures

    def _contamination(self, doc_ids: pa.StringArray, found: Contamination | None) -> pa.Table:
        if found is None or self.evaluation_sets is None:
            return CONTAMINATION.empty_table()
        return contamination_table(doc_ids, found, self.evaluation_sets)


@lru_cache(maxsize=2)
def cleaner(settings: str) -> Cleaner:
    """The cleaner of settings as JSON, loaded once in a process."""
    return Cleaner(FilterSettings.model_validate_json(settings))


def _url(metadata: str | None) -> str | None:
    """The URL in a document's metadata; a number or a list, as records may have there, is none."""
    if not metadata or '"url"' not in metadata:
        return None
    url = json.loads(metadata).get("url")
    return url if isinstance(url, str) else None


def _unmeasured(reasons: pa.StringArray) -> Failures:
    """Failures of rules that measure nothing: the reason of each document, null where there is none."""
    failed = pc.is_valid(reasons)
    rows: Array = np.flatnonzero(failed.to_numpy(zero_copy_only=False))
    nothing = np.full(len(rows), np.nan)
    return Failures(rows, reasons.filter(failed), nothing, nothing)
