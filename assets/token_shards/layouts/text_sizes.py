"""The bytes of documents' texts, which token files do not have."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from assets.vocabulary.tokenizer import Vocabulary

Array = npt.NDArray[np.int64]


class TextSizes:
    """Tells how many UTF-8 bytes the ids of documents decode to; special and unknown tokens are no text."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        names, special = vocabulary.token_bytes(), vocabulary.special_ids
        self._sizes = np.asarray([0 if token in special else len(name) for token, name in enumerate(names)], np.int64)

    def __call__(self, ids: Array, lengths: Array) -> Array:
        """The bytes of each document, int64 [documents].

        Args:
            ids: Of all documents, one after the other, each in the vocabulary, int64 [tokens].
            lengths: Ids of each document, at least 1, int64 [documents]; they add up to [tokens].
        """
        ends = np.cumsum(lengths)
        if not self._vocabulary.is_exact:
            documents = np.split(ids, ends[:-1])
            return np.asarray([len(self._vocabulary.decode_bytes(part.tolist())) for part in documents], np.int64)
        return np.add.reduceat(self._sizes[ids], ends - lengths) if ends.size else ends
