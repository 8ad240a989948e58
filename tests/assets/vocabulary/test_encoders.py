from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from assets.vocabulary.encoders import trusted_encoder
from assets.vocabulary.encoders.compiled import CompiledEncoder
from assets.vocabulary.encoders.encoded import EncodedTexts
from assets.vocabulary.encoders.libraries import ReferenceEncoder
from assets.vocabulary.encoders.trusted import odd_texts
from assets.vocabulary.errors import VocabularyError
from assets.vocabulary.kernels.classes import LETTER, LINE_END, MARK, NUMBER, SPACE, UNSPACED_SCRIPT, code_point_classes
from assets.vocabulary.patterns import PATTERNS, UNSPACED, pre_tokenizer

TEXTS = [
    "The quick brown fox jumps over the lazy dog, isn't it? 12345 times!\n\n\tAnd  again...  ",
    "我们今天去了图书馆，看了三本书。它们很有意思！２０２６年１１月２５日",
    "def f(x):\n    return x ** 2  # 平方\n" * 20,
    "東京タワーへ行きました。Ωμέγα и другие слова 한국어도 있어요",
] * 5
PIECES = st.sampled_from(
    [
        *("the", " the", "The", "'s", "'ll", "’Re", " ", "  ", "\n", "\r\n", "\t", "\u3000", "我", "我们", "カー", "é"),
        *("e\u0301", "1", "23456", "٣", "〇", "⺀", "!", "...", "-" * 60, "a" * 60, "我" * 20, "👩‍👩‍👧‍👦", "_", "\x00"),
        *("<|endoftext|>", "\x85"),
    ]
)
ANY_TEXT = st.one_of(st.text(), st.text(st.characters(codec="utf-8")), st.lists(PIECES, max_size=20).map("".join))


def trained(name: str = "corpusline", *, han: int = 4, digits: int = 3) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer(name, longest_han_run=han, digits_per_token=digits)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.encode_special_tokens = True
    return tokenizer


@pytest.fixture(scope="module")
def tokenizers() -> dict[tuple[int, int], tuple[CompiledEncoder, ReferenceEncoder]]:
    made = {}
    for han, digits in ((4, 3), (1, 1), (2, 16), (16, 3)):
        tokenizer = trained(han=han, digits=digits)
        encoder = CompiledEncoder(json.loads(tokenizer.to_str()), slots=1 << 6)
        made[han, digits] = (encoder, ReferenceEncoder(tokenizer))
    return made


def lists(encoded: EncodedTexts) -> list[list[int]]:
    assert encoded.ids.dtype == np.uint32
    return [part.tolist() for part in np.split(encoded.ids, encoded.offsets[1:-1])]


@settings(max_examples=300)
@given(texts=st.lists(ANY_TEXT, min_size=1, max_size=6), which=st.sampled_from([(4, 3), (1, 1), (2, 16), (16, 3)]))
def test_compiled_ids_are_those_of_tokenizers(
    tokenizers: dict[tuple[int, int], tuple[CompiledEncoder, ReferenceEncoder]],
    texts: list[str],
    which: tuple[int, int],
) -> None:
    """With a table of 64 rows, which is given up again and again."""
    compiled, reference = tokenizers[which]
    array = pa.array([text.encode("utf-8", "replace").decode() for text in texts], pa.string())
    assert lists(compiled.encode(array)) == lists(reference.encode(array))


def test_odd_texts_and_slices(tokenizers: dict[tuple[int, int], tuple[CompiledEncoder, ReferenceEncoder]]) -> None:
    compiled, reference = tokenizers[4, 3]
    texts = odd_texts(["<|endoftext|>"])
    for kind in (pa.string(), pa.large_string()):
        array = pa.array(texts, kind)
        expected = lists(reference.encode(array))
        assert lists(compiled.encode(array)) == expected
        assert lists(compiled.encode(array.slice(7, 90))) == expected[7:97]
    assert compiled.encode(pa.array([], pa.string())).ids.size == 0


def test_a_text_of_one_letter_without_end(
    tokenizers: dict[tuple[int, int], tuple[CompiledEncoder, ReferenceEncoder]],
) -> None:
    compiled, reference = tokenizers[4, 3]
    array = pa.array(["a" * 300_000, "我" * 100_000, " " * 100_000, "." * 100_000])
    assert lists(compiled.encode(array)) == lists(reference.encode(array))


def test_classes_are_those_of_the_engine_everywhere() -> None:
    """Code points that were not asked for have no class."""
    classes = code_point_classes()
    rest = "".join(map(chr, (*range(0x34000, 0xE0000), *range(0xE1000, 0x110000))))
    inside = {LETTER: r"\p{L}", MARK: r"\p{M}", NUMBER: r"\p{N}", SPACE: r"\s", UNSPACED_SCRIPT: f"[{UNSPACED}]"}
    for bit, pattern in inside.items():
        assert pre_tokenizers.Split(Regex(pattern), behavior="isolated").pre_tokenize_str(rest) == [
            (rest, (0, len(rest)))
        ]
        assert not (classes[0x34000:0xE0000] & bit).any()
    assert [code for code in range(256) if classes[code] & LINE_END] == [10, 13]


@pytest.mark.parametrize("name", PATTERNS)
def test_every_pattern_has_an_encoder_that_is_proved(tmp_path: Path, name: str) -> None:
    tokenizer = trained(name)
    path = tmp_path / "tokenizer.json"
    tokenizer.save(str(path))
    found = trusted_encoder(path, pa.array(TEXTS))
    expected = [encoding.ids for encoding in tokenizer.encode_batch(TEXTS, add_special_tokens=False)]
    assert lists(found.encoder.encode(pa.array(TEXTS))) == expected
    assert found.note.startswith(f"encoded by {found.encoder.name}")
    assert (found.encoder.name == "compiled") == (name == "corpusline")


def changed(path: Path, change: Any) -> Path:
    tokenizer = trained()
    change(tokenizer)
    tokenizer.save(str(path / "tokenizer.json"))
    return path / "tokenizer.json"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda t: setattr(t, "normalizer", normalizers.Lowercase()), "it is no plain byte-level BPE"),
        (lambda t: t.add_tokens([AddedToken("quick", special=False)]), "added tokens that are no special ones"),
        (
            lambda t: setattr(t, "pre_tokenizer", pre_tokenizers.ByteLevel(add_prefix_space=False)),
            "by another pattern than corpusline",
        ),
    ],
)
def test_what_is_not_ours_is_left_to_others_with_a_note(tmp_path: Path, change: Any, why: str) -> None:
    path = changed(tmp_path, change)
    found = trusted_encoder(path, pa.array(TEXTS))
    assert found.encoder.name != "compiled"
    assert "compiled: it" in found.note
    assert why in found.note
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.encode_special_tokens = True
    expected = [encoding.ids for encoding in tokenizer.encode_batch(TEXTS, add_special_tokens=False)]
    assert lists(found.encoder.encode(pa.array(TEXTS))) == expected


def test_a_file_that_is_no_vocabulary(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(VocabularyError, match=r"tokenizer\.json is no tokenizer"):
        trusted_encoder(tmp_path / "tokenizer.json", pa.array(TEXTS))


def test_names_of_special_tokens_are_text(tmp_path: Path) -> None:
    path = changed(tmp_path, lambda tokenizer: None)
    found = trusted_encoder(path, pa.array(TEXTS))
    (ids,) = lists(found.encoder.encode(pa.array(["a<|endoftext|>b"])))
    assert 0 not in ids
    assert len(ids) > 5
