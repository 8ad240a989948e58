"""Which language a document is in, and in which writing."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from assets.clean_text.han_writing import simplified_share as share_of_simplified
from assets.clean_text.han_writing import traditional_share as share_of_traditional
from assets.clean_text.kernels.buffers import Array
from assets.clean_text.signals.batch import TextBatch
from assets.clean_text.signals.registry import signal


@signal(pa.string(), example=("今天天气很好，我们一起去公园散步吧。", "zh"), language="zh")
def language(batch: TextBatch) -> pa.Array[pa.StringScalar]:
    """Language code by fastText's model and the script; ``und`` where there are no letters."""
    return batch.identified.languages


@signal(pa.float64(), example=("", 0.0))
def language_score(batch: TextBatch) -> Array:
    """How sure that is, 0 to 1; in a text of two languages about the share of the larger one."""
    scores: Array = batch.identified.scores
    return scores


@signal(pa.float64(), example=("今天天气很好，我们一起去公园散步吧。", 0.0), language="en")
def declared_language_score(batch: TextBatch) -> Array:
    """``language_score`` where the language found is the declared one, 0 where it is another."""
    declared = [(code or "").partition("-")[0] for code in batch.languages.to_pylist()]
    same = np.array(declared, object) == np.array(batch.identified.languages.to_pylist(), object)
    return np.where(same, batch.identified.scores, 0.0)


@signal(pa.float64(), example=("這本書", 2 / 3), language="zh")
def traditional_share(batch: TextBatch) -> Array:
    """Share of Han characters that occur in traditional writing only."""
    shares: Array = share_of_traditional(batch.texts)
    return shares


@signal(pa.float64(), example=("这本书", 2 / 3), language="zh")
def simplified_share(batch: TextBatch) -> Array:
    """Share of Han characters that occur in simplified writing only."""
    shares: Array = share_of_simplified(batch.texts)
    return shares
