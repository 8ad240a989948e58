from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.clean_text.errors import CleanTextError
from assets.token_shards.encoding import TokenShardReport, encode_dump
from assets.token_shards.errors import TokenShardError
from assets.token_shards.settings import TokenShardSettings
from assets.vocabulary.errors import VocabularyError
from assets.vocabulary.tokenizer import open_vocabulary
from tests.assets.vocabulary.documents import CHINESE, ENGLISH, OTHERS, document_id, train, write_documents
from training.shards import SPLITS, Document, Shards, SplitName, open_shards

TEXTS = [*ENGLISH, *CHINESE, *OTHERS]


def encode(
    folder: Path,
    vocabulary: Path,
    texts: Sequence[str],
    *,
    dump: str = "tales",
    rows_per_group: int = 3,
    files: int = 1,
    settings: TokenShardSettings | None = None,
) -> tuple[TokenShardReport, Shards]:
    documents = write_documents(
        folder / dump / "documents", texts, dump=dump, rows_per_group=rows_per_group, files=files
    )
    out = folder / dump / "shards"
    out.mkdir()
    report = encode_dump(
        documents,
        vocabulary,
        dump=dump,
        language="en",
        source="house",
        settings=settings or TokenShardSettings(validation_share=0.3),
        out=out,
    )
    return report, open_shards(out, vocabulary_hash=open_vocabulary(vocabulary).sha256)


def encode_folder(documents: Path, vocabulary: Path, out: Path) -> TokenShardReport:
    out.mkdir()
    return encode_dump(
        documents, vocabulary, dump="d", language="en", source="s", settings=TokenShardSettings(), out=out
    )


def by_id(shards: Shards) -> dict[str, Document]:
    return {document.doc_id: document for split in SPLITS for document in shards.split(split).iterate()}


def ids(shards: Shards, split: SplitName) -> set[str]:
    return {document.doc_id for document in shards.split(split).iterate()}


def test_every_document_is_there_once_and_decodes_to_its_text(tmp_path: Path, vocabulary: Path) -> None:
    _, shards = encode(tmp_path, vocabulary, TEXTS)
    opened = open_vocabulary(vocabulary)
    assert shards.train.document_count + shards.validation.document_count == len(TEXTS)
    found = by_id(shards)
    for number, text in enumerate(TEXTS):
        document = found[document_id("tales", number)]
        assert document.ids[-1] == opened.end_of_document
        assert opened.decode(document.ids[:-1].tolist()) == text
        assert document.bytes == len(text.encode())
    for split in SPLITS:
        shards.split(split).verify()


@settings(max_examples=20, deadline=None)
@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=30), min_size=1, max_size=9))
def test_any_text_comes_back_exactly(
    tmp_path_factory: pytest.TempPathFactory, vocabulary: Path, texts: list[str]
) -> None:
    # English is there because no split may be empty.
    report, shards = encode(tmp_path_factory.mktemp("any"), vocabulary, [*ENGLISH, *texts])
    opened, found = open_vocabulary(vocabulary), by_id(shards)
    decoded = {
        number: opened.decode(document.ids.tolist())
        for number in range(len(texts))
        if (document := found.get(document_id("tales", len(ENGLISH) + number))) is not None
    }
    assert decoded == {number: text for number, text in enumerate(texts) if text}
    assert report.left_out == texts.count("")


def test_the_report_and_the_description_agree(tmp_path: Path, vocabulary: Path) -> None:
    report, shards = encode(tmp_path, vocabulary, TEXTS)
    counts = report.counts
    names = [f"{split}_{what}" for split in SPLITS for what in ("documents", "tokens", "bytes")]
    assert list(counts) == [*names, "left_out"]
    for split in SPLITS:
        held = shards.split(split)
        assert counts[f"{split}_documents"] == held.document_count == len(list(held.iterate()))
        assert counts[f"{split}_tokens"] == held.token_count
        assert counts[f"{split}_bytes"] == held.byte_count
    assert counts["train_bytes"] + counts["validation_bytes"] == sum(len(text.encode()) for text in TEXTS)
    opened = open_vocabulary(vocabulary)
    assert (shards.vocabulary_size, shards.end_of_document) == (opened.size, opened.end_of_document)
    assert (shards.dump, shards.source, shards.language) == ("tales", "house", "en")


def test_documents_keep_their_order(tmp_path: Path, vocabulary: Path) -> None:
    _, shards = encode(tmp_path, vocabulary, TEXTS, files=2)
    order = {document_id("tales", number): number for number in range(len(TEXTS))}
    for split in SPLITS:
        numbers = [order[document.doc_id] for document in shards.split(split).iterate()]
        assert numbers == sorted(numbers)


def test_two_runs_give_the_same_bytes_whatever_the_row_groups(tmp_path: Path, vocabulary: Path) -> None:
    runs = []
    for name, rows_per_group, files in (("a", 1, 1), ("b", 100, 1), ("c", 4, 3)):
        _, shards = encode(tmp_path / name, vocabulary, TEXTS, rows_per_group=rows_per_group, files=files)
        runs.append({path.name: path.read_bytes() for path in shards.folder.iterdir()})
    assert runs[0] == runs[1] == runs[2]
    assert len(runs[0]) == 5


def test_copies_are_on_the_same_side_in_whichever_dump(tmp_path: Path, vocabulary: Path) -> None:
    copies = ["  " + text.upper().replace(",", " , ").replace("，", ", ") for text in TEXTS[:12]]
    _, one = encode(tmp_path, vocabulary, TEXTS[:12], dump="one")
    _, other = encode(tmp_path, vocabulary, copies[::-1], dump="other")
    for split in SPLITS:
        numbers = {number for number in range(12) if document_id("one", number) in ids(one, split)}
        assert numbers == {number for number in range(12) if document_id("other", 11 - number) in ids(other, split)}
        assert numbers


def test_another_seed_is_another_split(tmp_path: Path, vocabulary: Path) -> None:
    texts = [f"evening {number}" for number in range(100)]
    chosen = []
    for seed in (0, 1):
        settings = TokenShardSettings(validation_share=0.3, seed=seed)
        _, shards = encode(tmp_path / str(seed), vocabulary, texts, settings=settings)
        assert 12 <= shards.validation.document_count <= 48
        chosen.append(ids(shards, "validation"))
    assert chosen[0] != chosen[1]


def test_files_are_closed_at_the_limit(tmp_path: Path, vocabulary: Path) -> None:
    settings = TokenShardSettings(validation_share=0.3, shard_tokens=100)
    _, shards = encode(tmp_path, vocabulary, TEXTS, settings=settings)
    assert len(shards.train.files) > 1
    assert all(file.tokens <= 100 or file.documents == 1 for file in shards.train.files)


def test_no_documents_are_refused(tmp_path: Path, vocabulary: Path) -> None:
    with pytest.raises(
        TokenShardError, match=r"no document to learn from: of 0 documents, 'validation_share' = 0\.3 chose 0 for"
    ):
        encode(tmp_path, vocabulary, [])


def test_a_small_dump_may_have_no_validation_but_something_to_learn_from(tmp_path: Path, vocabulary: Path) -> None:
    messages, documents = set(), set()
    for seed in range(12):
        settings = TokenShardSettings(validation_share=0.4, seed=seed)
        try:
            report, _ = encode(tmp_path / str(seed), vocabulary, ["守夜人数船"] * 3, settings=settings)
            documents.add(tuple(report.shards.documents.items()))
        except TokenShardError as error:
            messages.add(str(error))
    assert documents == {(("train", 3), ("validation", 0))}
    assert messages == {
        "dump 'tales' has no document to learn from: of 3 documents, 'validation_share' = 0.4 chose 3 for validation; "
        "add documents, split its files into smaller ones ('documents' in the catalogue), change the share or the "
        "'seed'"
    }


def test_a_missing_vocabulary_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VocabularyError, match="there is no"):
        encode(tmp_path, tmp_path, ENGLISH)


@pytest.mark.parametrize("kind", ["character", "word"])
def test_the_other_kinds_encode_too(tmp_path: Path, kind: str) -> None:
    train(tmp_path / kind, {"en": ENGLISH, "zh": CHINESE}, kind=kind, minimum_frequency=1)
    folder = tmp_path / kind / "vocabulary"
    _, shards = encode(tmp_path, folder, [*ENGLISH, *CHINESE])
    opened, found = open_vocabulary(folder), by_id(shards)
    for number, text in enumerate([*ENGLISH, *CHINESE]):
        decoded = opened.decode(found[document_id("tales", number)].ids.tolist())
        assert "".join(decoded.split()) == "".join(text.split())


def test_texts_that_encode_to_nothing_are_left_out_and_counted(tmp_path: Path) -> None:
    train(tmp_path / "word", {"en": ENGLISH, "zh": CHINESE}, kind="word", minimum_frequency=1)
    texts = [*ENGLISH, " \t ", *CHINESE, "\u3000"]
    report, shards = encode(tmp_path, tmp_path / "word" / "vocabulary", texts)
    assert report.left_out == report.counts["left_out"] == 2
    expected = {document_id("tales", number) for number, text in enumerate(texts) if text.strip()}
    assert set(by_id(shards)) == expected
    assert sum(report.shards.documents.values()) == len(texts) - 2


def test_missing_signatures_are_refused(tmp_path: Path, vocabulary: Path) -> None:
    documents = write_documents(tmp_path / "documents", TEXTS)
    (documents / "signatures.parquet").unlink()
    with pytest.raises(TokenShardError, match=r"signatures\.parquet is missing .* run the stage clean_text again"):
        encode_folder(documents, vocabulary, tmp_path / "shards")


def test_damaged_signatures_are_refused(tmp_path: Path, vocabulary: Path) -> None:
    documents = write_documents(tmp_path / "documents", TEXTS)
    path = documents / "signatures.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(TokenShardError, match=r"signatures\.parquet is missing or cannot be read"):
        encode_folder(documents, vocabulary, tmp_path / "shards")


@pytest.mark.parametrize("rows", [range(1, len(TEXTS)), [1, 0, *range(2, len(TEXTS))]])
def test_signatures_of_other_documents_are_refused(tmp_path: Path, vocabulary: Path, rows: Sequence[int]) -> None:
    documents = write_documents(tmp_path / "documents", TEXTS)
    table = pq.read_table(documents / "signatures.parquet")
    pq.write_table(table.take(list(rows)), documents / "signatures.parquet")
    message = f"has {len(rows)} rows for" if len(rows) < len(TEXTS) else "names other documents than .*row group 0"
    with pytest.raises(TokenShardError, match=f"{message}.*run the stage clean_text again"):
        encode_folder(documents, vocabulary, tmp_path / "shards")


def test_documents_that_cannot_be_read_are_named(tmp_path: Path, vocabulary: Path) -> None:
    documents = write_documents(tmp_path / "documents", TEXTS, files=2)
    (documents / "documents-00001.parquet").write_bytes(b"PAR1")
    with pytest.raises(CleanTextError, match=r"documents-00001\.parquet cannot be read"):
        encode_folder(documents, vocabulary, tmp_path / "shards")
