from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from assets.vocabulary.byte_bpe import count_text, train_byte_bpe
from assets.vocabulary.kinds import special_tokens
from assets.vocabulary.patterns import PATTERNS, pattern_regex, pre_tokenizer
from assets.vocabulary.piece_counts import CountedPieces, PieceCounts
from assets.vocabulary.settings import VocabularySettings

words = st.text(st.sampled_from("aab bc'.1\n海海的 é"), max_size=30)
anything = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def theirs(texts: list[str], options: VocabularySettings) -> Tokenizer:
    """What the library makes of the same texts."""
    tokenizer = Tokenizer(models.BPE())
    limits = {"longest_han_run": options.longest_han_run, "digits_per_token": options.digits_per_token}
    tokenizer.pre_tokenizer = pre_tokenizer(options.pattern, **limits)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=options.size,
        special_tokens=special_tokens(options),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=options.minimum_frequency,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def as_dictionary(pieces: CountedPieces) -> dict[bytes, int]:
    data = pieces.data.tobytes()
    edges = pieces.offsets.tolist()
    return {data[a:b]: int(n) for a, b, n in zip(edges[:-1], edges[1:], pieces.counts, strict=True)}


@settings(max_examples=120, deadline=None)
@given(
    texts=st.lists(st.one_of(words, anything), max_size=12),
    pattern=st.sampled_from(PATTERNS),
    more=st.integers(0, 60),
    minimum=st.integers(1, 3),
    special=st.sampled_from([[], ["<ab>"], ["<|im_start|>", "<海>"]]),
)
@example(["abcabc abc", "bcabcab"], "corpusline", 60, 1, ["<ab>"])
@example(["aaaaaaa aaa aaaa"], "gpt2", 60, 1, [])
@example([":\U0003d000"], "gpt2", 0, 1, [])
def test_the_vocabulary_is_the_librarys(
    texts: list[str], pattern: str, more: int, minimum: int, special: list[str]
) -> None:
    options = VocabularySettings.model_validate(
        {"size": 258 + len(special) + more, "pattern": pattern, "minimum_frequency": minimum, "special_tokens": special}
    )
    ours, library = train_byte_bpe(count_text(texts, options), options), theirs(texts, options)
    assert json.loads(ours.to_str()) == json.loads(library.to_str())


@settings(max_examples=60, deadline=None)
@given(texts=st.lists(st.one_of(words, anything), max_size=8), pattern=st.sampled_from(PATTERNS))
@example(["a\u0558b\u088f1\u208f"], "gpt4")
def test_pieces_are_counted_as_the_library_cuts_them(texts: list[str], pattern: str) -> None:
    options = VocabularySettings(pattern=pattern, size=512)
    regex = pattern_regex(pattern, longest_han_run=options.longest_han_run, digits_per_token=options.digits_per_token)
    splitter = pre_tokenizers.Split(Regex(regex), behavior="isolated")
    expected = Counter(piece.encode() for text in texts for piece, _ in splitter.pre_tokenize_str(text) if piece)
    assert as_dictionary(count_text(texts, options)) == expected


def test_what_has_no_room_is_forgotten_from_the_rarest_on() -> None:
    """Frequent pieces keep counts that are too small by no more than is said."""
    generator = np.random.default_rng(0)
    common = [f" w{number}" for number in range(20)]
    texts, expected = [], Counter[str]()
    for number in range(200):
        chosen = [common[place] for place in generator.integers(0, 20, 30)]
        rare = [f" r{number}x{place}y" for place in range(10)]
        text = "".join(chosen + rare)
        texts.append(text)
        expected.update(piece for piece in (" w",) for _ in chosen)
    counts = PieceCounts(most_pieces=256, most_bytes=2048)
    for text in texts:
        counts.add_texts([text], longest_han_run=4, digits_per_token=3)
    found = counts.counted()
    remembered = as_dictionary(found)
    assert found.forgotten > 0
    assert len(remembered) <= 256
    assert expected[" w"] - found.forgotten <= remembered[b" w"] <= expected[" w"]


def test_the_order_of_batches_does_not_matter_while_there_is_room() -> None:
    texts = ["the old sea", "老人与海", "the sea 123"]
    options = VocabularySettings(size=300)
    forwards, backwards = (count_text(order, options) for order in (texts, texts[::-1]))
    assert as_dictionary(forwards) == as_dictionary(backwards)
    one, other = (train_byte_bpe(pieces, options).to_str() for pieces in (forwards, backwards))
    assert one == other


@pytest.mark.parametrize("text", ["", " ", "的" * 5000, "a" * 100_000])
def test_texts_without_spaces_and_without_anything(text: str) -> None:
    options = VocabularySettings(size=300)
    assert json.loads(train_byte_bpe(count_text([text], options), options).to_str()) == json.loads(
        theirs([text], options).to_str()
    )
