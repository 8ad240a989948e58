from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
from pytest import approx

from assets.vocabulary.fertility import FERTILITY, FertilityRow, measure_fertility, write_fertility
from assets.vocabulary.sampling import SampledDocument
from assets.vocabulary.tokenizer import Vocabulary

DOCUMENTS = [
    SampledDocument("守夜人，数面包。", "tales", "zh"),
    SampledDocument("Who counts?", "tales", "en"),
    SampledDocument("It didn't 12.", "notes", "en"),
    SampledDocument("the sea", "tales", "en"),
]


def test_rows_count_by_source_and_language(character: Vocabulary) -> None:
    assert measure_fertility(character, DOCUMENTS, dump="old") == [
        FertilityRow("old", "notes", "en", documents=1, bytes=13, characters=13, words=3, tokens=13),
        FertilityRow("old", "tales", "en", documents=2, bytes=18, characters=18, words=4, tokens=18),
        FertilityRow("old", "tales", "zh", documents=1, bytes=24, characters=8, words=3, tokens=8),
    ]


def test_tokens_are_those_of_the_vocabulary(byte_bpe: Vocabulary) -> None:
    rows = measure_fertility(byte_bpe, DOCUMENTS, dump="old")
    assert rows[2].tokens == len(byte_bpe.encode_batch(["守夜人，数面包。"])[0])
    assert sum(row.tokens for row in rows) < sum(row.bytes for row in rows)


def test_the_table_has_the_ratios(tmp_path: Path) -> None:
    row = FertilityRow("old", "tales", "zh", documents=1, bytes=24, characters=8, words=4, tokens=6)
    write_fertility([row], tmp_path / "fertility.parquet")
    table = pq.read_table(tmp_path / "fertility.parquet")
    assert table.schema.equals(FERTILITY)
    assert table.to_pylist() == [
        {
            "dump": "old",
            "source": "tales",
            "language": "zh",
            "documents": 1,
            "bytes": 24,
            "characters": 8,
            "words": 4,
            "tokens": 6,
            "bytes_per_token": 4.0,
            "characters_per_token": approx(8 / 6),
            "tokens_per_word": 1.5,
        }
    ]


def test_nothing_has_no_ratios(tmp_path: Path) -> None:
    row = FertilityRow("old", "", "", documents=1, bytes=0, characters=0, words=0, tokens=0)
    assert (row.bytes_per_token, row.characters_per_token, row.tokens_per_word) == (None, None, None)
    write_fertility([row], tmp_path / "row.parquet")
    assert pq.read_table(tmp_path / "row.parquet")["tokens_per_word"].to_pylist() == [None]
    write_fertility([], tmp_path / "none.parquet")
    assert pq.read_table(tmp_path / "none.parquet").schema.equals(FERTILITY)
