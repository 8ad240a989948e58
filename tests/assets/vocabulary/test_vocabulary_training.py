from __future__ import annotations

import re
from pathlib import Path

import pytest

from assets.vocabulary.errors import VocabularyError
from assets.vocabulary.settings import VocabularySettings
from assets.vocabulary.tokenizer import open_vocabulary
from assets.vocabulary.training import train_vocabulary
from tests.assets.vocabulary.documents import CHINESE, ENGLISH, train
from training.settings import SettingsError

FILES = ("tokenizer.json", "tokenizer_config.json")


def contents(folder: Path) -> list[bytes]:
    assert sorted(path.name for path in (folder / "vocabulary").iterdir()) == sorted(FILES)
    return [(folder / "vocabulary" / name).read_bytes() for name in FILES]


def test_the_report_says_what_it_was_trained_on(tmp_path: Path) -> None:
    report = train(tmp_path, {"en": ENGLISH, "zh": CHINESE}, size=400)
    assert report.counts == {
        "size": 400,
        "documents": 12,
        "sample_bytes": sum(len(text.encode()) for text in (*ENGLISH, *CHINESE)),
        "forgotten_occurrences": 0,
    }
    assert report.sampled == {
        "en": sum(len(text.encode()) for text in ENGLISH),
        "zh": sum(len(text.encode()) for text in CHINESE),
    }


@pytest.mark.parametrize("kind", ["byte_bpe", "unigram", "byte", "character", "word"])
def test_the_same_text_gives_the_same_bytes(tmp_path: Path, kind: str) -> None:
    for number, rows_per_group in enumerate((1, 4, 100)):
        dumps = {"en": ENGLISH, "zh": CHINESE}
        train(tmp_path / str(number), dumps, rows_per_group=rows_per_group, kind=kind, size=380)
    assert contents(tmp_path / "0") == contents(tmp_path / "1") == contents(tmp_path / "2")


def test_a_larger_vocabulary_than_the_text_supports_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VocabularyError, match=r"'size' = 6144 is more than the text supports: its 558 bytes") as error:
        train(tmp_path / "first", {"en": ENGLISH})
    assert not list((tmp_path / "first" / "vocabulary").iterdir())
    found = re.search(r"lower 'size' to (\d+) or add text", str(error.value))
    assert found is not None
    supported = int(found[1])
    assert train(tmp_path / "second", {"en": ENGLISH}, size=supported).size == supported
    with pytest.raises(VocabularyError, match=f"have {supported} entries"):
        train(tmp_path / "third", {"en": ENGLISH}, size=supported + 1)


def test_what_is_rarer_than_the_minimum_becomes_no_entry(tmp_path: Path) -> None:
    for minimum, expected in ((1, {"b", "a", "c"}), (2, {"b", "a"}), (3, {"b"})):
        folder = tmp_path / str(minimum)
        train(folder, {"en": ["bbb", "aa", "c"]}, kind="character", minimum_frequency=minimum)
        entries = open_vocabulary(folder / "vocabulary").tokenizer.get_vocab()
        assert {entry for entry in entries if not entry.startswith("<")} == expected


@pytest.mark.parametrize(("kind", "smallest"), [("byte_bpe", 257), ("byte", 257), ("character", 258), ("word", 3)])
def test_a_size_without_room_is_refused(tmp_path: Path, kind: str, smallest: int) -> None:
    with pytest.raises(VocabularyError, match=f"'size' = 2: a vocabulary of kind {kind} has at least {smallest}"):
        train(tmp_path / "small", {"en": ENGLISH}, kind=kind, size=2)
    assert train(tmp_path / "enough", {"en": ENGLISH}, kind=kind, size=smallest).size == smallest


def test_the_smallest_byte_bpe_is_the_bytes(tmp_path: Path) -> None:
    train(tmp_path, {"en": ["a"]}, size=257)
    vocabulary = open_vocabulary(tmp_path / "vocabulary")
    assert len(vocabulary.encode_batch(["海 a"])[0]) == 5


@pytest.mark.parametrize("kind", ["byte_bpe", "unigram", "byte", "character", "word"])
@pytest.mark.parametrize("texts", [[], ["", ""]])
def test_no_text_is_refused(tmp_path: Path, kind: str, texts: list[str]) -> None:
    with pytest.raises(VocabularyError, match="there is no text to train a vocabulary on in en, zh; the ledger"):
        train(tmp_path, {"en": texts, "zh": texts}, kind=kind)


def test_a_folder_without_documents_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"holds no documents-\*.parquet"):
        train_vocabulary({"en": tmp_path}, weights={"en": 1.0}, settings=VocabularySettings(), out=tmp_path)


def test_weights_share_the_sample(tmp_path: Path) -> None:
    dumps = {"en": ENGLISH, "zh": CHINESE}
    taken = []
    for number, (english, chinese) in enumerate([(1.0, 1.0), (3.0, 1.0), (1.0, 9.0)]):
        weights = {"en": english, "zh": chinese}
        report = train(tmp_path / str(number), dumps, weights=weights, size=257, sample_bytes=400)
        by_dump = report.sampled
        for dump, weight in weights.items():
            share = 400 * weight / (english + chinese)
            assert share - 3 <= by_dump[dump] <= share
        taken.append(by_dump)
    assert taken[1]["en"] == 300
    assert taken[2]["en"] == 40


def test_another_sample_gives_another_vocabulary(tmp_path: Path) -> None:
    dumps = {"en": ENGLISH, "zh": CHINESE}
    for name, english in (("even", 1.0), ("english", 20.0)):
        weights = {"en": english, "zh": 1.0}
        train(tmp_path / name, dumps, weights=weights, size=270, sample_bytes=400)
    assert contents(tmp_path / "even")[0] != contents(tmp_path / "english")[0]


def test_a_dump_smaller_than_its_share_is_taken_whole(tmp_path: Path) -> None:
    report = train(tmp_path, {"en": ["abc"], "zh": CHINESE}, size=257, sample_bytes=400)
    assert report.sampled["en"] == 3


def test_wrong_settings_are_named() -> None:
    with pytest.raises(SettingsError, match="vocabulary: 'kind' = 'bpe'"):
        VocabularySettings.parse({"kind": "bpe"}, origin="vocabulary")
    with pytest.raises(SettingsError, match="did you mean 'longest_han_run'"):
        VocabularySettings.parse({"longest_han": 3}, origin="vocabulary")
