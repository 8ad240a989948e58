"""The encoders of libraries: ``tokenizers``, by which all others are measured, and ``fastokens``."""

from __future__ import annotations

from itertools import accumulate, chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from tokenizers import Tokenizer

from assets.clean_text.arrays import strings
from assets.vocabulary.encoders.encoded import EncodedTexts, Texts, UnsuitableError
from assets.vocabulary.long_texts import encode_texts


class ReferenceEncoder:
    """The library that defines what a ``tokenizer.json`` means.

    Attributes:
        name: For people.
    """

    name = "tokenizers"

    def __init__(self, tokenizer: Tokenizer) -> None:
        """Take a tokenizer that encodes special tokens' names as text."""
        self._tokenizer = tokenizer

    def encode(self, texts: Texts) -> EncodedTexts:
        """Ids of texts without nulls."""
        rows = encode_texts(self._tokenizer, strings(texts))  # type: ignore[arg-type]
        offsets = np.fromiter(accumulate(map(len, rows), initial=0), dtype=np.int64, count=len(rows) + 1)
        return EncodedTexts(np.fromiter(chain.from_iterable(rows), dtype=np.uint32, count=int(offsets[-1])), offsets)


class FastokensEncoder:
    """fastokens, which knows many ways to cut text.

    Attributes:
        name: For people.
    """

    name = "fastokens"

    def __init__(self, path: Path) -> None:
        """Take a ``tokenizer.json``.

        Raises:
            UnsuitableError: If the library is not installed or cannot load it.
        """
        try:
            import fastokens

            self._tokenizer: Any = fastokens.Tokenizer.from_file(str(path))
        except ImportError:
            raise UnsuitableError("it is not installed") from None
        except Exception as error:  # the library raises nothing narrower
            raise UnsuitableError(f"it cannot load the vocabulary ({' '.join(str(error).split())})") from None

    def encode(self, texts: Texts) -> EncodedTexts:
        """Ids of texts without nulls."""
        ids, offsets = self._tokenizer.encode_batch_flat(
            strings(texts),  # type: ignore[arg-type]
            add_special_tokens=False,
            split_special_tokens=True,
        )
        return EncodedTexts(np.frombuffer(ids, dtype="<u4"), np.frombuffer(offsets, dtype="<u8").astype(np.int64))


def large(texts: list[str]) -> pa.LargeStringArray:
    """Texts as an Arrow array of any size."""
    return pa.array(texts, pa.large_string())
