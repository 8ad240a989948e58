from __future__ import annotations

import math

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.clean_text.signatures import signatures
from assets.token_shards.settings import TokenShardSettings
from assets.token_shards.split import split_of
from training.settings import SettingsError


def validation_of(texts: list[str], *, share: float, seed: int = 0) -> set[int]:
    found = signatures(pa.array(texts, pa.string())).to_pylist()
    return {
        number
        for number, signature in enumerate(found)
        if split_of(str(signature), validation_share=share, seed=seed) == "validation"
    }


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


def test_the_choice_never_changes() -> None:
    # printf '0\0hello' | b2sum -l 64, read as a little-endian number, is 0.9183 of 2^64.
    assert split_of("hello", validation_share=0.9182, seed=0) == "train"
    assert split_of("hello", validation_share=0.9184, seed=0) == "validation"


@pytest.mark.parametrize("share", [0, 0.5, -0.1, float("nan")])
def test_impossible_shares_are_refused(share: float) -> None:
    with pytest.raises(SettingsError, match="token_shards: 'validation_share' = "):
        TokenShardSettings.parse({"validation_share": share}, origin="token_shards")
