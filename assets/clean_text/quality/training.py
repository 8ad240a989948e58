"""Training of the quality classifier from texts that are good and texts that are not."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import Field
from scipy.sparse import vstack
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import precision_score, recall_score, roc_auc_score

from assets.clean_text.arrays import string_array, strings
from assets.clean_text.characters import Array
from assets.clean_text.errors import CleanTextError
from assets.clean_text.quality.features import hashed_features
from assets.clean_text.quality.linear import LinearModel
from training.settings import Settings

_RECALLS = (0.99, 0.95, 0.9, 0.75, 0.5)
_BATCH = 1 << 10
_LEAST = 10

# More than the mean of any language: few documents' beginnings have fewer words than are learned from.
_WORD_LENGTH = 16


class QualityTrainingSettings(Settings):
    """How a quality classifier is trained."""

    documents: int = Field(
        50_000, ge=_LEAST, description="Most documents of each kind, a sample of all; memory is some 20 kB for each."
    )
    tokens: int = Field(2048, ge=16, description="Words (Han characters) of a document's beginning to learn from.")
    bits: int = Field(20, ge=8, le=26, description="Of the number of buckets that words and pairs are hashed to.")
    strength: float = Field(
        300.0,
        gt=0,
        description="Inverse of the penalty on large weights (liblinear's C); features are shares, so it is large.",
    )
    holdout: float = Field(0.2, gt=0, lt=1, description="Share of the documents that is measured, not learned from.")
    seed: int = Field(0, ge=0, description="Chooses the sample and the documents held out.")


@dataclass(frozen=True)
class Threshold:
    """A score at which ``recall`` of the good held-out documents pass, and the share of the bad that do."""

    score: float
    recall: float
    bad_passing: float


@dataclass(frozen=True)
class QualityReport:
    """How a classifier does on the documents that were held out.

    Attributes:
        good: Good documents learned from.
        bad: Bad documents learned from.
        held_out: Documents measured.
        auc: Probability that a good document has a higher score than a bad one.
        precision: Of those with a score of 0.5 or more, the share that is good.
        recall: Of the good, the share with a score of 0.5 or more.
        thresholds: Scores to choose from.
        worst_good: The good document with the lowest score, held-out ones only: its beginning.
        best_bad: The bad one with the highest.
    """

    good: int
    bad: int
    held_out: int
    auc: float
    precision: float
    recall: float
    thresholds: tuple[Threshold, ...]
    worst_good: str
    best_bad: str


def train_quality(
    good: Iterable[pa.StringArray], bad: Iterable[pa.StringArray], *, settings: QualityTrainingSettings
) -> tuple[LinearModel, QualityReport]:
    """Fit a classifier to one part of the documents and measure it on the other.

    The sample, the parts and the order are by the hash of a document's text and the seed: equal texts fall together,
    and neither files nor batches matter. Both kinds weigh the same, however many documents there are of each.

    Args:
        good: Texts with a score near 1.
        bad: Texts with a score near 0.
        settings: Sample, features, penalty.

    Raises:
        CleanTextError: If there are fewer than 10 different documents of a kind, or too few to hold some out.
    """
    samples = [_sample(texts, settings) for texts in (good, bad)]
    for name, sample in zip(("good", "bad"), samples, strict=True):
        if len(sample) < _LEAST:
            raise CleanTextError(
                f"{len(sample)} different {name} documents are too few to train on; give at least {_LEAST}, or split "
                "files into lines or paragraphs"
            )
    entries = sorted((key, kind, text) for kind, sample in zip((1, 0), samples, strict=True) for key, text in sample)
    texts = [text for _, _, text in entries]
    good_ones = np.array([kind for _, kind, _ in entries]) == 1
    # The sample has the lowest keys; their last bytes are as random as the first.
    held = np.array([int.from_bytes(key[-4:], "little") / (1 << 32) < settings.holdout for key, _, _ in entries])
    for mask in (good_ones & held, ~good_ones & held, good_ones & ~held, ~good_ones & ~held):
        if not mask.any():
            raise CleanTextError(
                f"{len(texts)} documents are too few to hold out {settings.holdout:.0%} of each kind; give more"
            )
    features = vstack(
        [
            hashed_features(string_array(texts[begin : begin + _BATCH]), bits=settings.bits, tokens=settings.tokens)
            for begin in range(0, len(texts), _BATCH)
        ],
        format="csr",
    )
    regression = LogisticRegression(
        C=settings.strength, class_weight="balanced", solver="liblinear", tol=1e-3, max_iter=1000, random_state=0
    )
    regression.fit(features[~held], good_ones[~held])
    weights = regression.coef_[0].astype(np.float32)
    model = LinearModel(weights, float(regression.intercept_[0]))
    measured = [text for text, out in zip(texts, held, strict=True) if out]
    report = _report(model.score(string_array(measured)), good_ones[held], measured, good_ones[~held])
    description: dict[str, Any] = {
        "kind": "linear",
        "settings": settings.model_dump(mode="json"),
        "report": {**asdict(report), "worst_good": None, "best_bad": None},
    }
    return LinearModel(weights, model.bias, description=description), report


def _sample(batches: Iterable[pa.StringArray], settings: QualityTrainingSettings) -> Sequence[tuple[bytes, str]]:
    """Key and text of the documents with the lowest keys, each text once."""
    kept: list[tuple[bytes, str]] = []
    keys: set[bytes] = set()
    salt = settings.seed.to_bytes(8, "little")
    for texts in batches:
        for text in strings(texts):
            key = hashlib.blake2b(text.encode(), digest_size=16, salt=salt).digest()
            if key in keys:
                continue
            # heapq keeps the smallest in front: the complement of the key makes that the largest key.
            entry = (bytes(255 - byte for byte in key), text[: _WORD_LENGTH * settings.tokens])
            if len(kept) < settings.documents:
                heapq.heappush(kept, entry)
            elif entry > kept[0]:
                keys.remove(bytes(255 - byte for byte in heapq.heapreplace(kept, entry)[0]))
            else:
                continue
            keys.add(key)
    return [(bytes(255 - byte for byte in inverse), text) for inverse, text in kept]


def _report(scores: Array, good: Array, texts: Sequence[str], learned: Array) -> QualityReport:
    thresholds = []
    for recall in _RECALLS:
        limit = float(np.quantile(scores[good], 1 - recall, method="lower"))
        thresholds.append(
            Threshold(limit, float((scores[good] >= limit).mean()), float((scores[~good] >= limit).mean()))
        )
    lowest = int(np.argmin(np.where(good, scores, np.inf)))
    highest = int(np.argmax(np.where(good, -np.inf, scores)))
    return QualityReport(
        good=int(learned.sum()),
        bad=int((~learned).sum()),
        held_out=len(good),
        auc=float(roc_auc_score(good, scores)),
        precision=float(precision_score(good, scores >= 0.5, zero_division=0)),
        recall=float(recall_score(good, scores >= 0.5)),
        thresholds=tuple(thresholds),
        worst_good=texts[lowest][:200],
        best_bad=texts[highest][:200],
    )
