"""What the compiled encoder knows of a vocabulary, as flat arrays."""

from __future__ import annotations

import json
from itertools import chain
from operator import add
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from tokenizers import pre_tokenizers

from assets.vocabulary.byte_letters import byte_letters
from assets.vocabulary.encoders.encoded import UnsuitableError
from assets.vocabulary.kernels.classes import code_point_classes
from assets.vocabulary.kernels.merge_table import ID_BITS, NO_ID, NO_RANK, merge_table
from assets.vocabulary.kernels.piece_merging import fill_byte_pairs
from assets.vocabulary.kernels.whole_characters import CHARACTERS, fill_characters
from assets.vocabulary.patterns import known_patterns


class EncoderTables(NamedTuple):
    """Read-only arrays; see ``assets.vocabulary.kernels.encoding.encode_texts`` for their meaning.

    Attributes:
        classes: uint8 [1114112].
        pattern: int64 [2].
        byte_ids: uint32 [256].
        byte_pairs: int32 [65536].
        characters: int64 [65536].
        merges: int64 [slots].
        seeds: uint16 [buckets].
        merged: uint32 [merges].
    """

    classes: npt.NDArray[np.uint8]
    pattern: npt.NDArray[np.int64]
    byte_ids: npt.NDArray[np.uint32]
    byte_pairs: npt.NDArray[np.int32]
    characters: npt.NDArray[np.int64]
    merges: npt.NDArray[np.int64]
    seeds: npt.NDArray[np.uint16]
    merged: npt.NDArray[np.uint32]


def encoder_tables(definition: dict[str, Any]) -> EncoderTables:
    """The tables of a vocabulary.

    Args:
        definition: Content of its ``tokenizer.json``.

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
    pattern = np.asarray(_pattern_of(definition), dtype=np.int64)
    vocabulary: dict[str, int] = model["vocab"]
    if max(vocabulary.values()) >= NO_ID or len(model["merges"]) >= NO_RANK:
        raise UnsuitableError("it is too large")
    sides = _sides(model["merges"])
    try:
        byte_ids = np.asarray([vocabulary[letter] for letter in byte_letters()], dtype=np.uint32)
        ids = np.fromiter(map(vocabulary.__getitem__, sides), dtype=np.int64, count=len(sides)).reshape(-1, 2)
        wholes = map(add, sides[::2], sides[1::2])
        merged = np.fromiter(map(vocabulary.__getitem__, wholes), dtype=np.uint32, count=len(ids))
    except KeyError as error:
        raise UnsuitableError(f"it has no entry {error}") from None
    if np.unique(ids[:, 0] << ID_BITS | ids[:, 1]).size < len(ids):
        raise UnsuitableError("it has a merge twice")
    merges, seeds = merge_table(ids)
    byte_pairs = np.empty(1 << 16, dtype=np.int32)
    fill_byte_pairs(byte_ids, merges, seeds, byte_pairs)
    characters = np.empty(CHARACTERS, dtype=np.int64)
    first_whole = np.full(max(vocabulary.values()) + 1, NO_RANK, dtype=np.int32)
    fill_characters(*_names(sides), ids, byte_ids, merges, seeds, merged, first_whole, characters)
    return EncoderTables(code_point_classes(), pattern, byte_ids, byte_pairs, characters, merges, seeds, merged)


def _sides(merges: list[Any]) -> list[str]:
    """The left and the right token of each merge, one after the other."""
    if merges and isinstance(merges[0], str):
        merges = [pair.split(" ") for pair in merges]
    sides = [*chain.from_iterable(merges)]
    if len(sides) != 2 * len(merges) or not all(sides):
        raise UnsuitableError("it has a merge of other than two tokens")
    return sides


def _names(sides: list[str]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """The bytes of tokens one after the other, and where each begins."""
    by_letter = np.full(1 << 16, -1, dtype=np.int16)
    by_letter[[*map(ord, byte_letters())]] = np.arange(256)
    names = by_letter[np.frombuffer("".join(sides).encode("utf-16-le"), dtype="<u2")]
    if (names < 0).any():
        raise UnsuitableError("it has a token whose letters stand for no bytes")
    lengths = np.fromiter(map(len, sides), dtype=np.int64, count=len(sides))
    return names.astype(np.uint8), np.concatenate([[0], np.cumsum(lengths)])


def _pattern_of(definition: dict[str, Any]) -> tuple[int, int]:
    """Most Chinese characters and most digits in a piece."""
    steps = (definition["pre_tokenizer"] or {}).get("pretokenizers", [])
    if len(steps) == 2 and steps[0]["type"] == "Split" and steps[1] == _byte_level():
        split = steps[0]
        known = known_patterns().get(split["pattern"].get("Regex"))
        if known is not None and split["behavior"] == "Isolated" and not split["invert"]:
            return known
    raise UnsuitableError("it cuts text by another pattern than corpusline")


def _byte_level() -> dict[str, Any]:
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    state: dict[str, Any] = json.loads(level.__getstate__())
    return state
