"""Which encoder texts are encoded with: proved once for a vocabulary, tried on each dump, and opened by name later."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from assets.clean_text.arrays import single_array
from assets.clean_text.kernels.buffers import utf8
from assets.clean_text.row_groups import RowGroup, unreadable
from assets.vocabulary.encoders import Encoder, TrustedEncoder, trusted_encoder
from assets.vocabulary.encoders.proofs import Proof, read_proof, write_proof
from assets.vocabulary.encoders.trusted import named_encoder, trusted_again
from assets.vocabulary.tokenizer import TOKENIZER, Vocabulary

_SAMPLED_GROUPS = 4
_SHARE, _LEAST = 1 / 512, 1 << 17
"""Of the texts, on which an encoder is proved, and the bytes of them at least."""
_SHARE_AGAIN, _LEAST_AGAIN = 1 / 8192, 1 << 15
"""The same where it was proved before."""
_MOST = 1 << 21
_BATCH_ROWS = 16


def choose_encoder(
    vocabulary: Path, opened: Vocabulary, groups: Sequence[RowGroup], *, proofs: Path | None = None
) -> TrustedEncoder:
    """The fastest encoder that gives the ids of ``tokenizers`` on some texts.

    Args:
        vocabulary: Folder of the ``tokenizer.json``.
        opened: The same, opened.
        groups: Row groups of texts; some are taken from the beginnings of four of them, as far apart as there are.
        proofs: Folder in which is kept what was proved, see ``proofs.py``: then fewer texts are tried for a vocabulary
            for which an encoder was proved before. By default nothing is kept.

    Raises:
        CleanTextError: If a row group cannot be read.
    """
    proof = None if proofs is None else read_proof(proofs, opened.sha256)
    path, tokenizer = vocabulary / TOKENIZER, opened.tokenizer
    if proof is not None:
        sample = _sample(groups, _SHARE_AGAIN, _LEAST_AGAIN)
        again = trusted_again(path, sample, tokenizer=tokenizer, encoder=proof.encoder)
        if again is not None:
            return TrustedEncoder(again, f"{proof.note}; proved before, and tried on {len(sample)} texts here")
    trusted = trusted_encoder(path, _sample(groups, _SHARE, _LEAST), tokenizer=tokenizer)
    if proofs is not None:
        write_proof(proofs, opened.sha256, Proof(encoder=trusted.encoder.name, note=trusted.note))
    return trusted


@lru_cache(maxsize=1)
def open_encoder(vocabulary: Path, name: str) -> Encoder:
    """The encoder of that name, without a proof."""
    return named_encoder(vocabulary / TOKENIZER, name)


def _sample(groups: Sequence[RowGroup], share: float, least: int) -> pa.StringArray:
    """So large a share of a dump's texts, within bounds."""
    size = min(max(int(sum(group.bytes for group in groups) * share), least), _MOST)
    chosen = groups[:: -(-len(groups) // _SAMPLED_GROUPS) or 1]
    return pa.concat_arrays([pa.array([], pa.string()), *(_beginning(group, size // len(chosen)) for group in chosen)])


def _beginning(group: RowGroup, size: int) -> pa.StringArray:
    """The first texts of a row group, so many bytes or a little more; the rest of it is not decoded."""
    texts: list[Any] = []
    taken = 0
    try:
        with pq.ParquetFile(group.path, pre_buffer=False) as file:  # else all of the row group is read
            for batch in file.iter_batches(_BATCH_ROWS, row_groups=[group.index], columns=["text"]):
                texts.append(batch.column("text"))
                taken += batch.nbytes
                if taken >= size:
                    break
    except (OSError, pa.ArrowException) as error:
        raise unreadable(str(group), error) from error
    found: pa.StringArray = single_array(pa.chunked_array(texts, pa.string()))
    _, offsets = utf8(found)
    return found.slice(0, int(np.searchsorted(offsets, offsets[0] + size)))
