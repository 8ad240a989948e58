"""Our own encoder: byte-level BPE over the pattern corpusline, compiled, on the bytes of Arrow's texts."""

from __future__ import annotations

import json
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np
from tokenizers import pre_tokenizers

from assets.clean_text.kernels.buffers import utf8
from assets.vocabulary.byte_letters import byte_letters
from assets.vocabulary.encoders.encoded import EncodedTexts, Texts, UnsuitableError
from assets.vocabulary.kernels.classes import code_point_classes
from assets.vocabulary.kernels.encoding import FREE, ID_BITS, NO_RANK, encode_texts, fill_merges
from assets.vocabulary.patterns import LONGEST_RUN, pattern_regex

_SLOTS = 1 << 20
_BYTES_OF_A_CHARACTER = 4
_LONGEST_HAN_RUN, _MOST_DIGITS = 16, 16


class CompiledEncoder:
    """Encodes by the tables of one vocabulary; see ``assets.vocabulary.kernels.encoding``.

    Attributes:
        name: For people.
    """

    name = "compiled"

    def __init__(self, definition: dict[str, Any], *, slots: int = _SLOTS) -> None:
        """Take the content of a ``tokenizer.json``.

        Args:
            definition: As parsed.
            slots: Rows of the table of pieces, a power of two.

        Raises:
            UnsuitableError: If it is another kind of vocabulary, or text is cut by another pattern.
        """
        model = definition["model"]
        plain = (
            model["type"] == "BPE"
            and not model.get("dropout")
            and not model.get("byte_fallback")
            and not model.get("continuing_subword_prefix")
            and not model.get("end_of_word_suffix")
            and not model.get("ignore_merges")
        )
        if not plain or definition.get("normalizer") is not None:
            raise UnsuitableError("it is no plain byte-level BPE")
        if any(not token["special"] for token in definition["added_tokens"]):
            raise UnsuitableError("it has added tokens that are no special ones")
        self._pattern = np.asarray(_pattern_of(definition), dtype=np.int64)
        vocabulary: dict[str, int] = model["vocab"]
        if max(vocabulary.values()) >= 1 << ID_BITS or len(model["merges"]) >= NO_RANK:
            raise UnsuitableError("it is too large")
        try:
            self._byte_ids = np.asarray([vocabulary[letter] for letter in byte_letters()], dtype=np.uint32)
            pairs = [pair if isinstance(pair, list) else pair.split(" ") for pair in model["merges"]]
            ids = np.asarray([[vocabulary[left], vocabulary[right]] for left, right in pairs], dtype=np.int64)
            merged = [vocabulary[left + right] for left, right in pairs]
        except KeyError as error:
            raise UnsuitableError(f"it has no entry {error}") from None
        self._merged = np.asarray(merged, dtype=np.uint32)
        self._merges = np.full(1 << (4 * len(pairs)).bit_length(), FREE, dtype=np.int64)
        self._byte_pairs = np.empty(1 << 16, dtype=np.int32)
        fill_merges(ids.reshape(-1, 2), self._byte_ids, self._merges, self._byte_pairs)
        longest = _BYTES_OF_A_CHARACTER * max(LONGEST_RUN, *self._pattern.tolist()) + 1
        self._table = np.full((slots, 4), FREE, dtype=np.int64)
        self._kept_bytes = np.empty(max(4 * slots, longest), dtype=np.uint8)
        self._kept_ids = np.empty(max(4 * slots, longest), dtype=np.uint32)
        self._used = np.zeros(3, dtype=np.int64)
        self._symbols = np.empty(longest, dtype=np.uint32)
        self._ranks = np.empty(longest, dtype=np.int32)

    def encode(self, texts: Texts) -> EncodedTexts:
        """Ids of texts without nulls."""
        data, offsets = utf8(texts)
        size = int(offsets[-1] - offsets[0])
        kinds = np.zeros(size + 8, dtype=np.uint8)
        ids = np.empty(size, dtype=np.uint32)
        ends = np.empty(len(texts) + 1, dtype=np.int64)
        encode_texts(
            data,
            _eights(data),
            offsets,
            code_point_classes(),
            kinds,
            _eights(kinds),
            self._pattern,
            self._byte_ids,
            self._byte_pairs,
            self._merges,
            self._merged,
            self._table,
            self._kept_bytes,
            self._kept_ids,
            self._used,
            self._symbols,
            self._ranks,
            ids,
            ends,
        )
        return EncodedTexts(ids[: ends[-1]].copy(), ends)


@lru_cache(maxsize=1)
def _known_patterns() -> dict[str, tuple[int, int]]:
    return {
        pattern_regex("corpusline", longest_han_run=han, digits_per_token=digits): (han, digits)
        for han, digits in product(range(1, _LONGEST_HAN_RUN + 1), range(1, _MOST_DIGITS + 1))
    }


def _pattern_of(definition: dict[str, Any]) -> tuple[int, int]:
    """Most Chinese characters and most digits in a piece."""
    steps = (definition["pre_tokenizer"] or {}).get("pretokenizers", [])
    if len(steps) == 2 and steps[0]["type"] == "Split" and steps[1] == _byte_level():
        split = steps[0]
        known = _known_patterns().get(split["pattern"].get("Regex"))
        if known is not None and split["behavior"] == "Isolated" and not split["invert"]:
            return known
    raise UnsuitableError("it cuts text by another pattern than corpusline")


def _byte_level() -> dict[str, Any]:
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    state: dict[str, Any] = json.loads(level.__getstate__())
    return state


def _eights(data: Any) -> Any:
    """At each place but the last seven the eight bytes from there as a number, without a copy."""
    if data.size < 8:
        return np.zeros(0, dtype="<i8")
    return np.ndarray(data.size - 7, "<i8", data, strides=(1,))
