"""How well a model predicts whole documents, in nats a token and bits a byte."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from training.models import IGNORED
from training.models.loss import chunk_tokens
from training.shards import Document


@dataclass(frozen=True)
class Score:
    """Sums over documents.

    Attributes:
        nats: Negative log-likelihood of all their tokens, end of document included.
        tokens: Those tokens.
        bytes: UTF-8 bytes of their texts.
        documents: Their number.
    """

    nats: float
    tokens: int
    bytes: int
    documents: int

    @property
    def loss(self) -> float:
        """Nats a token."""
        return self.nats / max(1, self.tokens)

    @property
    def bits_per_byte(self) -> float:
        """Bits a byte of text: comparable between vocabularies."""
        return self.nats / math.log(2) / max(1, self.bytes)

    def __add__(self, other: Score) -> Score:
        return Score(
            self.nats + other.nats,
            self.tokens + other.tokens,
            self.bytes + other.bytes,
            self.documents + other.documents,
        )


class LogitsModel(Protocol):
    """Anything that gives logits [batch, time, vocabulary] for tokens int64 [batch, time]."""

    def __call__(self, tokens: Tensor) -> Tensor:
        """The logits."""


@dataclass(frozen=True)
class Row:
    """A stretch of one document: inputs, and the targets that count (others are ``IGNORED``), of equal length."""

    tokens: list[int]
    targets: list[int]


def rows_at_once(batch: int, *, vocabulary: int, context: int) -> int:
    """Rows of a whole context whose logits are no more than a training has in memory at once; at least one.

    Args:
        batch: The most.
        vocabulary: Its entries.
        context: Longest row.
    """
    return max(1, min(batch, chunk_tokens(vocabulary) // context))


def document_rows(ids: Sequence[int], *, context: int, end_of_document: int) -> list[Row]:
    """Cut a document into rows so that each of its tokens is a target once.

    The first row starts from the end-of-document id, as every document does in training. Later rows move on by half a
    context and count only their new half, so each target sees at least half a context before it.

    Args:
        ids: The document's tokens, the last one is end-of-document.
        context: Longest row.
        end_of_document: The id before a document.
    """
    sequence = [end_of_document, *ids]
    rows = [Row(sequence[:-1][:context], sequence[1:][:context])]
    scored = min(context, len(ids))
    stride = max(1, context // 2)
    while scored < len(ids):
        end = min(scored + stride, len(ids))
        start = end - context
        targets = sequence[start + 1 : end + 1]
        seen = scored - start
        rows.append(Row(sequence[start:end], [IGNORED] * seen + targets[seen:]))
        scored = end
    return rows


def row_batches(rows: Sequence[Row], *, batch: int, context: int, padding: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Rows of similar length together, padded to a power of two: tokens and targets int64 [batch, time]."""
    ordered = sorted(rows, key=lambda row: len(row.tokens))
    for start in range(0, len(ordered), batch):
        part = ordered[start : start + batch]
        longest = len(part[-1].tokens)
        time = min(context, 1 << (longest - 1).bit_length())
        tokens = torch.full((len(part), time), padding)
        targets = torch.full((len(part), time), IGNORED)
        for number, row in enumerate(part):
            tokens[number, : len(row.tokens)] = torch.tensor(row.tokens)
            targets[number, : len(row.targets)] = torch.tensor(row.targets)
        yield tokens, targets


@torch.no_grad()
def score_documents(
    model: LogitsModel,
    documents: Iterable[Document],
    *,
    context: int,
    end_of_document: int,
    batch: int,
    device: torch.device,
    rank: int = 0,
    ranks: int = 1,
    group: torch.distributed.ProcessGroup | None = None,
) -> Score:
    """Score whole documents; each is predicted on its own, without its neighbours.

    With several ranks, all or those of a group, each computes its share of the batches and all get the sum. Every rank
    calls the model equally often, which ZeRO-3 needs.
    """
    nats = torch.zeros((), dtype=torch.float64)
    taken = list(documents)
    rows = [
        row
        for document in taken
        for row in document_rows(document.ids.tolist(), context=context, end_of_document=end_of_document)
    ]
    batches = list(row_batches(rows, batch=batch, context=context, padding=end_of_document))
    for first in range(0, len(batches), ranks):
        tokens, targets = batches[min(first + rank, len(batches) - 1)]
        logits = model(tokens.to(device)).float()
        losses = F.cross_entropy(
            logits.flatten(0, 1), targets.flatten().to(device), ignore_index=IGNORED, reduction="none"
        )
        if first + rank < len(batches):
            nats += losses.double().sum().cpu()
    if ranks > 1:
        on_device = nats.to(device=device, dtype=torch.float32)
        torch.distributed.all_reduce(on_device, group=group)
        nats = on_device.cpu().double()
    return Score(
        float(nats),
        sum(document.ids.size for document in taken),
        sum(document.bytes for document in taken),
        len(taken),
    )
