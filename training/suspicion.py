"""Which documents of a step a model finds strangest."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer
from torch import Tensor

from training.loader import SampleReader
from training.models import IGNORED, LanguageModel, documents_of
from training.shards import Shards
from training.suspects import Suspect


def suspects_of_step(
    module: LanguageModel,
    reader: SampleReader,
    sources: list[Shards],
    *,
    step: int,
    order_step: int,
    vocabulary: Path,
    device: torch.device,
    micro_batch: int,
    document_mask: bool,
) -> list[Suspect]:
    """The documents of a step by the model's loss on them, highest first; by all ranks together under ZeRO-3.

    Those that the loss mask hides have none.

    Args:
        module: The model, with the weights before the step.
        reader, sources: Of the training.
        step: As people count it, from 1.
        order_step: The same step in the order, from 0, with those of the runs before.
        vocabulary: Folder with ``tokenizer.json``.
        device: Of the model.
        micro_batch: Rows at once.
        document_mask: Whether attention ends at a document's border.
    """
    first, batch, parts = reader.order.step(order_step)
    end = reader.end_of_document
    losses: dict[tuple[int, str], list[tuple[float, int]]] = defaultdict(list)
    module.eval()
    for start in range(first, first + batch, micro_batch):
        rows = reader.batch(start, min(micro_batch, first + batch - start), parts=parts).on(device)
        inputs, targets = rows.inputs(), rows.targets(end)
        documents = documents_of(inputs, end) if document_mask else None
        with torch.no_grad():
            logits = module.forward(inputs, documents=documents)
        nats = _nats(cast(Tensor, logits), targets).cpu()
        for row in range(inputs.shape[0]):
            source, positions = reader.positions(start + row)
            for doc_id, places in _documents(sources[source], positions):
                counted = places[targets[row, places].cpu().numpy() != IGNORED]
                losses[source, doc_id] += zip(nats[row, counted].tolist(), targets[row, counted].tolist(), strict=True)
    module.train()
    tokenizer = Tokenizer.from_file(str(vocabulary / "tokenizer.json"))
    found = [
        Suspect(
            step,
            sources[source].dump,
            doc_id,
            len(pairs),
            sum(loss for loss, _ in pairs) / len(pairs),
            tokenizer.decode([token for _, token in pairs], skip_special_tokens=True),
        )
        for (source, doc_id), pairs in losses.items()
        if pairs
    ]
    return sorted(found, key=lambda suspect: (-suspect.loss, suspect.doc_id))


def _documents(source: Shards, positions: npt.NDArray[np.int64]) -> Iterator[tuple[str, npt.NDArray[np.int64]]]:
    """The documents of a row, and the places of their targets in it."""
    inside = np.flatnonzero(positions >= 0)
    cuts = np.flatnonzero(np.diff(positions[inside]) != 1) + 1
    for places in np.split(inside, cuts):
        if places.size:
            done = 0
            for span in source.train.spans(int(positions[places[0]]), places.size):
                yield span.doc_id, places[done : done + span.length]
                done += span.length


def _nats(logits: Tensor, targets: Tensor) -> Tensor:
    """float32 [batch, time]: the loss of each target."""
    flat = torch.nn.functional.cross_entropy(
        logits.float().flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="none"
    )
    return flat.view(targets.shape)
