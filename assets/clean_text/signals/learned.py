"""What models of the user's say of a document."""

from __future__ import annotations

import pyarrow as pa

from assets.clean_text.errors import CleanTextError
from assets.clean_text.kernels.buffers import Array
from assets.clean_text.signals.batch import TextBatch
from assets.clean_text.signals.registry import signal


@signal(pa.float64(), on_request=True)
def quality(batch: TextBatch) -> Array:
    """Score of the quality classifier named in the settings, 0 to 1 (``corpusline train-quality``)."""
    if batch.models.quality is None:
        raise CleanTextError("the signal 'quality' needs a model: set 'quality_model' (corpusline train-quality)")
    scores: Array = batch.models.quality.score(batch.texts)
    return scores


@signal(pa.float64(), on_request=True)
def perplexity(batch: TextBatch) -> Array:
    """Bits a byte under the character model named in the settings (``corpusline train-perplexity``).

    Perplexity to the base 2 for each byte, so that languages and documents of any length can be compared.
    """
    if batch.models.perplexity is None:
        raise CleanTextError(
            "the signal 'perplexity' needs a model: set 'perplexity_model' (corpusline train-perplexity)"
        )
    bits: Array = batch.models.perplexity.score(batch.texts)
    return bits
