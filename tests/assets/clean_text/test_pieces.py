from __future__ import annotations

from collections import Counter
from functools import cache
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pytest
import rjieba
from hypothesis import given
from hypothesis import strategies as st

from assets.clean_text.kernels.pieces import HAS_LETTER, IS_WORD, piece_hash
from assets.clean_text.kernels.unicode_tables import IDLE, LETTER, character_bits
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
    "This'll do, those're fine, y'all; thats it, these’d’ve, how'd'y do?",
    "'S fine, ’s it, ‘S, 'twas 'Cause, Ol' man O'clock. I'ma go",
    "http://a.b.com:8080/x-y?q#z user@mail.example.org me:pw@host.org/p-q po/en@quot.header, ftp.gnu.org:/pub/x/y",
    '[#3](https://example.org/a/b-c) <URL:http://example.org/a-b/>. url="http://example.org/x-y"',
    "a_.b-c _a.com x-.org/b-c -d.org/x-y a..b-c 1.2.x-y .com-x A.Com-x",
    "10.5kg 3m/s 7km² 20°f 5GB 8lb 99% 1e5kb -5 +5 +x C$5 US$20 €3 3€ £ 5p.m. 12am",
    "((a)) [[b]] ''c'' \"d\" `e` ‘f’ “g”, (h. i); {j}! k?! l... m…n o..p",
    "a--b c---d e–f g—h i~j k-l-m 1-a a-1 --x x-- a/b a/1 1/b a:b 1:b a<b>c x=y 2=y",
    ":-)) :'( :’-) <3 </3 (^_^) ¯\\(ツ)/¯ x:) (: o.O :-] (a:) 8-D ^_^; :P, <space> \\n",
    "😀😀 a😀b 👩‍👩‍👧 ☃. (✓) ©2020 x™ e\u0301 \u200ba",
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


@pytest.mark.parametrize(("code", "name"), [("en", "english"), ("xx", "spaces")])
def test_every_special_chunk_of_spacys_is_cut_as_spacy_cuts_it(code: str, name: str) -> None:
    spacy = pytest.importorskip("spacy")
    tokenizer = spacy.blank(code).tokenizer
    chunks = [chunk for chunk in tokenizer.rules if chunk.split() == [chunk]]
    chunks += [f"({chunk}," for chunk in chunks if chunk.isalpha()]
    found = split(pa.array(chunks), name)
    lengths = [found.lengths[found.starts[at] : found.starts[at + 1]].tolist() for at in range(len(chunks))]
    expected = [[len(token.text) for token in tokenizer(chunk)] for chunk in chunks]
    assert [row for row in zip(chunks, lengths, expected, strict=True) if row[1] != row[2]] == []
    assert len(chunks) > 150


WORDS = st.sampled_from("don't I'm Mr. U.S. e.g. a b. (c) \"d\" 5km 3. x-y x/y z... wait! what? no; “q” :) ok.".split())


@given(st.lists(WORDS, max_size=12))
def test_any_order_of_words_is_cut_as_spacy_cuts_it(words: list[str]) -> None:
    spacy = pytest.importorskip("spacy")
    language = _with_sentences(spacy)
    text = " ".join(words)
    document = language(text)
    found = split(pa.array([text], pa.string()), "english")
    assert found.hashes.tolist() == as_hashes([token.text for token in document])
    assert found.sentences.tolist() == [len(list(document.sents))]


@cache
def _with_sentences(spacy: Any) -> Any:
    language = spacy.blank("en")
    language.add_pipe("sentencizer")
    return language


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


@given(st.lists(st.text(st.sampled_from("我们北京大学喜欢自然语言，。！\n \u3000好")), max_size=3))
def test_chinese_pieces_are_rjiebas_without_white_space(texts: list[str]) -> None:
    found = split(pa.array(texts, pa.string()), "rjieba")
    for index, text in enumerate(texts):
        expected = [piece for piece in map(str.strip, rjieba.cut(text)) if piece]
        assert found.hashes[found.starts[index] : found.starts[index + 1]].tolist() == as_hashes(expected)


def test_flags_tell_words_from_marks() -> None:
    found = split(pa.array(["word 42 , a1"]), "english")
    assert found.flags.tolist() == [HAS_LETTER | IS_WORD, IS_WORD, 0, HAS_LETTER | IS_WORD]


@given(st.lists(st.text(), max_size=8))
def test_pieces_are_the_text_without_white_space(texts: list[str]) -> None:
    for name in ("english", "spaces", "rjieba"):
        found = split(pa.array(texts, pa.large_string()), name)
        assert len(found.starts) == len(texts) + 1
        for index, text in enumerate(texts):
            begin, end = found.starts[index], found.starts[index + 1]
            visible = "".join(character for character in text if not character.isspace())
            stops = found.lengths[begin:end].cumsum().tolist()
            pieces = [visible[start:stop] for start, stop in pairwise([0, *stops])]
            assert "".join(pieces) == visible
            assert found.hashes[begin:end].tolist() == as_hashes(pieces)
            flags = [HAS_LETTER * any(map(is_letter, piece)) | IS_WORD * any(map(is_busy, piece)) for piece in pieces]
            assert found.flags[begin:end].tolist() == flags


def is_letter(character: str) -> bool:
    return bool(character_bits()[ord(character)] & LETTER)


def is_busy(character: str) -> bool:
    return not character_bits()[ord(character)] & IDLE


@given(st.lists(st.sampled_from(["a", "Ab", "don't", "x.y", "...", "(", ")", ":", "1", "km", "é", "书", "-", "'s"])))
def test_a_chunk_is_cut_the_same_wherever_it_stands(chunks: list[str]) -> None:
    alone = Counter[int]()
    for chunk in chunks:
        alone.update(split(pa.array([chunk]), "english").hashes.tolist())
    together = split(pa.array([" ".join(chunks)]), "english")
    assert Counter(together.hashes.tolist()) == alone


def test_a_null_character_is_a_character() -> None:
    found = split(pa.array(["\0don't", "\0\0a.", "\0"]), "english")
    assert [found.lengths[found.starts[at] : found.starts[at + 1]].sum() for at in range(3)] == [6, 4, 1]
    assert len({piece_hash(piece) for piece in ("", "\0", "\0\0", "a", "\0a", "a\0")}) == 6


@pytest.mark.parametrize(
    "chunk", [".", "(", "'", "-", "://", "a@", "a.b@", "😀", "\0", "x-", ":)", "。", "@.", "…", "1+"]
)
def test_a_megabyte_without_white_space(chunk: str) -> None:
    text = chunk * (1_000_000 // len(chunk.encode()))
    found = split(pa.array([text, "last"]), "english")
    assert found.lengths.sum() == len(text) + len("last")
    assert found.hashes[-1] == piece_hash("last")


@pytest.mark.parametrize(
    ("text", "pieces"), [("x" * 5_000_000, 1), ("\n" * 1_000_000, 0), ("a\n" * 1_000_000, 1_000_000)]
)
def test_one_long_line_and_a_million_short_ones(text: str, pieces: int) -> None:
    found = split(pa.array([text]), "english")
    assert (len(found.hashes), found.sentences.tolist()) == (pieces, [pieces])


def test_long_and_sliced_texts() -> None:
    texts = pa.array(["first", "!" * 300_000, "word " * 300_000, "x" * 300_000, "last"])
    found = split(texts, "english")
    assert (found.starts[1:] - found.starts[:-1]).tolist() == [1, 300_000, 300_000, 1, 1]
    part = split(texts.slice(4), "english")
    assert part.hashes.tolist() == as_hashes(["last"])
    wide = split(pa.array(["two words"], pa.large_string()), "english")
    assert wide.hashes.tolist() == as_hashes(["two", "words"])
    assert split(pa.array([], pa.string()), "english").starts.tolist() == [0]
