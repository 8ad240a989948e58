"""Vocabularies of any merges, of parts of characters, whole ones and across them, encode as tokenizers does."""

from __future__ import annotations

import json
import random
from itertools import product

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models

from assets.vocabulary.byte_letters import byte_letters, letters_of
from assets.vocabulary.encoders.compiled import CompiledEncoder
from assets.vocabulary.encoders.libraries import ReferenceEncoder
from assets.vocabulary.patterns import pre_tokenizer

# Characters that share their first byte, their first two, their last or their last two with others; kana; of two and
# four bytes; a variant beyond the first plane that is Han too.
CHARACTERS = "一丁七且我戁戂艑艒あいカĀé𠀀a "
RUNS = st.text(CHARACTERS, min_size=1, max_size=12)


def random_vocabulary(text: str, merges: int, swaps: int, seed: int) -> Tokenizer:
    """Merges that pairs in a text are chosen for at random, a few of them exchanged for others."""
    chance = random.Random(seed)
    pieces = [[letters_of(bytes([byte])) for byte in part.encode()] for part in text.split()]
    chosen: dict[tuple[str, str], None] = {}
    for _ in range(merges):
        longer = [piece for piece in pieces if len(piece) > 1]
        if not longer:
            break
        piece = chance.choice(longer)
        place = chance.randrange(len(piece) - 1)
        pair = piece[place], piece[place + 1]
        chosen[pair] = None
        for other in pieces:
            for step in range(len(other) - 2, -1, -1):
                if (*other[step : step + 2],) == pair:
                    other[step : step + 2] = ["".join(pair)]
    ranked = list(chosen)
    for _ in range(swaps if ranked else 0):
        one, two = chance.randrange(len(ranked)), chance.randrange(len(ranked))
        ranked[one], ranked[two] = ranked[two], ranked[one]
    names = dict.fromkeys([*byte_letters(), *map("".join, ranked)])
    tokenizer = Tokenizer(models.BPE({name: number for number, name in enumerate(names)}, ranked))
    tokenizer.pre_tokenizer = pre_tokenizer("corpusline", longest_han_run=4, digits_per_token=3)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def same(tokenizer: Tokenizer, texts: list[str]) -> bool:
    ours = CompiledEncoder(json.loads(tokenizer.to_str())).encode(pa.array(texts))
    theirs = ReferenceEncoder(tokenizer).encode(pa.array(texts))
    return np.array_equal(ours.ids, theirs.ids) and np.array_equal(ours.offsets, theirs.offsets)


@settings(max_examples=200, deadline=None)
@given(
    sample=st.lists(RUNS, min_size=1, max_size=20).map(" ".join),
    texts=st.lists(RUNS, min_size=1, max_size=20),
    merges=st.integers(0, 60),
    swaps=st.sampled_from([0, 0, 1, 4, 40]),
    seed=st.integers(0, 1 << 30),
)
def test_any_merges(sample: str, texts: list[str], merges: int, swaps: int, seed: int) -> None:
    assert same(random_vocabulary(sample, merges, swaps, seed), [*texts, sample])


def vocabulary(*merges: tuple[bytes, bytes]) -> Tokenizer:
    ranked = [(letters_of(left), letters_of(right)) for left, right in merges]
    names = dict.fromkeys([*byte_letters(), *map("".join, ranked)])
    tokenizer = Tokenizer(models.BPE({name: number for number, name in enumerate(names)}, ranked))
    tokenizer.pre_tokenizer = pre_tokenizer("corpusline", longest_han_run=4, digits_per_token=3)
    return tokenizer


ONE, TWO = "一".encode(), "我".encode()  # e4 b8 80, e6 88 91
WITHIN = [(ONE[:1], ONE[1:2]), (ONE[:2], ONE[2:]), (TWO[1:2], TWO[2:]), (TWO[:1], TWO[1:])]


@pytest.mark.parametrize(
    "merges",
    [
        [*WITHIN, (ONE, TWO), (ONE + TWO, ONE)],
        [*WITHIN, (ONE, TWO[:1])],
        [(ONE, TWO[:1]), *WITHIN],
        [(ONE[2:], TWO), *WITHIN, (ONE, TWO)],
        [*WITHIN[:3], (ONE[2:], TWO[:1]), WITHIN[3], (ONE, TWO)],
        # Pairs of whole ones come before the second one is complete.
        [*WITHIN[:2], (ONE, ONE), *WITHIN[2:], (ONE, TWO), (TWO, ONE)],
        [*WITHIN[:2], (TWO, ONE), (ONE, ONE), *WITHIN[2:]],
        [(TWO, ONE), *WITHIN, (ONE, TWO)],
        WITHIN[:3],
    ],
)
def test_orders_of_merges(merges: list[tuple[bytes, bytes]]) -> None:
    runs = ["".join(run) for length in range(1, 5) for run in product("一我", repeat=length)]
    assert same(vocabulary(*merges), [*runs, "a一 我一b我", "𠀀一我", "一𠀀我", "é一我é"])
