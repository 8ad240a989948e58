from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from assets.vocabulary.errors import VocabularyError
from assets.vocabulary.tokenizer import END_OF_DOCUMENT, UNKNOWN, Vocabulary, open_vocabulary
from tests.assets.vocabulary.documents import CHINESE, ENGLISH, OTHERS, train
from training.artifact import file_sha256
from training.generation import stream_text

any_text = st.text(st.characters(exclude_categories=["Cs"]))


@settings(deadline=None)
@given(any_text)
@example("\0\r\r\n\x85\u2028 \u3000\ufeff\ufffd\U0010ffff")
@example("e\u0301 가 \u1112\u1161 ＡＢＣ ½ ﬃ")
@example(" " * 100 + "\n" * 100 + "界" * 100 + "7" * 100 + "!" * 100)
@example(f"{END_OF_DOCUMENT}{UNKNOWN}")
def test_byte_bpe_gives_back_every_text_exactly(byte_bpe: Vocabulary, text: str) -> None:
    assert byte_bpe.decode(byte_bpe.encode_batch([text])[0]) == text


@settings(deadline=None)
@given(any_text)
def test_ids_lie_below_the_size(byte_bpe: Vocabulary, character: Vocabulary, word: Vocabulary, text: str) -> None:
    for vocabulary in (byte_bpe, character, word):
        ids = vocabulary.encode_batch([text])[0]
        assert all(0 <= token < vocabulary.size and token != vocabulary.end_of_document for token in ids)


def test_a_batch_gives_the_ids_of_each_text_alone(byte_bpe: Vocabulary) -> None:
    texts = [*ENGLISH, "", *CHINESE]
    assert byte_bpe.encode_batch(texts) == [byte_bpe.encode_batch([text])[0] for text in texts]


@pytest.mark.parametrize("text", [END_OF_DOCUMENT, f"a {END_OF_DOCUMENT}\n", f"海{END_OF_DOCUMENT}{END_OF_DOCUMENT}"])
def test_a_special_tokens_name_is_ordinary_text(
    byte_bpe: Vocabulary, character: Vocabulary, word: Vocabulary, text: str
) -> None:
    for vocabulary in (byte_bpe, character, word):
        ids = vocabulary.encode_batch([text])[0]
        assert len(ids) > text.count(END_OF_DOCUMENT)
        assert vocabulary.end_of_document not in ids
    assert byte_bpe.decode(byte_bpe.encode_batch([text])[0]) == text


def test_a_special_tokens_name_in_the_training_text_is_ordinary_text(tmp_path: Path) -> None:
    train(tmp_path, {"en": [END_OF_DOCUMENT * 9] * 9}, size=260)
    vocabulary = open_vocabulary(tmp_path / "vocabulary")
    ids = vocabulary.encode_batch([END_OF_DOCUMENT])[0]
    assert vocabulary.end_of_document not in ids
    assert vocabulary.decode(ids) == END_OF_DOCUMENT


def test_special_tokens_are_not_decoded(byte_bpe: Vocabulary, character: Vocabulary) -> None:
    ids = byte_bpe.encode_batch(["one fewer"])[0]
    assert byte_bpe.decode([byte_bpe.end_of_document, *ids, byte_bpe.end_of_document]) == "one fewer"
    assert character.decode(character.encode_batch(["sea 龘"])[0]) == "sea "


@pytest.mark.parametrize(
    "settings",
    [{"size": 400}, {"kind": "character", "minimum_frequency": 1}, {"kind": "word", "minimum_frequency": 1}],
    ids=["byte_bpe", "character", "word"],
)
def test_opens_in_tokenizers_and_transformers_with_the_same_ids(tmp_path: Path, settings: dict[str, object]) -> None:
    train(tmp_path, {"en": ENGLISH, "zh": CHINESE}, **settings)
    folder = tmp_path / "vocabulary"
    vocabulary = open_vocabulary(folder)
    opened = AutoTokenizer.from_pretrained(folder)
    texts = [*ENGLISH, *CHINESE, *OTHERS[:-1]]
    ids = vocabulary.encode_batch(texts)
    assert opened(texts)["input_ids"] == ids
    plain = Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert [encoding.ids for encoding in plain.encode_batch(texts)] == ids
    assert [opened.decode(row, skip_special_tokens=True) for row in ids] == [vocabulary.decode(row) for row in ids]
    assert len(opened) == vocabulary.size
    assert {opened.eos_token_id, opened.bos_token_id, opened.pad_token_id} == {vocabulary.end_of_document}


def test_the_hash_is_that_of_the_file(tmp_path: Path) -> None:
    report = train(tmp_path, {"en": ENGLISH}, size=300)
    vocabulary = open_vocabulary(tmp_path / "vocabulary")
    assert vocabulary.sha256 == file_sha256(tmp_path / "vocabulary" / "tokenizer.json")
    assert (vocabulary.size, vocabulary.end_of_document) == (report.size, 0) == (300, 0)


def test_missing_or_damaged_vocabularies_are_refused(tmp_path: Path) -> None:
    with pytest.raises(VocabularyError, match=r"there is no .*tokenizer\.json; run the stage vocabulary"):
        open_vocabulary(tmp_path)
    train(tmp_path, {"en": ENGLISH}, size=300)
    path = tmp_path / "vocabulary" / "tokenizer.json"
    text = path.read_text(encoding="utf-8")
    path.write_text(text[:-100], encoding="utf-8")
    with pytest.raises(VocabularyError, match=r"tokenizer\.json is no tokenizer"):
        open_vocabulary(path.parent)
    content = json.loads(text)
    content["added_tokens"] = []
    content["model"]["vocab"] = {
        "<|end|>" if token == END_OF_DOCUMENT else token: number for token, number in content["model"]["vocab"].items()
    }
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(VocabularyError, match=r"has no token <\|endoftext\|>"):
        open_vocabulary(path.parent)


@settings(deadline=None)
@given(st.one_of(any_text, st.text("😀😂🤣海港船नमस्ते ", max_size=60)))
@example("😀😂🤣😀😂🤣" * 4)
@example("word\ufffd")
def test_text_is_streamed_as_it_is_decoded_at_once(
    byte_bpe: Vocabulary, character: Vocabulary, word: Vocabulary, text: str
) -> None:
    for vocabulary in (byte_bpe, character, word):
        ids = vocabulary.encode_batch([text])[0]
        pieces = list(stream_text(iter(ids), vocabulary.decode))
        assert "".join(pieces) == vocabulary.decode(ids)
        assert all(pieces)
