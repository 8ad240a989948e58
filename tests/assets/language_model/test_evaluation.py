from __future__ import annotations

from pathlib import Path

import pytest

from assets.language_model.evaluation import Evaluation, evaluate, read_evaluation
from assets.language_model.settings import EvaluationSettings
from assets.token_shards.encoding import encode_dump
from assets.token_shards.settings import TokenShardSettings
from assets.vocabulary.tokenizer import open_vocabulary
from tests.assets.vocabulary.documents import CHINESE, ENGLISH, train, write_documents
from training.export import export_model
from training.initialisation import initialise
from training.models import build_model
from training.models.settings import ModelSettings

NOTHING = 1e-9
"""A share of so few documents that none is chosen."""


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vocabulary")
    train(folder, {"en": ENGLISH, "zh": CHINESE}, kind="character", minimum_frequency=1)
    return folder / "vocabulary"


@pytest.fixture(scope="module")
def model(vocabulary: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    opened = open_vocabulary(vocabulary)
    network = build_model(
        ModelSettings(vocabulary_size=opened.size, width=16, layers=1, heads=2, feed_forward_width=32, context=16)
    )
    initialise(network, seed=0)
    weights = {name: parameter.detach() for name, parameter in network.named_parameters()}
    folder = tmp_path_factory.mktemp("exported") / "model"
    end = opened.end_of_document
    export_model(weights, network.settings, vocabulary=vocabulary, end_of_document=end, folder=folder)
    return folder


def shards(folder: Path, vocabulary: Path, texts: list[str], *, language: str, validation_share: float) -> Path:
    documents = write_documents(folder / "documents", texts, dump=folder.name)
    (folder / "shards").mkdir()
    encode_dump(
        documents,
        vocabulary,
        dump=folder.name,
        language=language,
        source=folder.name,
        settings=TokenShardSettings(validation_share=validation_share),
        out=folder / "shards",
    )
    return folder / "shards"


def evaluated(model: Path, dumps: dict[str, Path], folder: Path) -> Evaluation:
    folder.mkdir()
    result = evaluate(model, dumps, EvaluationSettings(samples=1), prompts={"zh": ["守夜人"]}, out=folder)
    assert read_evaluation(folder) == result
    return result


def test_dumps_without_validation_documents_count_where_they_can(model: Path, vocabulary: Path, tmp_path: Path) -> None:
    measured = shards(tmp_path / "measured", vocabulary, ENGLISH, language="en", validation_share=0.3)
    alone = evaluated(model, {"measured": measured}, tmp_path / "alone")
    assert alone.overall.documents > 0
    assert list(alone.samples) == ["en"]
    learned = {
        "english": shards(tmp_path / "english", vocabulary, ENGLISH, language="en", validation_share=NOTHING),
        "chinese": shards(tmp_path / "chinese", vocabulary, CHINESE, language="zh", validation_share=NOTHING),
        "japanese": shards(tmp_path / "japanese", vocabulary, CHINESE, language="ja", validation_share=NOTHING),
    }
    result = evaluated(model, {"measured": measured, **learned}, tmp_path / "result")
    # They are the same documents, so that versions can be compared.
    assert (result.validation_set, result.overall) == (alone.validation_set, alone.overall)
    assert result.dumps == {"measured": alone.overall}
    assert result.languages == {"en": alone.overall}
    # The bigram model learns from all text of the language, here also from that which it is measured on.
    assert result.baselines["en"]["bigram"] < alone.baselines["en"]["bigram"]
    assert result.baselines["en"]["xz"] == alone.baselines["en"]["xz"]
    # Of Chinese there is a prompt; of Japanese neither that nor a validation document.
    assert {language: [sample.prompt for sample in samples] for language, samples in result.samples.items()} == {
        "en": [sample.prompt for sample in alone.samples["en"]],
        "zh": ["守夜人"],
    }
