"""Vocabularies that the tests of this room only read."""

from __future__ import annotations

from pathlib import Path

import pytest

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
def word(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of one with all words of the texts."""
    folder = tmp_path_factory.mktemp("word")
    train(folder, {"en": ENGLISH, "zh": CHINESE}, kind="word", minimum_frequency=1)
    return folder / "vocabulary"
