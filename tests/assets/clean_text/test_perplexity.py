from __future__ import annotations

import math
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.clean_text.errors import CleanTextError
from assets.clean_text.quality.character_counts import PerplexityTrainingSettings, train_character_model
from assets.clean_text.quality.character_model import SYMBOLS, CharacterModel, load_character_model

ENGLISH = (
    "It was a bright cold day in April, and the clocks were striking thirteen. The wind came down the river and "
    "carried the smell of rain into the house where the old man was reading to the children by the window. "
) * 8
CHINESE = (
    "春天来了，河边的柳树发出了新芽。老人坐在窗前给孩子们读书，窗外的风带来了雨的气味。孩子们听着，慢慢地睡着了。" * 8
)


def array(*texts: str) -> pa.StringArray:
    return pa.array(texts, pa.string())


def train(*texts: str, **changes: int) -> CharacterModel:
    return train_character_model([array(*texts)], settings=PerplexityTrainingSettings(**changes))  # type: ignore[arg-type]


def bits(model: CharacterModel, text: str) -> float:
    return float(model.bits(array(text))[0])


def test_pairs_by_hand() -> None:
    """Trained on "ab" and "ac": 4 characters of 3 kinds; after the beginning a, a; after a b, c; nothing after b, c."""
    model = train("ab", "ac", order=2, han_order=2)

    def single(count: int) -> float:
        return (count + 3 / SYMBOLS) / (4 + 3)

    a_first = (2 + 1 * single(2)) / (2 + 1)
    b_after_a = (1 + 2 * single(1)) / (2 + 2)
    assert bits(model, "a") == pytest.approx(-math.log2(a_first), abs=1e-5)
    assert bits(model, "ab") == pytest.approx(-math.log2(a_first * b_after_a), abs=1e-5)
    a_after_a = 2 * single(2) / (2 + 2)
    assert bits(model, "aa") == pytest.approx(-math.log2(a_first * a_after_a), abs=1e-5)
    # Nothing was seen after b, so what follows it is as likely as anywhere; z was never seen at all.
    assert bits(model, "abz") == pytest.approx(-math.log2(a_first * b_after_a * single(0)), abs=1e-4)
    assert bits(model, "z") == pytest.approx(-math.log2(single(0) / (2 + 1)), abs=1e-4)


def test_score_is_bits_a_byte() -> None:
    model = train(CHINESE, ENGLISH)
    text = "春天来了 in April"
    assert model.score(array(text, "")).tolist() == [bits(model, text) / len(text.encode()), 0.0]


def slow_probability(texts: list[str], history: str, character: str, order: int, han_order: int) -> float:
    """P(character | history), by counting over all texts again for each context."""

    def contexts(text: str) -> list[str]:
        """For each character, the longest context it is counted with."""
        found, length, limit = [], 0, order - 1
        for place, following in enumerate(text):
            length = min(limit, length + 1)
            found.append(("^" + text)[place + 1 - length : place + 1])
            limit = han_order - 1 if "一" <= following <= "龥" else order - 1
        return found

    pairs = [pair for text in texts for pair in zip(contexts(text), text, strict=True)]
    context = contexts(history + character)[-1]
    follows = [c for _, c in pairs]
    kinds = len(set(follows))
    probability = (follows.count(character) + kinds / SYMBOLS) / (len(follows) + kinds)
    for length in range(1, len(context) + 1):
        end = context[-length:]
        after = [c for seen, c in pairs if seen.endswith(end)]
        if after:
            kinds = len(set(after))
            probability = (after.count(character) + kinds * probability) / (len(after) + kinds)
    return probability


@settings(max_examples=60)
@given(
    texts=st.lists(st.text("ab一二", max_size=12), min_size=1, max_size=4).filter(any),
    text=st.text("abc一二三", min_size=1, max_size=8),
)
def test_same_as_counting_for_each_character(texts: list[str], text: str) -> None:
    model = train(*texts, order=4, han_order=3)
    expected = [slow_probability(texts, text[:n], character, 4, 3) for n, character in enumerate(text)]
    assert bits(model, text) == pytest.approx(-sum(map(math.log2, expected)), rel=1e-5)


@settings(max_examples=40)
@given(context=st.text("abehin 春天的雨，☃", max_size=8), ngrams=st.sampled_from([1000, 2_000_000]))
def test_probabilities_of_all_characters_add_up_to_one(context: str, ngrams: int) -> None:
    # With 1,000 n-grams, rare ones are dropped.
    model = train(ENGLISH, CHINESE, ENGLISH[::-1], CHINESE[::-1], ngrams=ngrams)
    seen = sorted(set(ENGLISH + CHINESE))
    before = bits(model, context)
    after = model.bits(array(*(context + character for character in [*seen, "\U0001f600"])))
    probabilities = np.exp2(before - after)
    assert probabilities[:-1].sum() + probabilities[-1] * (SYMBOLS - len(seen)) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("text", ["the old man came down the river in the rain", "老人坐在河边，听着春天的雨。"])
def test_disorder_is_less_expected_than_order(text: str) -> None:
    model = train(ENGLISH, CHINESE)
    characters = list(text)
    random.Random(0).shuffle(characters)
    held_out, shuffled = model.score(array(text, "".join(characters)))
    assert shuffled > 1.25 * held_out
    noise = "".join(random.Random(0).choices([chr(c) for c in range(0x3B1, 0x3C9)], k=40))
    assert model.score(array(noise))[0] > 2 * held_out


def test_files_do_not_depend_on_order_or_batches(tmp_path: Path) -> None:
    texts = [ENGLISH[n : n + 50] for n in range(0, 400, 50)] + [CHINESE[n : n + 30] for n in range(0, 90, 30)]
    one = train(*texts)
    other = train_character_model([array(text) for text in texts[::-1]], settings=PerplexityTrainingSettings())
    one.save(tmp_path / "one")
    other.save(tmp_path / "other")
    for name in ("perplexity.safetensors", "perplexity.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()
    opened = load_character_model(tmp_path / "one")
    assert opened.digest == load_character_model(tmp_path / "other").digest
    assert opened.score(array(*texts)).tolist() == one.score(array(*texts)).tolist()


def test_a_text_is_scored_alike_in_any_batch() -> None:
    model = train(ENGLISH, CHINESE)
    texts = array("the rain", "", "老人", "x" * 100, "春天来了")
    assert model.score(texts).tolist() == [model.score(texts.slice(n, 1))[0] for n in range(len(texts))]
    assert len(model.score(array())) == 0


def test_the_number_of_ngrams_is_bounded() -> None:
    texts = [str(n * n) for n in range(3000)]
    assert len(train(*texts).keys) > 2000
    small = train(*texts, ngrams=2000)
    assert len(small.keys) <= 2000
    assert small.description["least_count"] > 1


def test_only_the_first_bytes_are_learned_from() -> None:
    assert train(*["a" * 512] * 200, *["b" * 512] * 200, bytes=1024).description["bytes"] < 64 * 512 + 1


def test_what_cannot_be_used_is_named(tmp_path: Path) -> None:
    with pytest.raises(CleanTextError, match="no text to train"):
        train("")
    with pytest.raises(CleanTextError, match=r"perplexity\.json cannot be read"):
        load_character_model(tmp_path)
    train("a text").save(tmp_path)
    (tmp_path / "perplexity.safetensors").write_bytes(b"")
    with pytest.raises(CleanTextError, match=r"perplexity\.safetensors is damaged"):
        load_character_model(tmp_path)
    with pytest.raises(ValueError, match="'han_order' = 3 is more than 'order' = 2"):
        PerplexityTrainingSettings(order=2)
