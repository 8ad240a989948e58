from __future__ import annotations

from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.clean_text.kernels.pieces import HAS_LETTER, IS_WORD, piece_hash
from assets.clean_text.signals.batch import split

SENTENCES = [
    "I don't know, and you can't either; we'd've gone, wouldn't we?",
    "It's Mr. Smith's e-mail, isn't it? He'll read it at 10a.m. or 3pm.",
    'She said: "Hello!" — and (after a while...) "good-bye".',
    "See https://example.org/a/b?c=d#e or www.example.com, not example.com/x.",
    "The U.S. spent $5.30 and 30% more: 10km, 5kg, 20°C. and 3x4.",
    "a.b c.D and/or w/o rock'n'roll 'tis 'em ma'am o'clock",
    "Wait... what?! No—never – well, e.g. this, i.e. that, vs. those.",
    "cannot gonna let's c'mon who's that'll there're",
    "foo_bar __init__ x=y a+b 1+2 3-4 5*6 #tag @name :) ;-) <3 ):",
    "“Quoted” ‘text’ «here», [1] {2} (3) <4>",
    "Ends with a colon: and a semi; then \tabs\nand lines\n\n- item one\n• item two",
    "naïve café Übergröße ΑΒΓ αβγ привет мир",
    "emoji 😀 here ☃ and ✓done",
    "50,000 1,234.56 2024-01-31 12:30 +49-30-123456",
    "",
    "   ",
    "...",
    "Ltd. Corp. a. b. z. Dr. No",
]


def as_hashes(pieces: list[str]) -> list[int]:
    return [piece_hash(piece) for piece in pieces]


@pytest.mark.parametrize("sentence", SENTENCES)
def test_english_is_cut_as_spacy_cuts_it(sentence: str) -> None:
    spacy = pytest.importorskip("spacy")
    english = spacy.blank("en")
    expected = [token.text.strip() for token in english(sentence) if token.text.strip()]
    found = split(pa.array([sentence]), "english")
    assert found.hashes.tolist() == as_hashes(expected)
    assert found.lengths.tolist() == [len(piece) for piece in expected]


def test_sentences_are_counted_as_the_peer_counts_them() -> None:
    found = split(pa.array(["One. Two! Three?", "One\nTwo", "Mr. No", "No end", "", "(One.) Two."]), "english")
    assert found.sentences.tolist() == [3, 2, 1, 1, 0, 2]


def test_chinese_is_cut_as_jieba_cuts_it() -> None:
    jieba = pytest.importorskip("jieba")
    texts = [
        "我来到北京清华大学，学习自然语言处理。",
        "用 apt-get 安装 UTF-8 版本 8.1.3，便宜 50% 了。",
        "他花了3.14元买T恤",
    ]
    found = split(pa.array(texts), "rjieba")
    for index, text in enumerate(texts):
        expected = [piece for piece in jieba.cut(text) if piece.strip()]
        assert found.hashes[found.starts[index] : found.starts[index + 1]].tolist() == as_hashes(expected)


def test_flags_tell_words_from_marks() -> None:
    found = split(pa.array(["word 42 , a1"]), "english")
    assert found.flags.tolist() == [HAS_LETTER | IS_WORD, IS_WORD, 0, HAS_LETTER | IS_WORD]


@given(st.lists(st.text(), max_size=8))
def test_pieces_are_the_text_without_white_space(texts: list[str]) -> None:
    texts = ["".join(c for c in text if not 0xD800 <= ord(c) < 0xE000) for text in texts]
    for name in ("english", "spaces"):
        found = split(pa.array(texts, pa.string()), name)
        assert len(found.starts) == len(texts) + 1
        for index, text in enumerate(texts):
            pieces = slice(found.starts[index], found.starts[index + 1])
            visible = "".join(character for character in text if not character.isspace())
            assert found.lengths[pieces].sum() == len(visible)


@given(st.lists(st.sampled_from(["a", "Ab", "don't", "x.y", "...", "(", ")", ":", "1", "km", "é", "书", "-", "'s"])))
def test_a_chunk_is_cut_the_same_wherever_it_stands(chunks: list[str]) -> None:
    alone = Counter[int]()
    for chunk in chunks:
        alone.update(split(pa.array([chunk]), "english").hashes.tolist())
    together = split(pa.array([" ".join(chunks)]), "english")
    assert Counter(together.hashes.tolist()) == alone


def test_long_and_sliced_texts() -> None:
    texts = pa.array(["first", "!" * 300_000, "word " * 300_000, "x" * 300_000, "last"])
    found = split(texts, "english")
    assert (found.starts[1:] - found.starts[:-1]).tolist() == [1, 300_000, 300_000, 1, 1]
    part = split(texts.slice(4), "english")
    assert part.hashes.tolist() == as_hashes(["last"])
    wide = split(pa.array(["two words"], pa.large_string()), "english")
    assert wide.hashes.tolist() == as_hashes(["two", "words"])
    assert split(pa.array([], pa.string()), "english").starts.tolist() == [0]
