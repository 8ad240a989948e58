"""Vocabularies that the tests of this room only read."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from assets.vocabulary.kinds import UNKNOWN
from assets.vocabulary.settings import END_OF_DOCUMENT
from tests.assets.vocabulary.documents import CHINESE, ENGLISH, OTHERS, train


@pytest.fixture(scope="session")
def byte_bpe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a small one of English and Chinese; the other scripts are bytes to it."""
    folder = tmp_path_factory.mktemp("byte_bpe")
    train(folder, {"en": ENGLISH, "zh": CHINESE}, size=420)
    return folder / "vocabulary"


@pytest.fixture(scope="session")
def character(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of one with all characters of the texts."""
    folder = tmp_path_factory.mktemp("character")
    train(folder, {"en": ENGLISH, "zh": CHINESE, "others": OTHERS}, kind="character", minimum_frequency=1)
    return folder / "vocabulary"


@pytest.fixture(scope="session")
def unigram(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a small one of English and Chinese."""
    folder = tmp_path_factory.mktemp("unigram")
    train(folder, {"en": ENGLISH, "zh": CHINESE}, kind="unigram", size=420)
    return folder / "vocabulary"


@pytest.fixture(scope="session")
def byte(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of one with a token a byte."""
    folder = tmp_path_factory.mktemp("byte")
    train(folder, {"en": ENGLISH, "zh": CHINESE}, kind="byte")
    return folder / "vocabulary"


@pytest.fixture(scope="session")
def spaces_before_words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of one as SentencePiece makes them: a space is put before the text and taken away again."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=200, special_tokens=[UNKNOWN], unk_token=UNKNOWN, show_progress=False)
    tokenizer.train_from_iterator([*ENGLISH, *CHINESE], trainer)
    tokenizer.add_special_tokens([END_OF_DOCUMENT])
    folder = tmp_path_factory.mktemp("spaces")
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture(scope="session")
def pieces_of_words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of one that writes what continues a word with ##."""
    tokenizer = Tokenizer(models.WordPiece(unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(vocab_size=200, special_tokens=[END_OF_DOCUMENT, UNKNOWN], show_progress=False)
    tokenizer.train_from_iterator([*ENGLISH, *CHINESE], trainer)
    folder = tmp_path_factory.mktemp("pieces")
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture(scope="session")
def word(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of one with all words of the texts."""
    folder = tmp_path_factory.mktemp("word")
    train(folder, {"en": ENGLISH, "zh": CHINESE}, kind="word", minimum_frequency=1)
    return folder / "vocabulary"
