from __future__ import annotations

import gzip
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.language_model.baselines import SYMBOLS, bigram_bits_per_byte, compressed_bits_per_byte


def test_compression_counts_the_compressors_own_bytes() -> None:
    text = "春眠不觉晓，处处闻啼鸟。" * 20
    bits = compressed_bits_per_byte([text])
    assert bits["gzip"] == 8 * len(gzip.compress(text.encode(), 9, mtime=0)) / len(text.encode())
    assert bits["xz"] < 8


def test_without_training_every_symbol_is_as_likely() -> None:
    # Two characters and the end of the document.
    assert bigram_bits_per_byte([], ["ab"]) == pytest.approx(3 * math.log2(SYMBOLS) / 2)


def test_bigram_by_hand() -> None:
    # Trained on "ab": end-a, a-b, b-end, each once. t = 3 symbols, n = 3; after a: n = 1, t = 1.
    unigram = (1 + 3 / SYMBOLS) / (3 + 3)
    known = (1 + unigram) / 2
    assert bigram_bits_per_byte(["ab"], ["ab"]) == pytest.approx(-3 * math.log2(known) / 2)
    # x was never seen: after "end" by back-off to nothing; after x there is only the unigram.
    unseen = (0 + 3 / SYMBOLS) / 6
    assert bigram_bits_per_byte(["ab"], ["x"]) == pytest.approx(-math.log2(unseen / 2) - math.log2(unigram))


@settings(max_examples=20)
@given(training=st.lists(st.text("ab语文", max_size=8), max_size=4), context=st.sampled_from(["", "a", "语"]))
def test_probabilities_of_all_symbols_add_up_to_one(training: list[str], context: str) -> None:
    """P(next | context) over the symbols seen, the end, and all others, from bits of texts that differ by it."""
    seen = {character for text in training for character in text} | {"a", "语"}

    def bits(text: str) -> float:
        return bigram_bits_per_byte(training, [text]) * max(1, len(text.encode()))

    # bits(context + c) - bits(c alone as its own rest): P(c|context) * P(end|c), so divide the second factor out.
    end_after = {c: _end_after(training, c) for c in seen}
    prefix = _prefix_bits(training, context)
    total = sum(2 ** -(bits(context + c) - prefix + math.log2(end_after[c])) for c in seen)
    total += 2 ** -(bits(context) - prefix)
    unseen = "\U000e0fff"
    other = 2 ** -(bits(context + unseen) - prefix + math.log2(_end_after(training, unseen)))
    total += other * (SYMBOLS - 1 - len(seen))
    assert total == pytest.approx(1, abs=1e-6)


def _end_after(training: list[str], character: str) -> float:
    """P(end | character), computed the slow way."""
    return _slow(training, character, None)


def _prefix_bits(training: list[str], context: str) -> float:
    """Bits of the context's characters, without the end."""
    return -math.log2(_slow(training, None, context)) if context else 0.0


def _slow(training: list[str], before: str | None, after: str | None) -> float:
    pairs = [pair for text in training for pair in zip([None, *text], [*text, None], strict=True)]
    n, t = len(pairs), len({second for _, second in pairs})
    count = sum(second == after for _, second in pairs)
    unigram = (count + t / SYMBOLS) / (n + t) if n else 1 / SYMBOLS
    follow = [second for first, second in pairs if first == before]
    if not follow:
        return unigram
    return (follow.count(after) + len(set(follow)) * unigram) / (len(follow) + len(set(follow)))


def test_more_text_predicts_better() -> None:
    text = "明月几时有？把酒问青天。"
    assert bigram_bits_per_byte([text] * 3, [text]) < bigram_bits_per_byte(["完全不同的句子"], [text])
