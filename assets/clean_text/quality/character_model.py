"""A language model of characters: how expected a text is by a reference text, in bits a UTF-8 byte.

An interpolated n-gram model after Witten and Bell's method C (1991, "The zero-frequency problem", section III), as
``language_model.baselines`` has it for pairs. With n(h, c) occurrences of character c after the characters h, n(h) of
all after h, t(h) different ones, and h' for h without its first character,

    P(c | h) = (n(h, c) + t(h) P(c | h')) / (n(h) + t(h)),   P(c) = (n(c) + t / SYMBOLS) / (n + t)

and P(c | h) = P(c | h') where h was never seen. h is at most ``order - 1`` characters, ``han_order - 1`` if the last of
them is Han, and at most one longer than that of the character before. A text begins after a mark of its own; its end
is not predicted. The probabilities of all SYMBOLS characters add up to 1 after any h.

Bits a byte, not perplexity a character: the former compares languages (a Han character has three bytes and says as much
as three letters) and is what the trainer and the baselines report. Perplexity a byte is 2 to its power.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pyarrow as pa

from assets.clean_text.characters import HAN, Array, character_classes
from assets.clean_text.errors import CleanTextError
from assets.clean_text.quality.weights import load_weights, save_weights
from assets.clean_text.tokens import decode, mix, text_bytes

NAME = "perplexity"

SYMBOLS = 0x110000 - 0x800
"""Unicode's scalar values (The Unicode Standard, D76): all that may be the next character."""

START = 0x110000
"""Stands before the first character of a text."""

LONGEST = 8
"""Most characters of an n-gram."""

BASE = np.uint64(0x9E3779B97F4A7C15)
"""Of the polynomial modulo 2^64 over mixed code points that is an n-gram's key."""


@dataclass(frozen=True)
class CharacterModel:
    """The n-grams of a reference text and their probabilities.

    Attributes:
        keys: uint64 (g,), sorted: polynomial hashes of the n-grams.
        log_probability: float32 (g,): log2 P(c | h) of the n-gram hc.
        backoff: float32 (g,): log2 t(h) / (n(h) + t(h)) of the n-gram as h; 0 where nothing follows it.
        unseen: log2 P(c) of a character that the reference text does not have.
        order: Most characters of an n-gram.
        han_order: The same, where the last but one is Han.
        digest: Identity of the model's files; empty before it is saved.
        description: What it was trained on, as JSON.
    """

    keys: Array
    log_probability: Array
    backoff: Array
    unseen: float
    order: int
    han_order: int
    digest: str = ""
    description: Mapping[str, Any] = field(default_factory=dict)

    def bits(self, texts: pa.StringArray) -> Array:
        """float64 (n,): information in each text, -log2 of its probability as the beginning of a text."""
        if not len(texts):
            return np.zeros(0)
        data, offsets = text_bytes(texts)
        table, values = self._table
        return _bits(data, offsets, han_table(), table, values, self.unseen, self.order, self.han_order)

    def score(self, texts: pa.StringArray) -> Array:
        """float64 (n,): bits for each UTF-8 byte, 0 for an empty text; the lower, the more like the reference."""
        _, offsets = text_bytes(texts)
        return self.bits(texts) / np.maximum(np.diff(offsets), 1)

    def save(self, folder: Path) -> None:
        """Write ``perplexity.safetensors`` and ``perplexity.json``."""
        arrays = {"keys": self.keys, "log_probability": self.log_probability, "backoff": self.backoff}
        orders = {"unseen": self.unseen, "order": self.order, "han_order": self.han_order}
        save_weights(folder, NAME, arrays, {**self.description, **orders})

    @cached_property
    def _table(self) -> tuple[Array, Array]:
        """uint64 (slots, 2), open addressing: key and both logarithms; and the same memory as float32 (slots, 4)."""
        table = np.zeros((1 << (2 * len(self.keys) - 1).bit_length(), 2), np.uint64)
        values = table.view(np.float32)
        _fill(table, values, self.keys, self.log_probability, self.backoff)
        return table, values


def load_character_model(folder: Path) -> CharacterModel:
    """Open what ``CharacterModel.save`` wrote.

    Raises:
        CleanTextError: If a file is missing or damaged.
    """
    arrays, description, digest = load_weights(folder, NAME)
    try:
        return CharacterModel(
            keys=arrays["keys"],
            log_probability=arrays["log_probability"],
            backoff=arrays["backoff"],
            unseen=float(description["unseen"]),
            order=int(description["order"]),
            han_order=int(description["han_order"]),
            digest=digest,
            description=description,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CleanTextError(f"{folder} holds no whole perplexity model ({error}); train it again") from None


@lru_cache(maxsize=1)
def han_table() -> Array:
    """bool (0x110001,): which code points are Han; START is not."""
    table = np.append((character_classes() & HAN) > 0, False)
    table.flags.writeable = False
    return table


@numba.njit(cache=True, nogil=True)
def symbol_hash(point: int) -> np.uint64:
    """What a code point adds to the key of an n-gram."""
    return mix((np.uint64(point) + np.uint64(1)) * BASE)


@numba.njit(cache=True, nogil=True)
def _find(table: Array, key: np.uint64) -> Any:
    """The key's slot, -1 if there is none."""
    mask = np.uint64(len(table) - 1)
    slot = key & mask
    while table[slot, 0] != key:
        if table[slot, 0] == 0:
            return np.int64(-1)
        slot = (slot + np.uint64(1)) & mask
    return np.int64(slot)


@numba.njit(cache=True)
def _fill(table: Array, values: Array, keys: Array, log_probability: Array, backoff: Array) -> None:
    mask = np.uint64(len(table) - 1)
    for number in range(len(keys)):
        slot = keys[number] & mask
        while table[slot, 0] != 0:
            slot = (slot + np.uint64(1)) & mask
        table[slot, 0] = keys[number]
        values[slot, 2], values[slot, 3] = log_probability[number], backoff[number]


@numba.njit(cache=True, nogil=True)
def _bits(
    data: Array,
    offsets: Array,
    han: Array,
    table: Array,
    values: Array,
    unseen: float,
    order: int,
    han_order: int,
) -> Array:
    """For each character, the longest n-gram known that ends with it, and the back-offs of the longer contexts.

    Every end of a known n-gram is known, so a context longer than the n-gram found last has no back-off: at most one
    n-gram more than that is tried (as KenLM's state does, Heafield 2011, section 4.1).
    """
    bits = np.zeros(len(offsets) - 1)
    # Keys of the n-grams that end at the last character and at this one, in turns.
    keys = np.zeros((2, LONGEST + 1), np.uint64)
    for text in range(len(offsets) - 1):
        position, end = offsets[text], offsets[text + 1]
        total, known, context, limit, last = 0.0, 1, 0, order - 1, 0
        keys[last, 1] = symbol_hash(START)
        slot = _find(table, keys[last, 1])
        while position < end:
            point, size = decode(data, position, end)
            position += size
            context = min(limit, context + 1)
            length = min(context, known)
            symbol, now = symbol_hash(point), 1 - last
            keys[now, 1] = symbol
            for width in range(1, length + 1):
                keys[now, width + 1] = keys[last, width] * BASE + symbol
            found = _find(table, keys[now, length + 1])
            while found < 0:
                if length == 0:
                    total += unseen
                    break
                # The slot at hand is that of the n-gram found last, of which a shorter end may be the context.
                total += values[slot if length == known else _find(table, keys[last, length]), 3]
                length -= 1
                found = _find(table, keys[now, length + 1])
            if found >= 0:
                total += values[found, 2]
                length += 1
            known, slot = length, found
            limit = han_order - 1 if han[point] else order - 1
            last = now
        bits[text] = -total
    return bits
