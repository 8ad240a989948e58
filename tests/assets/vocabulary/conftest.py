"""Vocabularies that several tests of this room only read."""

from __future__ import annotations

import pytest

from assets.vocabulary.tokenizer import Vocabulary, open_vocabulary
from tests.assets.vocabulary.documents import CHINESE, ENGLISH, OTHERS, train


@pytest.fixture(scope="session")
def byte_bpe(tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    """A small one of English and Chinese; the other scripts are bytes to it."""
    folder = tmp_path_factory.mktemp("byte_bpe")
    train(folder, {"en": ENGLISH, "zh": CHINESE}, size=420)
    return open_vocabulary(folder / "vocabulary")


@pytest.fixture(scope="session")
def character(tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    """All characters of the texts."""
    folder = tmp_path_factory.mktemp("character")
    train(folder, {"en": ENGLISH, "zh": CHINESE, "others": OTHERS}, kind="character", minimum_frequency=1)
    return open_vocabulary(folder / "vocabulary")


@pytest.fixture(scope="session")
def word(tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    """All words of the texts."""
    folder = tmp_path_factory.mktemp("word")
    train(folder, {"en": ENGLISH, "zh": CHINESE}, kind="word", minimum_frequency=1)
    return open_vocabulary(folder / "vocabulary")
