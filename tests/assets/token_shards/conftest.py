"""A vocabulary that the tests of this room only read."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.assets.vocabulary.documents import CHINESE, ENGLISH, train


@pytest.fixture(scope="session")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a small one of English and Chinese."""
    folder = tmp_path_factory.mktemp("vocabulary")
    train(folder, {"en": ENGLISH, "zh": CHINESE}, size=400)
    return folder / "vocabulary"
