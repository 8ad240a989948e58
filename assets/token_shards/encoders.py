"""Which encoder a dump is encoded with: proved once, on texts of the dump, and then opened by name in each process."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from assets.clean_text.arrays import single_array
from assets.clean_text.row_groups import RowGroup, unreadable
from assets.vocabulary.encoders import Encoder, TrustedEncoder, trusted_encoder
from assets.vocabulary.encoders.compiled import CompiledEncoder
from assets.vocabulary.encoders.libraries import FastokensEncoder, ReferenceEncoder
from assets.vocabulary.tokenizer import TOKENIZER, open_vocabulary

_SAMPLED_GROUPS = 4
_LEAST_SAMPLE, _MOST_SAMPLE = 1 << 17, 1 << 21
_SAMPLED_SHARE = 1 / 512
_BATCH_ROWS = 16

_OPENERS: dict[str, Callable[[Path], Encoder]] = {
    CompiledEncoder.name: lambda folder: CompiledEncoder(json.loads((folder / TOKENIZER).read_text(encoding="utf-8"))),
    FastokensEncoder.name: lambda folder: FastokensEncoder(folder / TOKENIZER),
    ReferenceEncoder.name: lambda folder: ReferenceEncoder(open_vocabulary(folder).tokenizer),
}


def choose_encoder(vocabulary: Path, groups: Sequence[RowGroup]) -> TrustedEncoder:
    """The fastest encoder that gives the ids of ``tokenizers`` on some texts of a dump.

    Args:
        vocabulary: Folder of the ``tokenizer.json``.
        groups: The dump's row groups; texts are taken from the beginnings of four of them, as far apart as there are.

    Raises:
        CleanTextError: If a row group cannot be read.
        VocabularyError: If the vocabulary cannot be opened.
    """
    total = sum(group.bytes for group in groups)
    most = min(max(int(total * _SAMPLED_SHARE), _LEAST_SAMPLE), _MOST_SAMPLE)
    chosen = groups[:: -(-len(groups) // _SAMPLED_GROUPS) or 1]
    texts = [_beginning(group, most // len(chosen)) for group in chosen]
    return trusted_encoder(vocabulary / TOKENIZER, pa.concat_arrays([pa.array([], pa.string()), *texts]))


@lru_cache(maxsize=1)
def open_encoder(vocabulary: Path, name: str) -> Encoder:
    """The encoder of that name, without a proof."""
    return _OPENERS[name](vocabulary)


def _beginning(group: RowGroup, size: int) -> pa.StringArray:
    """The first texts of a row group, so many bytes or a little more; the rest of it is not decoded."""
    texts: list[Any] = []
    taken = 0
    try:
        with pq.ParquetFile(group.path) as file:
            for batch in file.iter_batches(_BATCH_ROWS, row_groups=[group.index], columns=["text"]):
                texts.append(batch.column("text"))
                taken += batch.nbytes
                if taken >= size:
                    break
    except (OSError, pa.ArrowException) as error:
        raise unreadable(str(group), error) from error
    found: pa.StringArray = single_array(pa.chunked_array(texts, pa.string()))
    return found
