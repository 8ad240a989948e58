from __future__ import annotations

import json
import zipfile
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from assets.raw_text.catalogue import NamedTokenizer, load_catalogue
from assets.raw_text.errors import CatalogueError
from assets.vocabulary.errors import VocabularyError
from assets.vocabulary.peers import open_peers
from assets.vocabulary.report import VocabularyDetails, write_report
from assets.vocabulary.report.entries import describe_entries, script_of
from assets.vocabulary.report.sizes import cheapest, size_costs, training_operations
from assets.vocabulary.settings import VocabularySettings
from assets.vocabulary.tokenizer import Vocabulary, open_vocabulary
from tests.assets.vocabulary.documents import CHINESE, ENGLISH, train
from training.artifact import file_sha256


def reported(folder: Path, peers: list[Any] | None = None, **settings: Any) -> VocabularyDetails:
    train(folder, {"en": ENGLISH * 3, "zh": CHINESE * 3}, **settings)
    out = folder / "report"
    out.mkdir()
    return write_report(
        folder / "vocabulary",
        {"en": folder / "en", "zh": folder / "zh"},
        settings=VocabularySettings.model_validate(settings),
        sample_bytes=1 << 20,
        peers=peers or [],
        out=out,
    )


class Page(HTMLParser):
    """Counts elements, and fails where they do not nest."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""
        self.feed(content)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def peer(folder: Path) -> tuple[NamedTokenizer, Vocabulary]:
    """GPT-2's two files in an archive."""
    train(folder / "peer", {"en": ENGLISH}, size=300, pattern="gpt2")
    vocabulary = open_vocabulary(folder / "peer" / "vocabulary")
    definition = json.loads((folder / "peer" / "vocabulary" / "tokenizer.json").read_text())
    with zipfile.ZipFile(folder / "peer.zip", "w") as archive:
        archive.writestr("data/encoder.json", json.dumps(vocabulary.tokenizer.get_vocab()))
        archive.writestr("data/vocab.bpe", "\n".join(" ".join(pair) for pair in definition["model"]["merges"]))
        archive.writestr("other/encoder.json", "{}")
    named = NamedTokenizer(
        name="small", uri="peer.zip", sha256=file_sha256(folder / "peer.zip"), file="data/encoder.json"
    )
    return named, vocabulary


def test_the_page_has_both_vocabularies_side_by_side(tmp_path: Path) -> None:
    named, vocabulary = peer(tmp_path)
    peers = open_peers([named], folder=tmp_path, downloads=tmp_path / "downloads")
    details = reported(tmp_path / "ours", peers, size=420)
    rows = pq.read_table(tmp_path / "ours" / "report" / "fertility.parquet").to_pylist()
    assert [(row["tokenizer"], row["dump"]) for row in rows] == [
        ("this", "en"),
        ("small", "en"),
        ("this", "zh"),
        ("small", "zh"),
    ]
    assert rows[3]["tokens"] == sum(map(len, vocabulary.encode_batch(CHINESE * 3)))
    assert rows[2]["tokens"] < rows[3]["tokens"]
    page = Page((tmp_path / "ours" / "report" / "report.html").read_text(encoding="utf-8"))
    assert f"{rows[3]['tokens']:,}" in page.text
    assert "small" in page.text
    assert "".join(details.examples["en"]["this"]) in ENGLISH
    ours = open_vocabulary(tmp_path / "ours" / "vocabulary")
    assert len(details.examples["zh"]["this"]) in {len(ids) for ids in ours.encode_batch(CHINESE)}
    assert json.loads((tmp_path / "ours" / "report" / "report.json").read_text())["size"] == 420


def test_without_others_it_says_how_to_name_one(tmp_path: Path) -> None:
    reported(tmp_path, size=300)
    page = Page((tmp_path / "report" / "report.html").read_text(encoding="utf-8"))
    assert "name them under tokenizers in the catalogue" in page.text


@pytest.mark.parametrize("kind", ["unigram", "byte", "character", "word"])
def test_every_kind_has_a_report(tmp_path: Path, kind: str) -> None:
    details = reported(tmp_path, size=100 if kind == "word" else 400, kind=kind)
    Page((tmp_path / "report" / "report.html").read_text(encoding="utf-8"))
    assert details.sizes == ()
    assert (details.entries.unknown > 0) == (kind == "word")
    assert (
        details.numbers["this"]["1987"]
        == {
            "byte": ("1", "9", "8", "7"),
            "character": ("1", "9", "8", "7"),
            "unigram": details.numbers["this"]["1987"],
            "word": ("1987",),
        }[kind]
    )


def test_entries_are_counted(character: Vocabulary) -> None:
    texts = ["sea sea", "海 龘"]
    found = describe_entries(character, character.encode_batch(texts), texts)
    used = len(set("sea 海"))
    characters = character.size - 1 - 256
    assert found.unused == characters - used + 256 - 3  # 龘 is three bytes
    assert found.under_trained == used + 3
    assert found.single_bytes == pytest.approx(3 / (7 + 2 + 3))
    assert found.characters_covered == pytest.approx(5 / 6)
    assert found.unknown == 0
    assert found.lengths["parts of characters"][0] == 128
    assert sum(count for lengths in found.lengths.values() for count in lengths.values()) == character.size - 1


def test_scripts() -> None:
    assert [script_of(text) for text in (" the", "我", "カー", "12", "  ", "!?", "дом", "a我")] == [
        *("Latin", "Chinese", "kana", "digits", "white space", "signs", "other letters", "Chinese")
    ]


def test_sizes_are_the_first_merges(tmp_path: Path) -> None:
    train(tmp_path, {"en": ENGLISH * 3, "zh": CHINESE * 3}, size=700, minimum_frequency=1)
    vocabulary = open_vocabulary(tmp_path / "vocabulary")
    settings = VocabularySettings(size=700, minimum_frequency=1)
    costs = size_costs(json.loads(vocabulary.tokenizer.to_str()), settings, [*ENGLISH, *CHINESE])
    assert [cost.size for cost in costs] == [512, 700]
    train(tmp_path / "small", {"en": ENGLISH * 3, "zh": CHINESE * 3}, size=512, minimum_frequency=1)
    small = open_vocabulary(tmp_path / "small" / "vocabulary")
    total = sum(len(text.encode()) for text in (*ENGLISH, *CHINESE))
    expected = [sum(map(len, each.encode_batch([*ENGLISH, *CHINESE]))) / total for each in (small, vocabulary)]
    assert [cost.tokens_per_byte for cost in costs] == pytest.approx(expected)
    assert costs[0].operations["tiny"] == pytest.approx(expected[0] * 6 * (12 * 4 * 96**2 + 96 * 512))
    assert cheapest(costs, "llama-1b") == 700
    assert training_operations(2, 1, 5) == 6 * (48 + 10)


def test_a_vocabulary_that_is_not_there_is_named(tmp_path: Path) -> None:
    named, _ = peer(tmp_path)
    places = {"folder": tmp_path, "downloads": tmp_path / "downloads"}
    with pytest.raises(VocabularyError, match=r"tokenizer 'small' of the catalogue: there is no file data/x\.json in"):
        open_peers([named.model_copy(update={"file": "data/x.json"})], **places)
    with pytest.raises(VocabularyError, match=r"tokenizer 'small' of the catalogue: .*(sha256|hash)"):
        open_peers([named.model_copy(update={"sha256": "0" * 64})], **places)


def test_the_catalogue_names_vocabularies(tmp_path: Path) -> None:
    path = tmp_path / "sources.yaml"
    sources = "sources:\n  - {name: a, uri: a.txt, language: en}\n"
    path.write_text(sources + "tokenizers:\n  - {name: gpt2, uri: x.json, file: x.json}\n")
    assert [tokenizer.name for tokenizer in load_catalogue(path).tokenizers] == ["gpt2"]
    path.write_text(sources + "tokenizers:\n  - {name: gpt2, url: x.json, file: x.json}\n")
    with pytest.raises(CatalogueError, match=r"tokenizer 1: .*unknown key 'url', did you mean 'uri'"):
        load_catalogue(path)
    path.write_text(sources + "tokenizers: gpt2\n")
    with pytest.raises(CatalogueError, match="'tokenizers' is a list"):
        load_catalogue(path)
