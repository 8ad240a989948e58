from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.clean_text.signatures import signatures
from assets.token_shards.errors import TokenShardError
from assets.token_shards.settings import TokenShardSettings
from assets.token_shards.split import for_validation
from training.settings import SettingsError


def validation_of(texts: list[str], *, share: float, seed: int = 0) -> set[int]:
    found = signatures(pa.array(texts, pa.string()))
    return set(np.flatnonzero(for_validation(found, validation_share=share, seed=seed)).tolist())


@settings(deadline=None)
@given(st.text("aBé海Ｚ1 ,。!\n", max_size=20), st.integers(0, 9))
def test_copies_are_on_the_same_side(text: str, seed: int) -> None:
    copies = (
        [text, text.upper(), f"  {text}\n", " ".join(text), f"“{text}”!"] if any(map(str.isalnum, text)) else [text]
    )
    assert len(validation_of(copies, share=0.4, seed=seed)) in (0, len(copies))


@pytest.mark.parametrize("share", [0.01, 0.05, 0.3])
@pytest.mark.parametrize("seed", [0, 7])
def test_the_share_is_kept_within_chance(share: float, seed: int) -> None:
    count = 20_000
    chosen = len(validation_of([f"text {number}" for number in range(count)], share=share, seed=seed))
    assert abs(chosen - share * count) < 4 * math.sqrt(count * share * (1 - share))


def test_another_seed_is_another_independent_choice() -> None:
    texts = [f"text {number}" for number in range(10_000)]
    one, other = validation_of(texts, share=0.3, seed=1), validation_of(texts, share=0.3, seed=2)
    assert one != other
    assert abs(len(one & other) - 900) < 4 * math.sqrt(900 * 0.91)


def test_a_larger_share_keeps_the_choice_of_a_smaller_one() -> None:
    texts = [f"text {number}" for number in range(2_000)]
    assert validation_of(texts, share=0.05) < validation_of(texts, share=0.1) < validation_of(texts, share=0.4)


def splitmix64(state: int, steps: int) -> int:
    """Steele, Lea and Flood's generator, word by word: its output at so many steps from a state."""
    mixed = (state + steps * 0x9E3779B97F4A7C15) % 2**64
    mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB % 2**64
    return mixed ^ mixed >> 31


def test_the_generator_is_the_published_one() -> None:
    # The first outputs for the seed 1234567, as the reference programs of the algorithm print them.
    assert [splitmix64(1234567, step) for step in (1, 2)] == [6457827717110365317, 3203168211198807973]


@given(st.lists(st.integers(0, 2**128 - 1), max_size=20), st.integers(0, 2**70), st.floats(0.001, 0.499))
def test_the_choice_is_the_documented_one(numbers: list[int], seed: int, share: float) -> None:
    found = pa.array([f"{number:032x}" for number in [0, *numbers]], pa.string()).slice(1)
    expected = [splitmix64(number >> 64, seed + 1) < int(share * 2**64) for number in numbers]
    assert for_validation(found, validation_share=share, seed=seed).tolist() == expected


@pytest.mark.parametrize("wrong", ["", "0" * 31, "0" * 33, "0" * 31 + "g", "A" * 32, "０" * 32, None])
def test_what_is_no_signature_is_refused(wrong: str | None) -> None:
    with pytest.raises(TokenShardError, match="is no signature of 32 hex digits; run the stage clean_text again"):
        for_validation(pa.array(["a" * 32, wrong], pa.string()), validation_share=0.1, seed=0)


@pytest.mark.parametrize("share", [0, 0.5, -0.1, float("nan")])
def test_impossible_shares_are_refused(share: float) -> None:
    with pytest.raises(SettingsError, match="token_shards: 'validation_share' = "):
        TokenShardSettings.parse({"validation_share": share}, origin="token_shards")
