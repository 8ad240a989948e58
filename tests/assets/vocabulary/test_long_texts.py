"""Long texts are encoded in parts, with the ids of the whole."""

from __future__ import annotations

import io
from collections.abc import Sequence

import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from assets.vocabulary.imports.sentencepiece_import import from_sentencepiece
from assets.vocabulary.long_texts import LONGEST_PIECE, encode_texts, pieces, text_boundary
from assets.vocabulary.patterns import PATTERNS, pre_tokenizer
from assets.vocabulary.tokenizer import Vocabulary
from tests.assets.vocabulary.documents import CHINESE, ENGLISH

LINES = st.text(st.sampled_from("ab 我们。!-'\u2019s1\t\u00a0\u3000\x1c\x85\n\n\n\r"), max_size=80)
CODE = "def f(x):\n    y = 1\n    return x ** 2\n\n \n\r\n\n"


def byte_level(name: str, texts: Sequence[str] = (*ENGLISH, *CHINESE, CODE)) -> Tokenizer:
    """A vocabulary with merges of white space among others."""
    tokenizer = Tokenizer(models.BPE())
    if name == "ByteLevel":
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    else:
        tokenizer.pre_tokenizer = pre_tokenizer(name, longest_han_run=4, digits_per_token=3)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False, min_frequency=1)
    tokenizer.train_from_iterator([*texts, "\n \n\n\r\n \t\n\n\n" * 9], trainer)
    return tokenizer


@pytest.fixture(scope="module")
def tokenizers(byte_bpe: Vocabulary, character: Vocabulary, word: Vocabulary) -> dict[str, Tokenizer]:
    ours = {"byte_bpe": byte_bpe, "character": character, "word": word}
    return {name: vocabulary.tokenizer for name, vocabulary in ours.items()} | {
        name: byte_level(name) for name in (*PATTERNS, "ByteLevel")
    }


@pytest.mark.parametrize(
    ("text", "limit", "parts"),
    [
        ("", 1, []),
        ("one line", 2, ["one line"]),
        ("ab\ncd\nef", 1, ["ab\n", "cd\n", "ef"]),
        ("ab\ncd\nef", 4, ["ab\ncd\n", "ef"]),
        ("ab\n\r\n\ncd", 1, ["ab\n\r\n\n", "cd"]),
        ("ab\n", 1, ["ab\n"]),
    ],
)
def test_texts_are_cut_behind_line_ends(byte_bpe: Vocabulary, text: str, limit: int, parts: list[str]) -> None:
    assert list(pieces(text, limit, text_boundary(byte_bpe.tokenizer))) == parts


@settings(deadline=None)
@given(text=LINES, limit=st.integers(1, 40))
def test_parts_encode_to_the_tokens_of_the_whole(tokenizers: dict[str, Tokenizer], text: str, limit: int) -> None:
    for name, tokenizer in tokenizers.items():
        boundary = text_boundary(tokenizer)
        assert boundary is not None, name
        parts = list(pieces(text, limit, boundary))
        assert "".join(parts) == text
        encoded = [token for part in parts for token in tokenizer.encode(part, add_special_tokens=False).ids]
        assert encoded == tokenizer.encode(text, add_special_tokens=False).ids, name


@pytest.mark.parametrize("name", [*PATTERNS, "ByteLevel"])
def test_a_long_text_is_cut_and_has_the_ids_of_the_whole(tokenizers: dict[str, Tokenizer], name: str) -> None:
    text = CODE * (3 * LONGEST_PIECE // len(CODE))
    assert len(list(pieces(text, LONGEST_PIECE, text_boundary(tokenizers[name])))) == 3
    (ids,) = encode_texts(tokenizers[name], [text])
    assert ids == tokenizers[name].encode(text, add_special_tokens=False).ids


def test_a_tokenizer_that_changes_texts_gets_them_whole() -> None:
    """SentencePiece's put a space before each."""
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(ENGLISH),
        model_writer=out,
        vocab_size=400,
        model_type="bpe",
        byte_fallback=True,
        hard_vocab_limit=False,
        minloglevel=2,
        num_threads=1,
    )
    tokenizer = from_sentencepiece(out.getvalue())
    assert text_boundary(tokenizer) is None
    text = "a word\n" * LONGEST_PIECE
    assert encode_texts(tokenizer, [text]) == [tokenizer.encode(text, add_special_tokens=False).ids]
