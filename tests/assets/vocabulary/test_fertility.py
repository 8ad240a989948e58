from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq
from pytest import approx

from assets.vocabulary.report.fertility import FERTILITY, OURS, FertilityRow, measure_fertility, write_fertility
from assets.vocabulary.sampling import SampledDocument
from assets.vocabulary.tokenizer import Vocabulary

DOCUMENTS = [
    SampledDocument("守夜人，数面包。", "tales", "zh"),
    SampledDocument("Who counts?", "tales", "en"),
    SampledDocument("It didn't 12.", "notes", "en"),
    SampledDocument("the sea", "tales", "en"),
]


def test_rows_count_by_source_and_language(character: Vocabulary) -> None:
    def bytes_of(texts: Sequence[str]) -> list[list[int]]:
        return [list(text.encode()) for text in texts]

    encoders = {OURS: character.encode_batch, "bytes": bytes_of}
    assert measure_fertility(encoders, DOCUMENTS, dump="old") == [
        FertilityRow(OURS, "old", "notes", "en", documents=1, bytes=13, characters=13, words=3, tokens=13),
        FertilityRow("bytes", "old", "notes", "en", documents=1, bytes=13, characters=13, words=3, tokens=13),
        FertilityRow(OURS, "old", "tales", "en", documents=2, bytes=18, characters=18, words=4, tokens=18),
        FertilityRow("bytes", "old", "tales", "en", documents=2, bytes=18, characters=18, words=4, tokens=18),
        FertilityRow(OURS, "old", "tales", "zh", documents=1, bytes=24, characters=8, words=3, tokens=8),
        FertilityRow("bytes", "old", "tales", "zh", documents=1, bytes=24, characters=8, words=3, tokens=24),
    ]


def test_tokens_are_those_of_the_vocabulary(byte_bpe: Vocabulary) -> None:
    rows = measure_fertility({OURS: byte_bpe.encode_batch}, DOCUMENTS, dump="old")
    assert rows[2].tokens == len(byte_bpe.encode_batch(["守夜人，数面包。"])[0])
    assert sum(row.tokens for row in rows) < sum(row.bytes for row in rows)


def test_the_table_has_the_ratios(tmp_path: Path) -> None:
    row = FertilityRow(OURS, "old", "tales", "zh", documents=1, bytes=24, characters=8, words=4, tokens=6)
    write_fertility([row], tmp_path / "fertility.parquet")
    table = pq.read_table(tmp_path / "fertility.parquet")
    assert table.schema.equals(FERTILITY)
    assert table.to_pylist() == [
        {
            "tokenizer": "this",
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
    row = FertilityRow(OURS, "old", "", "", documents=1, bytes=0, characters=0, words=0, tokens=0)
    assert (row.bytes_per_token, row.characters_per_token, row.tokens_per_word) == (None, None, None)
    write_fertility([row], tmp_path / "row.parquet")
    assert pq.read_table(tmp_path / "row.parquet")["tokens_per_word"].to_pylist() == [None]
    write_fertility([], tmp_path / "none.parquet")
    assert pq.read_table(tmp_path / "none.parquet").schema.equals(FERTILITY)
