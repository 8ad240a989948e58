from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from training.fill_in_the_middle import SENTINEL, FillInTheMiddle

END, PREFIX, MIDDLE, SUFFIX = 0, 1, 2, 3


def middle(rate: float = 1.0, suffix_first: float = 0.0, seed: int = 0) -> FillInTheMiddle:
    return FillInTheMiddle(rate, suffix_first, PREFIX, MIDDLE, SUFFIX, seed)


def rearranged(tokens: list[int], how: FillInTheMiddle, key: int = 0) -> tuple[list[int], list[int]]:
    ids = np.asarray(tokens, dtype=np.int64)
    out, positions = how.rearrange(ids, np.arange(100, 100 + ids.size), end_of_document=END, key=("en", key))
    assert out.size == positions.size == ids.size
    return out.tolist(), positions.tolist()


def parts(tokens: list[int]) -> tuple[list[int], list[int], list[int]]:
    """Prefix, suffix and middle of a rearranged piece."""
    assert tokens[0] == PREFIX
    suffix, mid = tokens.index(SUFFIX), tokens.index(MIDDLE)
    assert suffix < mid
    return tokens[1:suffix], tokens[suffix + 1 : mid], tokens[mid + 1 :]


@given(length=st.integers(8, 60), key=st.integers(0, 1000))
def test_prefix_suffix_middle(length: int, key: int) -> None:
    body = list(range(10, 10 + length))
    tokens, positions = rearranged([*body, END], middle(), key)
    assert tokens[-1] == END
    prefix, suffix, between = parts(tokens[:-1])
    assert [*prefix, *between, *suffix] == body[:-3]
    for token, position in zip(tokens[:-1], positions, strict=False):
        assert position == (SENTINEL if token in (PREFIX, MIDDLE, SUFFIX) else 100 + token - 10)


@given(length=st.integers(8, 60), key=st.integers(0, 1000))
def test_suffix_prefix_middle(length: int, key: int) -> None:
    body = list(range(10, 10 + length))
    tokens, _ = rearranged(body, middle(suffix_first=1.0), key)
    assert tokens[:2] == [PREFIX, SUFFIX]
    mid = tokens.index(MIDDLE)
    assert [*tokens[mid + 1 :], *tokens[2:mid]] == body[:-3]


def test_pieces_are_rearranged_alone() -> None:
    first, second = list(range(10, 30)), list(range(40, 70))
    tokens, _ = rearranged([*first, END, *second, END, END, END], middle())
    assert tokens[20] == tokens[51] == END
    assert tokens[52:] == [END, END]
    for piece, body in ((tokens[:20], first), (tokens[21:51], second)):
        prefix, suffix, between = parts(piece)
        assert [*prefix, *between, *suffix] == body[:-3]


def test_short_pieces_and_those_not_chosen_stay() -> None:
    body = list(range(10, 17))
    assert rearranged([*body, END], middle())[0] == [*body, END]
    long = list(range(10, 60))
    assert rearranged(long, middle(rate=0.0)) == (long, list(range(100, 150)))


def test_about_the_share_that_is_asked_for() -> None:
    long = list(range(10, 60))
    changed = sum(rearranged(long, middle(rate=0.3), key)[0] != long for key in range(1000))
    assert abs(changed - 300) < 60
    suffix_first = sum(rearranged(long, middle(suffix_first=0.25), key)[0][1] == SUFFIX for key in range(1000))
    assert abs(suffix_first - 250) < 90  # an empty prefix looks the same


def test_the_same_key_gives_the_same_cuts() -> None:
    long = list(range(10, 60))
    assert rearranged(long, middle(), 5) == rearranged(long, middle(), 5)
    assert len({tuple(rearranged(long, middle(seed=seed), key)[0]) for seed in range(4) for key in range(4)}) > 12
