from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.clean_text.kernels.ngrams import REPEATED_SIZES, TOP_SIZES, repeated_characters
from assets.clean_text.kernels.pieces import Pieces, piece_hash
from assets.clean_text.signals.batch import split

SIZES = (*TOP_SIZES, *REPEATED_SIZES)
WORDS = st.lists(st.sampled_from(["a", "bb", "c,d"]), max_size=45)


def pieces_of(texts: Sequence[Sequence[str]]) -> Pieces:
    """Pieces as they are given, whatever characters they have."""
    flat = [word for words in texts for word in words]
    return Pieces(
        starts=np.cumsum([0, *map(len, texts)]).astype(np.int64),
        hashes=np.array([piece_hash(word) for word in flat], np.uint64),
        lengths=np.array([len(word) for word in flat], np.uint32),
        flags=np.zeros(len(flat), np.uint8),
        sentences=np.zeros(len(texts), np.int64),
    )


def measured(text: str) -> dict[int, int]:
    row = repeated_characters(split(pa.array([text]), "english"))[0]
    return dict(zip(SIZES, row.tolist(), strict=True))


def by_definition(words: Sequence[str]) -> list[int]:
    """Every n-gram is compared with every other one, place by place."""
    row = []
    for size in SIZES:
        grams = [tuple(words[at : at + size]) for at in range(len(words) - size + 1)]
        if size in TOP_SIZES:
            best: tuple[str, ...] = ()
            times = 0
            for gram in grams:
                if (count := sum(other == gram for other in grams)) > times:
                    best, times = gram, count
            row.append((sum(map(len, best)) + size - 1) * times)
            continue
        passed: list[tuple[str, ...]] = []
        characters = at = 0
        while at < len(grams):
            if grams[at] in passed:
                characters += sum(map(len, grams[at]))
                at += size
            else:
                passed.append(grams[at])
                at += 1
        row.append(characters)
    return row


@given(st.lists(WORDS, max_size=3))
def test_all_sizes_agree_with_the_definition(texts: list[list[str]]) -> None:
    assert repeated_characters(pieces_of(texts)).tolist() == [by_definition(words) for words in texts]


def test_of_several_most_frequent_n_grams_the_first_counts() -> None:
    assert measured("long word . a b . long word . a b")[2] == 2 * len("long word")
    assert measured("a b . long word . a b . long word")[2] == 2 * len("a b")
    assert measured("eins zwei drei")[2] == len("eins zwei")


def test_n_grams_may_overlap_themselves_where_the_most_frequent_one_is_sought() -> None:
    assert measured("a a a a")[2] == 3 * len("a a")
    assert measured("a a a a")[3] == 2 * len("a a a")


def test_behind_a_repeat_the_search_goes_on() -> None:
    # The repeat begins at the second piece, and 12 more are two whole ones of 5.
    assert measured("a " * 13)[5] == 10
    assert measured("a b c d e a b c d e")[5] == 5
    assert measured("a b c d e x a b c d e")[6] == 0


def test_texts_with_fewer_pieces_have_no_n_grams() -> None:
    assert set(measured("").values()) == {0}
    assert set(measured("one").values()) == {0}
    assert measured("one two") == {2: 7} | dict.fromkeys(SIZES[1:], 0)


def test_pieces_that_differ_in_a_null_character_differ() -> None:
    words = ["a", "b", "\0a", "b", "a\0", "b", "\0\0a", "b"]
    assert repeated_characters(pieces_of([words])).tolist() == [by_definition(words)]


def test_every_line_of_a_text_is_one_n_gram_over_again() -> None:
    text = ["Another day, another line of it ."] * 5_000
    row = measured("\n".join(text))
    assert row[2] == 5_000 * len("Another day")
    assert all(row[size] > 0.99 * 5_000 * len("Anotherday,anotherlineofit.") for size in REPEATED_SIZES)


def test_the_texts_of_a_batch_do_not_mix() -> None:
    texts = pa.array(["a b c d e f", "a b c d e f", "", "x " * 3_000, "a b c d e f"])
    together = repeated_characters(split(texts, "english")).tolist()
    assert together == [repeated_characters(split(texts.slice(at, 1), "english"))[0].tolist() for at in range(5)]
    assert together[0][3:] == [0] * 6
    assert repeated_characters(split(texts.slice(0, 0), "english")).shape == (0, 9)


def test_the_peer_counts_the_same() -> None:
    peer = pytest.importorskip("datatrove.pipeline.filters.gopher_repetition_filter")
    generator = random.Random(5)
    for _ in range(200):
        words = generator.choices(["a", "bb", "don't", "很好", "."], k=generator.randrange(10, 120))
        row = repeated_characters(pieces_of([words]))[0].tolist()
        assert row == [
            *(peer.find_top_duplicate(peer.get_n_grams(words, size)) for size in TOP_SIZES),
            *(peer.find_all_duplicate(words, size) for size in REPEATED_SIZES),
        ]
