from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from assets.vocabulary.byte_letters import bytes_of
from assets.vocabulary.errors import VocabularyError
from assets.vocabulary.tokenizer import Vocabulary, open_vocabulary
from tests.assets.vocabulary.documents import CHINESE, ENGLISH, OTHERS, train

TEXTS = {"en": ENGLISH, "zh": CHINESE}


def imported(folder: Path, uri: Path, **settings: Any) -> Vocabulary:
    train(folder, TEXTS, kind="imported", import_from=str(uri), **settings)
    return open_vocabulary(folder / "vocabulary")


def model(path: Path, kind: str, **options: Any) -> Path:
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([*ENGLISH, *CHINESE, "< / s u n k > 0 x 4 1 E 6"] * 4),
        model_writer=written,
        model_type=kind,
        vocab_size=600 if options.get("byte_fallback") else 350,
        hard_vocab_limit=False,
        minloglevel=2,
        num_threads=1,
        **options,
    )
    path.write_bytes(written.getvalue())
    return path


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
@pytest.mark.parametrize(
    "options",
    [
        {"byte_fallback": True},
        {"normalization_rule_name": "identity", "byte_fallback": True},
        {
            "normalization_rule_name": "identity",
            "byte_fallback": True,
            "add_dummy_prefix": False,
            "remove_extra_whitespaces": False,
        },
        {"normalization_rule_name": "identity", "byte_fallback": True, "remove_extra_whitespaces": False},
        {},
    ],
    ids=["usual", "identity", "plain", "a space before", "no bytes"],
)
def test_sentencepiece_models_give_its_own_ids(tmp_path: Path, kind: str, options: dict[str, Any]) -> None:
    path = model(tmp_path / "x.model", kind, **options)
    vocabulary = imported(tmp_path / "out", path)
    processor = sentencepiece.SentencePieceProcessor(model_file=str(path))
    texts = [*ENGLISH, *CHINESE, "a  b ", "unseen 龘 letters Ж", "1 2", " a", "  a", " ", "", "▁a"]
    texts += ["a <s>b</s> <unk>", "<0x41> <0xE6>", "price <s>10</s> now"]
    assert vocabulary.encode_batch(texts) == processor.encode(texts)
    assert vocabulary.tokenizer.id_to_token(vocabulary.end_of_document) == "<|endoftext|>"
    if options.get("remove_extra_whitespaces") is False:
        for text in filter(lambda text: "▁" not in text, texts):
            assert vocabulary.decode(vocabulary.encode_batch([text])[0]) == text


def ranks(vocabulary: Vocabulary) -> bytes:
    """A .tiktoken file of a vocabulary's entries, without the special one."""
    entries = sorted(vocabulary.tokenizer.get_vocab().items(), key=lambda entry: entry[1])[1:]
    lines = [f"{base64.b64encode(bytes_of(entry)).decode()} {rank}" for rank, (entry, _) in enumerate(entries)]
    return "\n".join(lines).encode()


@pytest.mark.parametrize("pattern", ["gpt2", "gpt4", "qwen", "corpusline"])
def test_tiktoken_files_give_its_ids(tmp_path: Path, pattern: str) -> None:
    """Where tiktoken reads the pattern its own ids are the measure, and everywhere those it was made from."""
    train(tmp_path / "first", TEXTS, size=400, pattern=pattern)
    first = open_vocabulary(tmp_path / "first" / "vocabulary")
    path = tmp_path / "x.tiktoken"
    path.write_bytes(ranks(first))
    vocabulary = imported(tmp_path / "second", path, pattern=pattern)
    texts = [*ENGLISH, *CHINESE, *OTHERS]
    assert vocabulary.encode_batch(texts) == [[token - 1 for token in row] for row in first.encode_batch(texts)]
    assert vocabulary.end_of_document == 399
    for text in texts:
        assert vocabulary.decode_bytes(vocabulary.encode_batch([text])[0]) == text.encode()


def test_gpt2s_two_files(tmp_path: Path) -> None:
    train(tmp_path / "first", TEXTS, size=400, pattern="gpt2")
    first = open_vocabulary(tmp_path / "first" / "vocabulary")
    definition = json.loads((tmp_path / "first" / "vocabulary" / "tokenizer.json").read_text())
    (tmp_path / "encoder.json").write_text(json.dumps(first.tokenizer.get_vocab()))
    merges = [" ".join(pair) for pair in definition["model"]["merges"]]
    (tmp_path / "vocab.bpe").write_text("\n".join(["#version: 0.2", *merges]))
    vocabulary = imported(tmp_path / "second", tmp_path / "encoder.json")
    texts = [*ENGLISH, *CHINESE, *OTHERS]
    assert vocabulary.encode_batch(texts) == first.encode_batch(texts)
    assert (vocabulary.size, vocabulary.end_of_document) == (400, 0)
    (tmp_path / "vocab.bpe").write_text("x y\n")
    with pytest.raises(VocabularyError, match=r"encoder\.json is damaged, or no vocabulary: vocab\.bpe does not fit"):
        imported(tmp_path / "third", tmp_path / "encoder.json")


def test_a_tokenizer_json_with_tokens_of_ones_own(tmp_path: Path) -> None:
    train(tmp_path / "first", TEXTS, size=400)
    source = tmp_path / "first" / "vocabulary" / "tokenizer.json"
    vocabulary = imported(
        tmp_path / "second",
        source,
        end_of_document="<|close|>",
        special_tokens=["<|im_start|>", "<|im_end|>"],
        added_tokens=["lighthouse"],
        chat_template="chatml",
    )
    assert vocabulary.size == 404
    assert vocabulary.tokenizer.id_to_token(vocabulary.end_of_document) == "<|close|>"
    assert 403 in vocabulary.encode_batch(["The old lighthouse"])[0]
    opened = AutoTokenizer.from_pretrained(tmp_path / "second" / "vocabulary")
    assert opened.eos_token == "<|close|>"
    assert opened("The old lighthouse")["input_ids"] == vocabulary.encode_batch(["The old lighthouse"])[0]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.json", b"{", "is damaged, or no vocabulary"),
        ("x.json", b'{"model": {}}', "is damaged, or no vocabulary"),
        ("x.model", b"", "it has no pieces"),
        ("x.model", b"\x0a\xff\xff", "is damaged, or no vocabulary"),
        ("x.tiktoken", b"IQ== 0\nIg== 2\n", "its ranks have gaps"),
        ("x.tiktoken", b"IQ== 0\n", "it has no token for the byte 0"),
        ("x.tiktoken", b"!! 0\n", "line 1 is no token with its rank"),
        ("x.bin", b"", r"ends neither in \.json nor in \.model nor in \.tiktoken"),
    ],
)
def test_damaged_files(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(VocabularyError, match=message):
        imported(tmp_path / "out", tmp_path / name)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(VocabularyError, match=r"x\.json cannot be read"):
        imported(tmp_path / "out", tmp_path / "x.json")


def test_a_vocabulary_that_does_not_give_text_back_is_refused(tmp_path: Path) -> None:
    train(tmp_path / "first", TEXTS, size=400)
    definition = json.loads((tmp_path / "first" / "vocabulary" / "tokenizer.json").read_text())
    definition["decoder"] = None
    (tmp_path / "x.json").write_text(json.dumps(definition))
    with pytest.raises(VocabularyError, match="does not give back the text 'The old lighthouse"):
        imported(tmp_path / "out", tmp_path / "x.json")


def test_gaps_in_the_ids_are_refused(tmp_path: Path) -> None:
    train(tmp_path / "first", {"en": ["a b"]}, kind="word", minimum_frequency=1)
    path = tmp_path / "first" / "vocabulary" / "tokenizer.json"
    definition = json.loads(path.read_text())
    definition["model"]["vocab"]["b"] = 77
    path.write_text(json.dumps(definition))
    assert Tokenizer.from_file(str(path))
    with pytest.raises(VocabularyError, match="its ids have gaps: 4 entries and the highest id 77"):
        imported(tmp_path / "out", path)
